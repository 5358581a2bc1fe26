// The result of a large batch norm is made again in the backward half instead of kept: fewer bytes, the same bits.

import { describe, expect, it } from 'vitest'
import * as gradline from '../../src/index.js'
import {
  batchNorm,
  conv2d,
  crossEntropy,
  dense,
  flatten,
  maxPool2d,
  model,
  momentum,
  record,
  relu,
  variable,
} from '../../src/index.js'

function train(channels: number, without: readonly 'recomputeBatchNorm'[]) {
  const net = model(
    [32, 32, 3],
    [
      ...[channels, channels].flatMap((c) => [conv2d(c, 3, { padding: 'same' }), batchNorm(), relu()]),
      ...[maxPool2d(2), conv2d(4, 3), batchNorm(), relu(), flatten(), dense(3)],
    ],
    { seed: 3 },
  )
  const batch = 32
  const inputs = variable([batch, 32, 32, 3], {
    name: 'inputs',
    value: Float32Array.from({ length: batch * 3072 }, (_, i) => Math.sin(i * 0.7)),
  })
  const labels = variable([batch], {
    name: 'labels',
    dtype: 'int32',
    value: Int32Array.from({ length: batch }, (_, i) => i % 3),
  })
  const updater = new gradline.Updater(momentum({ lr: 0.1 }))
  const loss = crossEntropy()
  const program = record(
    () => {
      const value = loss(net.apply(inputs, 'train'), labels)
      updater.apply(net.params, gradline.grad(value, net.params))
      return { loss: value }
    },
    {},
    { without },
  )
  return { net, program }
}

describe('recomputing batch norm', () => {
  it('needs fewer bytes and gives the same weights', async () => {
    const [again, kept] = [train(16, []), train(16, ['recomputeBatchNorm'])]
    for (const { net } of [again, kept]) await net.initialize()
    const bytes = 32 * 32 * 32 * 16 * 4
    expect(kept.program.memory().act - again.program.memory().act).toBeGreaterThanOrEqual(bytes)
    expect(again.program.print().match(/batchNormInference/g)).toHaveLength(2)
    for (const { program } of [again, kept]) program.runManySync(3)
    const weights = ({ net }: typeof again) => net.params.map((variable) => gradline.read(variable))
    expect(weights(again)).toEqual(weights(kept))
  })

  it('keeps small results', () => {
    expect(train(1, []).program.print()).not.toContain('batchNormInference')
  })
})
