// What the gates count: each kernel that training spends its time in, and steps of small networks. Shapes are those of the
// suite made smaller, since callgrind is some hundred times slower than the machine, and ragged, so that edges count as well.
// Each is recorded as it crosses into native code and runs there without Node.

import type { Device, Layer, Optimizer, Tensor, Variable } from 'gradline'
import { numbers } from '../kernels.js'
import type { Build, Library } from '../measure.js'
import { Pack, watch } from '../pack.js'

/** Records one program; what it returns is small. */
type Kernel = (lib: Library) => Tensor[]

const value = (lib: Library, ...shape: number[]): Variable =>
  lib.variable(shape, { name: 'value', value: numbers(shape.reduce((product, n) => product * n, 1)) })

/** Gradients of a sum of squares, and the sum of each, so that nothing is left out and nothing large is copied. */
function backward({ ops, grad }: Library, y: Tensor, of: readonly Tensor[]): Tensor[] {
  return grad(ops.sum(ops.square(y)), [...of]).map((gradient) => ops.sum(gradient))
}

function matmul(m: number, k: number, n: number, form: 'NN' | 'NT' | 'TN'): [string, Kernel] {
  const [transposeA, transposeB] = [form === 'TN', form === 'NT']
  return [
    `matmul ${m}x${k}x${n} ${form}`,
    (lib) => {
      const [a, b] = [
        transposeA ? value(lib, k, m) : value(lib, m, k),
        transposeB ? value(lib, n, k) : value(lib, k, n),
      ]
      return [lib.ops.sum(lib.ops.matmul(a, b, { transposeA, transposeB }))]
    },
  ]
}

function conv(
  part: 'forward' | 'image gradient' | 'filter gradient',
  [batch, side, kernel, from, to]: readonly [number, number, number, number, number],
): [string, Kernel] {
  return [
    `conv ${kernel}x${kernel} ${from}->${to} ${side}x${side} b${batch} ${part}`,
    (lib) => {
      const image = value(lib, batch, side, side, from)
      const result = value(lib, batch, side, side, to)
      const filter = value(lib, kernel, kernel, from, to)
      const { ops } = lib
      if (part === 'forward') return [ops.sum(ops.conv2d(image, filter, { padding: 'same' }))]
      if (part === 'image gradient') return [ops.sum(ops.convTranspose2d(result, filter, { padding: 'same' }))]
      // Of a sum of products with `result`: its gradient needs no forward pass.
      return lib
        .grad(ops.sum(ops.mul(ops.conv2d(image, filter, { padding: 'same' }), result)), [filter])
        .map((gradient) => ops.sum(gradient))
    },
  ]
}

function update(kind: 'adam' | 'momentum'): [string, Kernel] {
  const size = 100_000
  return [
    `${kind} ${size} parameters`,
    ({ ops, stepState, variable }) => {
      const step = stepState(kind, { rate: 1e-4 })
      const param = variable([size], { name: 'param', value: 1 })
      const [m, v] = [variable([size], { name: 'm' }).region.flat(), variable([size], { name: 'v' }).region.flat()]
      const flat = param.region.flat()
      const gradient = ops.collectGradients(param.region, [{ variable: param, gradient: ops.fill([size], 1e-2) }])
      ops.prepareUpdate(step, [gradient])
      if (kind === 'adam') ops.adamUpdate(flat, m, v, gradient, step, { beta1: 0.9, beta2: 0.999, eps: 1e-8 })
      else ops.momentumUpdate(flat, m, gradient, step, { beta: 0.9, nesterov: false, rateOutside: false })
      return []
    },
  ]
}

const thick = [2, 16, 3, 64, 64] as const
const thin = [10, 28, 5, 1, 30] as const
const middle = [4, 14, 3, 16, 32] as const

const kernels: readonly (readonly [name: string, kernel: Kernel])[] = [
  ...(['NN', 'NT', 'TN'] as const).flatMap((form) => [matmul(192, 256, 160, form), matmul(67, 130, 35, form)]),
  matmul(128, 256, 10, 'NN'),
  ...([thick, middle, thin] as const).flatMap((shape) =>
    (['forward', 'image gradient', 'filter gradient'] as const)
      .filter((part) => shape !== thin || part !== 'image gradient')
      .map((part) => conv(part, shape)),
  ),
  [
    'batch norm + relu 256x128 forward and backward',
    (lib) => {
      const [x, gamma, beta] = [value(lib, 256, 128), value(lib, 128), value(lib, 128)]
      return backward(lib, lib.ops.relu(lib.ops.batchNorm(x, gamma, beta).y), [x, gamma, beta])
    },
  ],
  [
    'softmax cross-entropy 256x10 forward and backward',
    (lib) => {
      const scores = value(lib, 256, 10)
      const classes = Int32Array.from({ length: 256 }, (_, i) => i % 10)
      const labels = lib.variable([256], { name: 'labels', dtype: 'int32', value: classes })
      const loss = lib.ops.mean(lib.ops.softmaxCrossEntropy(scores, labels).loss)
      return [loss, ...lib.grad(loss, [scores]).map((gradient) => lib.ops.sum(gradient))]
    },
  ],
  [
    'max pooling 4x24x24x30 by 2 forward and backward',
    (lib) => {
      const x = value(lib, 4, 24, 24, 30)
      return backward(lib, lib.ops.maxPool2d(x, 2), [x])
    },
  ],
  [
    'average pooling 4x24x24x30 by 2 forward and backward',
    (lib) => {
      const x = value(lib, 4, 24, 24, 30)
      return backward(lib, lib.ops.avgPool2d(x, 2), [x])
    },
  ],
  [
    'gather of 128x784 bytes',
    ({ ops, variable }) => {
      const table = variable([512, 784], { name: 'table', dtype: 'uint8', value: new Uint8Array(512 * 784).fill(7) })
      return [ops.sum(ops.gather(table, ops.sampleRows(128, 512), { factor: 1 / 255 }))]
    },
  ],
  update('adam'),
  update('momentum'),
]

interface Training {
  readonly name: string
  readonly input: readonly number[]
  readonly batch: number
  readonly layers: (lib: Library) => Layer[]
  readonly optimizer: (lib: Library) => Optimizer
}

const trainings: readonly Training[] = [
  {
    name: '10-16-2 b32 sgd',
    input: [10],
    batch: 32,
    layers: ({ dense, relu }) => [dense(16), relu(), dense(2)],
    optimizer: ({ sgd }) => sgd({ lr: 0.01 }),
  },
  {
    name: '784-128-10 b32 adam',
    input: [784],
    batch: 32,
    layers: ({ dense, relu }) => [dense(128), relu(), dense(10)],
    optimizer: ({ adam }) => adam(),
  },
  {
    name: '784-128-64-10 batch norm b64 momentum',
    input: [784],
    batch: 64,
    layers: ({ dense, relu, batchNorm }) => [
      dense(128),
      batchNorm(),
      relu(),
      dense(64),
      batchNorm(),
      relu(),
      dense(10),
    ],
    optimizer: ({ momentum }) => momentum({ lr: 0.01 }),
  },
  {
    name: 'MNIST network b20 adam',
    input: [28, 28, 1],
    batch: 20,
    layers: (lib) => [
      lib.conv2d(30, 5),
      lib.relu(),
      lib.maxPool2d(2),
      lib.flatten(),
      lib.dense(100),
      lib.relu(),
      lib.dense(10),
    ],
    optimizer: ({ adam }) => adam(),
  },
]

const stepsCounted = 2

/** All cases as a pack. Which instruction set and how many threads run it is up to who runs it. */
export async function record({ lib }: Build): Promise<Pack> {
  // Options that nobody else asks for: a device of its own to be watched.
  const device: Device = lib.device('cpu', { threads: 1, isa: 'base' })
  const watched = watch(device)
  const pack = new Pack()
  /** Keeps the first run that `body` makes. */
  const keep = async (name: string, count: number, body: () => unknown): Promise<void> => {
    watched.onRun = (run) => {
      watched.onRun = undefined
      pack.add(name, run, count, [])
    }
    await body()
  }
  for (const [name, kernel] of kernels) {
    const program = lib.record(() => kernel(lib), {}, { device })
    await keep(name, 1, () => program.runSync())
    program.close()
  }
  for (const { name, input, batch, layers, optimizer } of trainings) {
    const rows = 2 * batch
    const size = input.reduce((product, n) => product * n, 1)
    const pixels = Uint8Array.from({ length: rows * size }, (_, i) => (i * 97) % 256)
    const labels = Int32Array.from({ length: rows }, (_, i) => i % 2)
    const data = lib.dataset(pixels, labels, { shape: [rows, ...input] })
    const net = lib.model(input, layers(lib), { device })
    await net.initialize()
    const options = { loss: lib.crossEntropy(), optimizer: optimizer(lib), batchSize: batch }
    await keep(`step ${name}`, stepsCounted, () => net.fit(data, options))
  }
  return pack
}
