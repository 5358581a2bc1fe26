// What `gradline verify` runs: small programs that together use every op, layers that together are all layers, and optimizers
// that together use every update rule. Each op row gives inputs and a call; no expected values stand here (golden.ts has some).
// Sizes are ragged, so that every kernel's tail is used.

import { apply } from '../graph.js'
import * as layers from '../layers/index.js'
import type { Layer } from '../layers/layer.js'
import type { Attrs } from '../op.js'
import { opTable } from '../op.js'
import * as ops from '../ops/index.js'
import {
  adadelta,
  adagrad,
  adam,
  adamax,
  adamw,
  amsgrad,
  lion,
  momentum,
  muon,
  nadam,
  type Optimizer,
  radam,
  rmsprop,
  sgd,
} from '../optimizers/index.js'
import { cosine } from '../schedules/index.js'
import type { Shape } from '../shape.js'
import type { Tensor } from '../tensor.js'

/** What an input holds: floats around 0, floats in [0.5, 2), 0 or 1, indices below a number. */
export type Fill = 'normal' | 'positive' | 'flags' | number

export interface OpCase {
  readonly name: string
  readonly inputs: readonly (readonly [Shape, Fill])[]
  readonly build: (inputs: readonly Tensor[]) => Tensor | readonly Tensor[]
  /** The longest sum of outputs and gradients. */
  readonly K: number
  /** Whether gradients are asked for. */
  readonly gradient: boolean
  /** The class of the program on the instruction sets. */
  readonly numerics: 'fp32' | 'fast'
}

const list: OpCase[] = []

interface Extra {
  K?: number
  gradient?: boolean
  numerics?: 'fp32' | 'fast'
}

function add(
  name: string,
  inputs: readonly (readonly [Shape, Fill])[],
  build: (inputs: readonly Tensor[]) => Tensor | readonly Tensor[],
  { K = 1, gradient = true, numerics = 'fp32' }: Extra = {},
): void {
  list.push({ name, inputs, build, K, gradient, numerics })
}

const at = (inputs: readonly Tensor[], i: number): Tensor => inputs[i] as Tensor
const byName = (name: string, inputs: readonly Tensor[], attrs: Attrs = {}): readonly Tensor[] => {
  const op = opTable().get(name)
  return op ? apply(op, [...inputs], attrs, []) : []
}

const flat: Shape = [37, 29]
const image: Shape = [3, 9, 7, 6]

const unary = {
  neg: ops.neg,
  abs: ops.abs,
  exp: ops.exp,
  erf: ops.erf,
  relu: ops.relu,
  sigmoid: ops.sigmoid,
  tanh: ops.tanh,
}
for (const [name, f] of Object.entries(unary)) add(name, [[flat, 'normal']], ([x]) => f(x as Tensor))
for (const [name, f] of Object.entries({ log: ops.log, log1p: ops.log1p, sqrt: ops.sqrt })) {
  add(name, [[flat, 'positive']], ([x]) => f(x as Tensor))
}
add('sign', [[flat, 'normal']], ([x]) => ops.sign(at([x as Tensor], 0)), { gradient: false })
add('scale', [[flat, 'normal']], (x) => ops.scale(at(x, 0), 1.5, -0.25))
add('leakyRelu', [[flat, 'normal']], (x) => ops.leakyRelu(at(x, 0), 0.1))
add('elu', [[flat, 'normal']], (x) => ops.elu(at(x, 0), 1.25))
const binary = { add: ops.add, sub: ops.sub, mul: ops.mul, div: ops.div, maximum: ops.maximum, minimum: ops.minimum }
for (const [name, f] of Object.entries(binary)) {
  const pair = [
    [flat, 'positive'],
    [[29], 'positive'],
  ] as const
  add(name, pair, (x) => f(at(x, 0), at(x, 1)), { K: 37 })
}
add(
  'weightedSum',
  [
    [flat, 'normal'],
    [flat, 'normal'],
  ],
  (x) => ops.weightedSum(at(x, 0), at(x, 1), 0.75, -2),
)
for (const [name, f] of Object.entries({ greater: ops.greater, equal: ops.equal })) {
  add(
    name,
    [
      [flat, 'flags'],
      [flat, 'flags'],
    ],
    (x) => f(at(x, 0), at(x, 1)),
    { gradient: false },
  )
}
add(
  'select',
  [
    [flat, 'flags'],
    [flat, 'normal'],
    [flat, 'normal'],
  ],
  (x) => ops.select(at(x, 0), at(x, 1), at(x, 2)),
)

add('sum', [[[11, 13, 17], 'normal']], (x) => [ops.sum(at(x, 0)), ops.sum(at(x, 0), { axes: [1] })], { K: 2431 })
add('max', [[[11, 13, 17], 'normal']], (x) => ops.max(at(x, 0), { axes: [2] }), { K: 17 })
add('argmax', [[flat, 'normal']], (x) => ops.argmax(at(x, 0)), { gradient: false })

for (const [transposeA, transposeB] of [
  [false, false],
  [false, true],
  [true, false],
  [true, true],
] as const) {
  const [m, k, n] = [61, 97, 35]
  const shapes = [
    [transposeA ? [k, m] : [m, k], 'normal'],
    [transposeB ? [n, k] : [k, n], 'normal'],
  ] as const
  const name = `matmul${transposeA ? ' Aᵀ' : ''}${transposeB ? ' Bᵀ' : ''}`
  add(name, shapes, (x) => ops.matmul(at(x, 0), at(x, 1), { transposeA, transposeB }), { K: 97 })
}
add(
  'matmul, large',
  [
    [[130, 300], 'normal'],
    [[300, 70], 'normal'],
  ],
  (x) => ops.matmul(at(x, 0), at(x, 1)),
  { K: 300 },
)
add(
  'dense with bias and relu',
  [
    [[33, 65], 'normal'],
    [[65, 47], 'normal'],
    [[47], 'normal'],
  ],
  (x) => ops.relu(ops.add(ops.matmul(at(x, 0), at(x, 1)), at(x, 2))),
  { K: 65 },
)
add(
  'conv2d',
  [
    [image, 'normal'],
    [[3, 2, 6, 5], 'normal'],
  ],
  (x) => ops.conv2d(at(x, 0), at(x, 1)),
  { K: 189 },
)
// Enough channels and rows for kernels that work on tiles, by rows in place and by Winograd's algorithm.
for (const numerics of ['fp32', 'fast'] as const) {
  add(
    `conv2d, many channels, ${numerics}`,
    [
      [[4, 11, 10, 19], 'normal'],
      [[3, 3, 19, 34], 'normal'],
    ],
    (x) => ops.conv2d(at(x, 0), at(x, 1), { padding: 'same' }),
    { K: 440, numerics },
  )
}
add(
  'conv2d, strided, padded, dilated, grouped',
  [
    [image, 'normal'],
    [[3, 3, 3, 4], 'normal'],
  ],
  (x) => ops.conv2d(at(x, 0), at(x, 1), { stride: 2, padding: 1, dilation: [2, 1], groups: 2 }),
  { K: 189 },
)
add(
  'convTranspose2d',
  [
    [image, 'normal'],
    [[3, 3, 4, 6], 'normal'],
  ],
  (x) => ops.convTranspose2d(at(x, 0), at(x, 1), { stride: 2, padding: 1 }),
  { K: 189 },
)
add('maxPool2d', [[image, 'normal']], (x) => ops.maxPool2d(at(x, 0), 3, { stride: 2, padding: 1 }), { K: 9 })
add('avgPool2d', [[image, 'normal']], (x) => ops.avgPool2d(at(x, 0), 3, { stride: 2, padding: 1 }), { K: 9 })
add(
  'batchNorm',
  [
    [[41, 19], 'normal'],
    [[19], 'positive'],
    [[19], 'normal'],
  ],
  (x) => byName('batchNorm', x, { eps: 1e-5 }).slice(0, 1),
  { K: 41 },
)
add(
  'batchNormInference',
  [[[41, 19], 'normal'], ...['positive', 'normal', 'normal', 'positive'].map((f) => [[19], f as Fill] as const)],
  (x) => byName('batchNormInference', x, { eps: 1e-5 }),
  { K: 41 },
)
add('softmax', [[flat, 'normal']], (x) => ops.softmax(at(x, 0)), { K: 29 })

add('copy', [[flat, 'normal']], (x) => ops.cast(ops.scale(at(x, 0), 100), 'int32'), { gradient: false })
add('fill', [[flat, 'normal']], (x) => ops.add(at(x, 0), ops.fill(flat, 0.5)))
add('broadcast', [[[1, 29], 'normal']], (x) => ops.broadcast(at(x, 0), flat), { K: 37 })
add('transpose', [[[5, 7, 11], 'normal']], (x) => ops.transpose(at(x, 0), [2, 0, 1]))
add(
  'concat',
  [
    [flat, 'normal'],
    [[37, 5], 'normal'],
  ],
  (x) => ops.concat([at(x, 0), at(x, 1)], 1),
)
add('slice', [[flat, 'normal']], (x) => ops.slice(at(x, 0), [3, 4], [20, 21]))
add('pad', [[flat, 'normal']], (x) => ops.pad(at(x, 0), [1, 2], [3, 0]))
add(
  'gather',
  [
    [[23, 9], 'normal'],
    [[31], 23],
  ],
  (x) => ops.gather(at(x, 0), at(x, 1), { factor: 0.5 }),
  { K: 31 },
)

add(
  'softmaxCrossEntropy',
  [
    [flat, 'normal'],
    [[37], 29],
  ],
  (x) => Object.values(ops.softmaxCrossEntropy(at(x, 0), at(x, 1))).slice(0, 1),
  { K: 29 },
)
add(
  'softmaxCrossEntropy of shares',
  [
    [flat, 'normal'],
    [flat, 'positive'],
  ],
  (x) => Object.values(ops.softmaxCrossEntropy(at(x, 0), ops.softmax(at(x, 1)))).slice(0, 1),
  { K: 29 },
)
add('oneHot', [[[37], 29]], (x) => ops.oneHot(at(x, 0), 29), { gradient: false })
add('requireFinite', [[flat, 'normal']], (x) => ops.requireFinite(at(x, 0)))

add('dropout', [[flat, 'normal']], (x) => ops.dropout(at(x, 0), 0.3))
add('cropFlip', [[[3, 6, 7, 2], 'normal']], (x) =>
  ops.cropFlip(at(x, 0), { size: [5, 6], padding: [1, 2], vertical: 0.5, horizontal: 0.5 }),
)
add('randomUniform', [[flat, 'normal']], (x) => ops.add(at(x, 0), ops.randomUniform(flat, -1, 2)))
add('randomNormal', [[flat, 'normal']], (x) => ops.add(at(x, 0), ops.randomNormal(flat, 1, 2)), { K: 4 })
add('sampleRows', [[[8], 'normal']], () => ops.sampleRows(16, 100), { gradient: false })

export const opCases: readonly OpCase[] = list

export interface LayerCase {
  readonly name: string
  readonly layer: Layer
  readonly input: Shape
  /** Indices below this number instead of floats. */
  readonly indices?: number
}

const { conv2d, dense, tanh } = layers
const picture: Shape = [5, 4, 6]
const sequence: Shape = [9, 4]

/** One row for each layer function, by its name. */
export const layerCases: readonly LayerCase[] = [
  { name: 'elu', layer: layers.elu(), input: [8] },
  { name: 'gelu', layer: layers.gelu(), input: [8] },
  { name: 'hardSigmoid', layer: layers.hardSigmoid(), input: [8] },
  { name: 'hardTanh', layer: layers.hardTanh(), input: [8] },
  { name: 'leakyRelu', layer: layers.leakyRelu(), input: [8] },
  { name: 'logSoftmax', layer: layers.logSoftmax(), input: [8] },
  { name: 'mish', layer: layers.mish(), input: [8] },
  { name: 'relu', layer: layers.relu(), input: [8] },
  { name: 'relu6', layer: layers.relu6(), input: [8] },
  { name: 'selu', layer: layers.selu(), input: [8] },
  { name: 'sigmoid', layer: layers.sigmoid(), input: [8] },
  { name: 'silu', layer: layers.silu(), input: [8] },
  { name: 'softmax', layer: layers.softmax(), input: [8] },
  { name: 'softplus', layer: layers.softplus(), input: [8] },
  { name: 'softsign', layer: layers.softsign(), input: [8] },
  { name: 'tanh', layer: layers.tanh(), input: [8] },
  { name: 'glu', layer: layers.glu(), input: [8] },
  { name: 'prelu', layer: layers.prelu(), input: [8] },
  { name: 'rrelu', layer: layers.rrelu(), input: [8] },
  { name: 'dense', layer: dense(7), input: [5] },
  { name: 'conv1d', layer: layers.conv1d(4, 3, { padding: 'same', dilation: 2, groups: 2 }), input: sequence },
  { name: 'conv2d', layer: conv2d(5, [2, 3], { padding: 'same' }), input: picture },
  { name: 'convTranspose2d', layer: layers.convTranspose2d(3, 3, { stride: 2, padding: 1 }), input: picture },
  { name: 'depthwiseConv2d', layer: layers.depthwiseConv2d(3, { multiplier: 2, padding: 'same' }), input: picture },
  { name: 'separableConv2d', layer: layers.separableConv2d(5, 3, { stride: 2, padding: 1 }), input: picture },
  { name: 'adaptiveAvgPool2d', layer: layers.adaptiveAvgPool2d([3, 2]), input: picture },
  { name: 'adaptiveMaxPool2d', layer: layers.adaptiveMaxPool2d([3, 3]), input: picture },
  { name: 'avgPool2d', layer: layers.avgPool2d(2), input: picture },
  { name: 'maxPool2d', layer: layers.maxPool2d(2), input: picture },
  { name: 'globalAvgPool2d', layer: layers.globalAvgPool2d(), input: picture },
  { name: 'batchNorm', layer: layers.batchNorm(), input: picture },
  { name: 'layerNorm', layer: layers.layerNorm(), input: [17] },
  { name: 'groupNorm', layer: layers.groupNorm(3), input: picture },
  { name: 'rmsNorm', layer: layers.rmsNorm(), input: [9] },
  { name: 'localResponseNorm', layer: layers.localResponseNorm(4, { alpha: 2 }), input: picture },
  { name: 'embedding', layer: layers.embedding(9, 5), input: [3], indices: 9 },
  { name: 'dropout', layer: layers.dropout(0.4), input: [33] },
  { name: 'randomFlip', layer: layers.randomFlip({ vertical: true }), input: picture },
  { name: 'randomCrop', layer: layers.randomCrop({ padding: 2 }), input: picture },
  { name: 'spatialDropout2d', layer: layers.spatialDropout2d(0.4), input: picture },
  { name: 'alphaDropout', layer: layers.alphaDropout(0.3), input: [33] },
  { name: 'gaussianNoise', layer: layers.gaussianNoise(0.5), input: [33] },
  { name: 'flatten', layer: layers.flatten(), input: picture },
  { name: 'reshape', layer: layers.reshape([4, -1, 2]), input: picture },
  { name: 'upsample2d', layer: layers.upsample2d([2, 3]), input: picture },
  { name: 'zeroPad2d', layer: layers.zeroPad2d({ top: 1, right: 2 }), input: picture },
  { name: 'residual', layer: layers.residual([dense(5), tanh(), dense(4)]), input: [4] },
  {
    name: 'concatenate',
    layer: layers.concatenate([[conv2d(2, 1)], [conv2d(3, 3, { padding: 'same' }), tanh()]]),
    input: picture,
  },
  { name: 'maxout', layer: layers.maxout(4, { pieces: 3 }), input: [5] },
  { name: 'sequential', layer: layers.sequential([dense(5), tanh(), dense(4)]), input: [4] },
]

/** Rules of update by name; together with the options given they use every op of that family. */
export const optimizerCases: Readonly<Record<string, () => Optimizer>> = {
  sgd: () => sgd({ lr: 0.1, clipNorm: 1, schedule: cosine({ steps: 9 }) }),
  momentum: () => momentum({ lr: 0.1 }),
  adagrad: () => adagrad({ lr: 0.1 }),
  adadelta: () => adadelta({ lr: 1 }),
  rmsprop: () => rmsprop({ lr: 0.01 }),
  'rmsprop with momentum': () => rmsprop({ lr: 0.01, momentum: 0.9, centered: true }),
  adam: () => adam({ lr: 0.01, ema: { decay: 0.9 } }),
  adamw: () => adamw({ lr: 0.01 }),
  amsgrad: () => amsgrad({ lr: 0.01 }),
  adamax: () => adamax({ lr: 0.01 }),
  nadam: () => nadam({ lr: 0.01 }),
  radam: () => radam({ lr: 0.01 }),
  lion: () => lion({ lr: 0.01 }),
  muon: () => muon({ lr: 0.01 }),
}
