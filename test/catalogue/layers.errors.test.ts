// Wrong options of layers are refused when the layer is made, with name, value and range; wrong shapes when the model is.
import { describe, it } from 'vitest'
import {
  adaptiveAvgPool2d,
  alphaDropout,
  concatenate,
  conv1d,
  convTranspose2d,
  dense,
  depthwiseConv2d,
  embedding,
  flatten,
  gaussianNoise,
  groupNorm,
  layerNorm,
  localResponseNorm,
  maxout,
  model,
  relu,
  reshape,
  residual,
  rmsNorm,
  separableConv2d,
  spatialDropout2d,
  upsample2d,
  zeroPad2d,
} from '../../src/index.js'
import { expectError } from '../api/help.js'

const wrong: [string, () => unknown, readonly string[]][] = [
  ['conv1d', () => conv1d(0, 3), ['filters of conv1d', '0']],
  ['conv1d', () => conv1d(2, 3, { padding: 'sam' as never }), ['padding of conv1d', 'sam']],
  ['conv1d', () => conv1d(2, 3, { bias: 'yes' as never }), ['bias of conv1d', 'yes']],
  ['depthwiseConv2d', () => depthwiseConv2d(3, { multiplier: 0 }), ['multiplier of depthwiseConv2d', '0']],
  ['depthwiseConv2d', () => depthwiseConv2d(3, { groups: 2 } as never), ['"groups"']],
  ['separableConv2d', () => separableConv2d(4, 3, { multplier: 2 } as never), ['Did you mean "multiplier"?']],
  ['convTranspose2d', () => convTranspose2d(4, 3, { strid: 2 } as never), ['Did you mean "stride"?']],
  ['convTranspose2d', () => convTranspose2d(3, 2, { outputPadding: 1 }), ['outputPadding of convTranspose2d', '1']],
  ['adaptiveAvgPool2d', () => adaptiveAvgPool2d(0), ['size of adaptiveAvgPool2d', '0']],
  ['layerNorm', () => layerNorm({ eps: 0 }), ['eps of layerNorm', 'above 0', '0']],
  ['layerNorm', () => layerNorm({ axes: -1 }), ['axes of layerNorm', 'positive integer', '-1']],
  ['groupNorm', () => groupNorm(1.5), ['groups of groupNorm', '1.5']],
  ['rmsNorm', () => rmsNorm({ epsilon: 1 } as never), ['"epsilon"']],
  ['localResponseNorm', () => localResponseNorm(5, { k: 0 }), ['k of localResponseNorm', 'above 0']],
  ['embedding', () => embedding(0, 2), ['count of embedding', '0']],
  ['spatialDropout2d', () => spatialDropout2d(1), ['rate of spatialDropout2d', 'below 1', '1']],
  ['alphaDropout', () => alphaDropout(-0.1), ['rate of alphaDropout', 'at least 0', '-0.1']],
  ['gaussianNoise', () => gaussianNoise(-1), ['std of gaussianNoise', 'at least 0', '-1']],
  ['reshape', () => reshape([-1, -1]), ['at most one -1']],
  ['reshape', () => reshape([0]), ['shape[0] of reshape', '0']],
  ['upsample2d', () => upsample2d(1.5), ['factor of upsample2d', '1.5']],
  ['zeroPad2d', () => zeroPad2d({ topp: 1 } as never), ['Did you mean "top"?']],
  ['zeroPad2d', () => zeroPad2d(-1), ['padding of zeroPad2d', '-1']],
  ['residual', () => residual([relu()], { shortcuts: [] } as never), ['Did you mean "shortcut"?']],
  ['concatenate', () => concatenate([relu()] as never), ['branches']],
  ['maxout', () => maxout(3, { pieces: 0 }), ['pieces of maxout', '0']],
]

describe('a layer with a wrong option', () => {
  it.each(wrong)('%s is refused at once: %s', async (_, make, texts) => {
    await expectError('argument', texts, make)
  })
})

describe('a layer after what does not fit', () => {
  const image = [6, 6, 4]
  const misfits: [string, () => unknown, readonly string[]][] = [
    ['conv1d', () => model(image, [conv1d(2, 3)]), ['[n, length, channels]', '[1, 6, 6, 4]']],
    ['depthwiseConv2d', () => model([6], [depthwiseConv2d(3)]), ['[n, h, w, channels]', '[1, 6]']],
    [
      'convTranspose2d',
      () => model(image, [convTranspose2d(3, 2, { groups: 2 })]),
      ['divisible by 2 groups', '4 and 3'],
    ],
    ['convTranspose2d', () => model([1, 1, 1], [convTranspose2d(3, 2, { padding: 3 })]), ['less padding', '3']],
    ['layerNorm', () => model([4], [layerNorm({ axes: 2 })]), ['2 axis or axes after the batch', '[1, 4]']],
    ['groupNorm', () => model(image, [groupNorm(3)]), ['divisible by 3 groups', '4']],
    ['reshape', () => model(image, [reshape([5, -1])]), ['144 elements']],
    ['maxout', () => model(image, [maxout(3)]), ['[n, features]', 'flatten()']],
    ['residual', () => model([4], [residual([dense(3)])]), ['short cut', '[1, 3]', '[1, 4]', 'shortcut: [conv2d']],
    ['concatenate', () => model(image, [concatenate([[], [flatten()]])]), ['concat']],
  ]
  it.each(misfits)('%s is refused with the shapes: %s', async (_, make, texts) => {
    await expectError('shape', texts, make)
  })
})
