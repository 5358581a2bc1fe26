// Single ops, each as a program of its own: what share of the machine's multiply-adds or of its memory bandwidth they reach.
// Results are looked at through one element, so that nothing can be left out of the program and nothing big is copied.

import type { Tensor } from 'gradline'
import type { Build, Case, Library, Numerics, Work } from './measure.js'
import { suffixOf, timed } from './measure.js'
import type { ConvTask, MatmulTask, Task } from './peers/task.js'
import { stream } from './stats.js'

/** Numbers in +-0.5, the same in every run. */
export function numbers(size: number): Float32Array {
  const next = stream(size)
  return Float32Array.from({ length: size }, () => next() - 0.5)
}

/** One element of a tensor. */
const peek = ({ ops }: Library, x: Tensor): Tensor =>
  ops.slice(
    x,
    x.shape.map(() => 0),
    x.shape.map(() => 1),
  )

/** A scalar whose gradient with respect to y is dy, so that no loss has to be computed. */
const seeded = (lib: Library, y: Tensor, dy: Tensor): Tensor =>
  lib.customGrad({ forward: (x) => lib.ops.reshape(peek(lib, x), [1]), backward: () => [dy] })(y)

type Kernel = (lib: Library, value: (...shape: number[]) => Tensor) => Tensor[]

/** The work of a program whose steps compute `kernel` from variables. */
function programOf({ lib }: Build, threads: number, kernel: Kernel, numerics: Numerics): Work {
  const value = (...shape: number[]): Tensor => {
    const size = shape.reduce((product, n) => product * n, 1)
    return lib.variable(shape, { name: 'value', value: numbers(size) })
  }
  const outputs = (): Tensor[] => kernel(lib, value).map((result) => (result.size === 1 ? result : peek(lib, result)))
  const program = lib.record(outputs, {}, { device: lib.device('cpu', { threads }), numerics })
  return {
    time: (iterations) => timed(() => program.runManySync(iterations)),
    close: () => program.close(),
  }
}

type Rated = Pick<Case, 'unit' | 'ceiling' | 'amount'>
const operations = (amount: number): Rated => ({ unit: 'GFLOP/s', ceiling: 'multiply-adds', amount })
const bytes = (amount: number, ceiling: Rated['ceiling'] = 'copy bandwidth'): Rated => ({
  unit: 'GB/s',
  ceiling,
  amount,
})

function kernelCase(
  name: string,
  threads: number,
  quick: boolean,
  rated: Rated,
  kernel: Kernel,
  task?: Task,
  numerics: Numerics = 'fp32',
): Case {
  return { name, threads, quick, ...rated, task, open: (build) => programOf(build, threads, kernel, numerics) }
}

function matmul(m: number, k: number, n: number, form: MatmulTask['form'], threads: number, quick: boolean): Case {
  const [transposeA, transposeB] = [form === 'TN', form === 'NT']
  return kernelCase(
    `matmul ${m}x${k}x${n} ${form}`,
    threads,
    quick,
    operations(2 * m * k * n),
    ({ ops }, value) => [
      ops.matmul(transposeA ? value(k, m) : value(m, k), transposeB ? value(n, k) : value(k, n), {
        transposeA,
        transposeB,
      }),
    ],
    { kind: 'matmul', m, k, n, form },
  )
}

const squares = [256, 512, 1024, 2048]
const batches = [32, 64, 128, 512, 1024]
const layers: readonly (readonly [number, number])[] = [
  [784, 512],
  [512, 256],
  [256, 10],
  [1024, 1024],
  [4096, 1024],
]

function matmuls(threads: number): Case[] {
  return [
    ...squares.flatMap((n) => (['NN', 'NT', 'TN'] as const).map((form) => matmul(n, n, n, form, threads, n < 2048))),
    ...batches.flatMap((batch) =>
      // Squares are there already.
      layers
        .filter(([inputs, units]) => batch !== inputs || inputs !== units)
        .flatMap(([inputs, units]) => [
          matmul(batch, inputs, units, 'NN', threads, batch === 32 || batch === 128),
          matmul(batch, units, inputs, 'NT', threads, batch === 128),
          matmul(inputs, batch, units, 'TN', threads, batch === 128),
        ]),
    ),
  ]
}

type Image = Omit<ConvTask, 'kind' | 'part'>

const images: readonly Image[] = [
  { batch: 100, side: 28, kernel: 5, from: 1, to: 30, padding: 'valid' },
  { batch: 64, side: 32, kernel: 3, from: 3, to: 32, padding: 'same' },
  { batch: 64, side: 28, kernel: 3, from: 1, to: 16, padding: 'same' },
  { batch: 64, side: 28, kernel: 3, from: 16, to: 16, padding: 'same' },
  { batch: 64, side: 28, kernel: 3, from: 16, to: 32, padding: 'same' },
  { batch: 64, side: 16, kernel: 3, from: 32, to: 64, padding: 'same' },
  { batch: 16, side: 32, kernel: 3, from: 64, to: 64, padding: 'same' },
]

const parts = ['forward', 'image gradient', 'filter gradient', 'both gradients'] as const

function convolutions(threads: number): Case[] {
  return images.flatMap((conv) => [
    ...parts.map((part) => convolution(conv, part, threads, 'fp32')),
    ...(conv.from >= 64 ? parts.map((part) => convolution(conv, part, threads, 'fast')) : []),
  ])
}

function convolution(conv: Image, part: ConvTask['part'], threads: number, numerics: Numerics): Case {
  const { batch, side, kernel, from, to, padding } = conv
  const out = padding === 'same' ? side : side - kernel + 1
  const amount = 2 * batch * out * out * kernel * kernel * from * to
  return kernelCase(
    `conv ${kernel}x${kernel} ${from}->${to} ${side}x${side} b${batch} ${part}${suffixOf(numerics)}`,
    threads,
    true,
    operations(part === 'both gradients' ? 2 * amount : amount),
    (lib, value) => {
      const [image, filter] = [() => value(batch, side, side, from), () => value(kernel, kernel, from, to)]
      const result = (): Tensor => value(batch, out, out, to)
      if (part === 'forward') return [lib.ops.conv2d(image(), filter(), { padding })]
      // The gradient of the image is the transposed convolution of the gradient of the result.
      if (part === 'image gradient') return [lib.ops.convTranspose2d(result(), filter(), { padding })]
      const [x, w] = [image(), filter()]
      const y = lib.ops.conv2d(x, w, { padding })
      return lib.grad(seeded(lib, y, result()), part === 'both gradients' ? [x, w] : [w])
    },
    { kind: 'conv', part, ...conv },
    numerics,
  )
}

/** Bytes an element: forward reads x and writes y, backward reads dy and x and writes dx. */
const batchNormBytes = 20

function batchNorms(threads: number): Case[] {
  return [
    [512, 1024],
    [64, 32, 32, 64],
  ].map((shape) => {
    const size = shape.reduce((product, n) => product * n, 1)
    return kernelCase(
      `batch norm + relu ${shape.join('x')} forward and backward`,
      threads,
      true,
      bytes(batchNormBytes * size),
      (lib, value) => {
        const channels = shape.at(-1) as number
        const [x, gamma, beta] = [value(...shape), value(channels), value(channels)]
        const y = lib.ops.relu(lib.ops.batchNorm(x, gamma, beta).y)
        return [y, ...lib.grad(seeded(lib, y, value(...shape)), [x, gamma, beta])]
      },
      { kind: 'batchNorm', shape },
    )
  })
}

/** Bytes an element: forward reads scores and writes probabilities, backward reads these and writes the gradient. */
const crossEntropyBytes = 16

function crossEntropies(threads: number): Case[] {
  return [
    { rows: 512, classes: 10 },
    { rows: 512, classes: 1000 },
  ].map(({ rows, classes }) =>
    kernelCase(
      `softmax cross-entropy ${rows}x${classes} forward and backward`,
      threads,
      true,
      bytes(crossEntropyBytes * rows * classes),
      (lib, value) => {
        const scores = value(rows, classes)
        const labels = lib.variable([rows], {
          name: 'labels',
          dtype: 'int32',
          value: Int32Array.from({ length: rows }, (_, i) => i % classes),
        })
        const loss = lib.ops.mean(lib.ops.softmaxCrossEntropy(scores, labels).loss)
        return [loss, ...lib.grad(loss, [scores])]
      },
      { kind: 'crossEntropy', rows, classes },
    ),
  )
}

const parameters = 10_000_000
/** Writing the gradient is part of the program, as of every step. */
const gradientBytes = 4

function updates(threads: number): Case[] {
  const update = (kind: 'adam' | 'momentum', perParameter: number): Case =>
    kernelCase(
      `${kind} 10 M parameters (${perParameter} + ${gradientBytes} bytes each)`,
      threads,
      true,
      bytes((perParameter + gradientBytes) * parameters, 'update bandwidth'),
      ({ ops, stepState, variable }) => {
        const step = stepState(kind, { rate: 1e-4 })
        const param = variable([parameters], { name: 'param', value: 1 })
        const slots = [0, 1].map(() => variable([param.size], { name: 'slot' }))
        const flat = param.region.flat()
        const gradient = ops.collectGradients(param.region, [
          { variable: param, gradient: ops.fill([parameters], 1e-2) },
        ])
        // Of one element: what looks for infinities is no part of the update's bytes.
        ops.prepareUpdate(step, [ops.fill([1], 1)])
        const [m, v] = slots.map((slot) => slot.region.flat()) as [typeof flat, typeof flat]
        if (kind === 'adam') ops.adamUpdate(flat, m, v, gradient, step, { beta1: 0.9, beta2: 0.999, eps: 1e-8 })
        else ops.momentumUpdate(flat, m, gradient, step, { beta: 0.9, nesterov: false, rateOutside: false })
        return []
      },
      { kind: 'update', optimizer: kind, parameters },
    )
  return [update('adam', 28), update('momentum', 20)]
}

export const kernels = (threads: number): Case[] => [
  ...matmuls(threads),
  ...convolutions(threads),
  ...batchNorms(threads),
  ...crossEntropies(threads),
  ...updates(threads),
]
