// Layers beyond PyTorch's values (layers.fixtures.test.ts): every layer is asked for its gradient by central differences in
// double precision and for equal bits with plan, passes and threads switched; then what each one promises in closed form.
import { describe, expect, it } from 'vitest'
import { device, machine } from '../../src/device.js'
import type { TypedArray } from '../../src/dtype.js'
import {
  adaptiveAvgPool2d,
  adaptiveMaxPool2d,
  alphaDropout,
  batchNorm,
  concatenate,
  conv1d,
  conv2d,
  convTranspose2d,
  dense,
  depthwiseConv2d,
  dropout,
  embedding,
  gaussianNoise,
  grad,
  groupNorm,
  type Layer,
  layerNorm,
  localResponseNorm,
  maxout,
  model,
  ops,
  randomCrop,
  randomFlip,
  record,
  relu,
  reshape,
  residual,
  rmsNorm,
  separableConv2d,
  sequential,
  spatialDropout2d,
  stepState,
  type Tensor,
  tanh,
  tensor,
  upsample2d,
  write,
  zeroPad2d,
} from '../../src/index.js'
import type { Mode } from '../../src/layers/layer.js'
import { passNames } from '../../src/passes/index.js'
import type { ProgramOptions } from '../../src/program.js'
import { type Shape, sizeOf } from '../../src/shape.js'
import { encodeStep, stepBytes } from '../../src/step.js'
import { fill, type Input, indices, normal } from '../ops/data.js'
import { bitsDiffer, onCpu, onRef, worst } from '../ops/harness.js'
import { AskedScope, GivenScope } from './layerScope.js'

interface Row {
  readonly name: string
  readonly layer: Layer
  readonly x: Input
  readonly mode?: Mode
}

/** The shapes of the parameters that a layer asks for, by path. */
function parametersOf(row: Row): Map<string, Shape> {
  const scope = new AskedScope((shape) => ops.fill(shape, 0))
  record(({ x }) => row.layer(x, scope), { x: { shape: row.x.shape, dtype: row.x.dtype } })
  return scope.asked
}

const startOfStep = new Uint8Array(stepBytes)
encodeStep(startOfStep, { seed: 3, step: 5 })

/** A layer with its parameters as inputs: y, and the gradients of a weighted sum of y if asked for. */
function prepare(row: Row, options: ProgramOptions & { device: ReturnType<typeof onCpu> }, withGradients: boolean) {
  const parameters = parametersOf(row)
  const specs: Record<string, { shape: Shape; dtype: Input['dtype'] }> = { x: row.x }
  for (const [path, shape] of parameters) specs[path] = { shape, dtype: 'float32' }
  const floats = Object.keys(specs).filter((name) => specs[name]!.dtype === 'float32')
  const step = stepState()
  const apply = (given: Record<string, Tensor>): Tensor =>
    row.layer(given.x!, new GivenScope(new Map(Object.entries(given)), row.mode ?? 'train'))
  const program = record(
    (inputs) => {
      const given: Record<string, Tensor> = inputs
      const y = apply(given)
      if (!withGradients) return { y }
      const weight = ops.reshape(given[' weight']!, y.shape)
      const gradients = grad(
        ops.sum(ops.mul(y, weight)),
        floats.map((name) => given[name]!),
      )
      return { y, ...Object.fromEntries(floats.map((name, i) => [name, gradients[i]!])) } as { y: Tensor }
    },
    { ...specs, ...(withGradients ? { ' weight': { shape: [outputSize(row)], dtype: 'float32' as const } } : {}) },
    { ...options, step },
  )
  const run = (data: Record<string, ArrayLike<number>>): Record<string, TypedArray> => {
    write(step, startOfStep, options.device)
    const results = program.runSync(data as never)
    return Object.fromEntries(Object.entries(results).map(([name, t]) => [name, t.data]))
  }
  return { run, floats, close: () => program.close() }
}

function outputSize(row: Row): number {
  let size = 0
  const scope = new AskedScope((shape) => ops.fill(shape, 0))
  record(
    ({ x }) => {
      size = row.layer(x, scope).size
      return {}
    },
    { x: { shape: row.x.shape, dtype: row.x.dtype } },
  )
  return size
}

function dataOf(row: Row): Record<string, TypedArray> {
  const data: Record<string, TypedArray> = { x: fill(row.x, 11) }
  let seed = 100
  for (const [path, shape] of parametersOf(row)) data[path] = fill(normal(shape), seed++)
  return data
}

function everything(row: Row, options: ProgramOptions & { device: ReturnType<typeof onCpu> }): TypedArray[] {
  const { run, close } = prepare(row, options, true)
  const results = run({ ...dataOf(row), ' weight': fill(normal([outputSize(row)]), 77) })
  close()
  return Object.values(results)
}

const image = normal([2, 5, 4, 6])
const rows: Row[] = [
  { name: 'dense', layer: dense(7), x: normal([3, 5]) },
  { name: 'conv2d', layer: conv2d(5, [2, 3], { padding: 'same' }), x: image },
  { name: 'conv1d, strided', layer: conv1d(4, 3, { stride: 2, padding: 1 }), x: normal([2, 9, 3]) },
  {
    name: 'conv1d, same, dilated, grouped',
    layer: conv1d(4, 3, { padding: 'same', dilation: 2, groups: 2 }),
    x: normal([2, 9, 4]),
  },
  { name: 'depthwiseConv2d', layer: depthwiseConv2d(3, { multiplier: 2, padding: 'same' }), x: image },
  { name: 'separableConv2d', layer: separableConv2d(5, 3, { multiplier: 2, stride: 2, padding: 1 }), x: image },
  { name: 'convTranspose2d', layer: convTranspose2d(3, 3, { stride: 2, padding: 1, outputPadding: 1 }), x: image },
  {
    name: 'convTranspose2d, same, grouped',
    layer: convTranspose2d(4, [3, 2], { stride: [2, 3], padding: 'same', groups: 2 }),
    x: image,
  },
  {
    name: 'convTranspose2d, same, gaps',
    layer: convTranspose2d(2, 1, { stride: 3, padding: 'same' }),
    x: normal([1, 2, 2, 3]),
  },
  { name: 'adaptiveAvgPool2d', layer: adaptiveAvgPool2d([3, 2]), x: image },
  { name: 'adaptiveAvgPool2d, enlarging', layer: adaptiveAvgPool2d([7, 9]), x: image },
  { name: 'adaptiveMaxPool2d', layer: adaptiveMaxPool2d([3, 3]), x: image },
  { name: 'layerNorm', layer: layerNorm(), x: normal([3, 17]) },
  { name: 'layerNorm over three axes', layer: layerNorm({ axes: 3 }), x: image },
  { name: 'groupNorm', layer: groupNorm(3), x: image },
  { name: 'groupNorm of sequences', layer: groupNorm(2), x: normal([2, 5, 4]) },
  { name: 'rmsNorm', layer: rmsNorm(), x: normal([3, 2, 9]) },
  { name: 'localResponseNorm', layer: localResponseNorm(4, { alpha: 2 }), x: image },
  { name: 'embedding', layer: embedding(9, 5), x: indices([4, 3], 9) },
  { name: 'dropout', layer: dropout(0.4), x: normal([5, 33]) },
  { name: 'randomFlip', layer: randomFlip({ vertical: true }), x: image },
  { name: 'randomCrop', layer: randomCrop({ padding: 1 }), x: image },
  { name: 'spatialDropout2d', layer: spatialDropout2d(0.4), x: image },
  { name: 'alphaDropout', layer: alphaDropout(0.3), x: normal([5, 33]) },
  { name: 'gaussianNoise', layer: gaussianNoise(0.5), x: normal([5, 33]) },
  { name: 'reshape', layer: reshape([4, -1, 2]), x: image },
  { name: 'upsample2d', layer: upsample2d([2, 3]), x: image },
  { name: 'zeroPad2d', layer: zeroPad2d({ top: 1, right: 2 }), x: image },
  { name: 'residual', layer: residual([dense(5), tanh(), dense(4)]), x: normal([3, 4]) },
  {
    name: 'residual with a short cut',
    layer: residual([conv2d(3, 3, { stride: 2, padding: 1 })], { shortcut: [conv2d(3, 1, { stride: 2 })] }),
    x: image,
  },
  {
    name: 'concatenate',
    layer: concatenate([[conv2d(2, 1)], [conv2d(3, 3, { padding: 'same' }), tanh()], []]),
    x: image,
  },
  { name: 'maxout', layer: maxout(4, { pieces: 3 }), x: normal([3, 5]) },
]

const fp64 = { device: onRef(), numerics: 'fp64' } as const
const isas = machine().isas as ('avx512' | 'avx2' | 'base')[]

describe.each(rows)('$name', (row) => {
  it('has the gradient that central differences measure', () => {
    const exact = prepare(row, fp64, true)
    const forward = prepare(row, fp64, false)
    const weight = fill(normal([outputSize(row)]), 77)
    const data: Record<string, ArrayLike<number>> = dataOf(row)
    const gradients = exact.run({ ...data, ' weight': weight })
    for (const name of exact.floats) {
      const moved = Float64Array.from(data[name]!)
      const count = Math.min(moved.length, 24)
      const points = Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * moved.length) / count))
      const lossAt = (i: number, value: number): number => {
        const kept = moved[i]!
        moved[i] = value
        const { y } = forward.run({ ...data, [name]: moved })
        moved[i] = kept
        return Array.from(y!).reduce((total, v, j) => total + v * weight[j]!, 0)
      }
      const measured = points.map((i) => (lossAt(i, moved[i]! + 1e-5) - lossAt(i, moved[i]! - 1e-5)) / 2e-5)
      const got = points.map((i) => gradients[name]![i]!)
      const largest = Math.max(1, ...measured.map(Math.abs))
      expect(worst(name, got, measured, () => 1e-7 * largest)).toBe(undefined)
    }
    exact.close()
    forward.close()
  })

  it('is the same on the CPU with every instruction set', () => {
    const wide = everything(row, fp64)
    for (const isa of isas) {
      const narrow = everything(row, { device: device('cpu', { isa }) })
      wide.forEach((wanted, i) => {
        const largest = (wanted as Float64Array).reduce((most, v) => Math.max(most, Math.abs(v)), 1)
        expect(worst(`${isa}: result ${i}`, narrow[i]!, wanted, () => 128 * 2 ** -24 * largest)).toBe(undefined)
      })
    }
  })

  it('needs no plan and no passes, and does not depend on threads', () => {
    const one = everything(row, { device: device('cpu', { threads: 1 }) })
    const others = {
      'two threads': everything(row, { device: device('cpu', { threads: 2 }) }),
      'no plan': everything(row, { device: onCpu(), plan: 'none' }),
      'no passes': everything(row, { device: onCpu(), without: passNames }),
    }
    for (const [name, results] of Object.entries(others)) expect(bitsDiffer(name, one, results)).toBe(undefined)
  })
})

// ---- What each one promises ------------------------------------------------------------------------------------------

/** A layer alone, in one mode, with its parameters given. */
function apply(
  layer: Layer,
  x: Tensor,
  parameters: Record<string, Tensor> = {},
  mode: Mode = 'predict',
  seed = 1,
): Tensor {
  const given = { x, ...parameters }
  const specs = Object.fromEntries(Object.entries(given).map(([name, { shape, dtype }]) => [name, { shape, dtype }]))
  const program = record((t) => layer(t.x!, new GivenScope(new Map(Object.entries(t)), mode)), specs, { seed })
  const y = program.runSync(Object.fromEntries(Object.entries(given).map(([name, { data }]) => [name, data])))
  program.close()
  return y
}

const random = (shape: Shape, seed = 1): Tensor => tensor(fill(normal(shape), seed), { shape })
const list = (t: Tensor): number[] => Array.from(t.data)
const average = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => a + b, 0) / values.length
const varianceOf = (values: ArrayLike<number>): number => {
  const centre = average(values)
  return average(Array.from(values, (v) => (v - centre) ** 2))
}

describe('maxout', () => {
  it('of one piece of zeros is dense and ReLU, exactly', async () => {
    const [x, w, b] = [random([9, 5]), random([5, 7], 2), random([7], 3)]
    const zeros = (t: Tensor): Tensor => tensor(new Float32Array(t.size), { shape: t.shape })
    const wide = (a: Tensor): Tensor => ops.concat([a, zeros(a)], -1)
    const y = apply(maxout(7), x, { weight: wide(w), bias: wide(b) })
    const plain = apply(sequential([dense(7), relu()]), x, { 'dense1.weight': w, 'dense1.bias': b })
    expect(list(y)).toEqual(list(plain))
    expect(list(y).some((v) => v === 0) && list(y).some((v) => v > 0)).toBe(true)
  })

  it('has pieces times the parameters of dense', () => {
    const plain = model([20], [dense(30)]).parameterCount
    expect(model([20], [maxout(30)]).parameterCount).toBe(2 * plain)
    expect(model([20], [maxout(30, { pieces: 5 })]).parameterCount).toBe(5 * plain)
  })
})

describe('noise', () => {
  it('of alpha dropout keeps mean and variance, and takes SELU to its limit', () => {
    const x = random([400, 500])
    for (const rate of [0.1, 0.5]) {
      const y = apply(alphaDropout(rate), x, {}, 'train')
      expect(average(y.data)).toBeCloseTo(average(x.data), 2)
      expect(Math.abs(varianceOf(y.data) - 1)).toBeLessThan(0.02)
      const s = -1.7580993408473766
      const a = 1 / Math.sqrt((1 - rate) * (1 + rate * s * s))
      const limit = Math.fround(a * s - a * rate * s)
      const dropped = list(y).filter((v) => Math.abs(v - limit) < 1e-6).length / y.size
      expect(Math.abs(dropped - rate)).toBeLessThan(3 * Math.sqrt((rate * (1 - rate)) / y.size) + 1e-4)
    }
  })

  it('of spatial dropout drops whole channels of single samples', () => {
    const y = apply(
      spatialDropout2d(0.5),
      tensor(new Float32Array(40 * 3 * 3 * 8).fill(1), { shape: [40, 3, 3, 8] }),
      {},
      'train',
    )
    let kept = 0
    for (let n = 0; n < 40; n++) {
      for (let c = 0; c < 8; c++) {
        const values = Array.from({ length: 9 }, (_, i) => y.data[(n * 9 + i) * 8 + c])
        expect(new Set(values).size).toBe(1)
        expect([0, 2]).toContain(values[0])
        kept += values[0] === 2 ? 1 : 0
      }
    }
    expect(Math.abs(kept / 320 - 0.5)).toBeLessThan(3 * Math.sqrt(0.25 / 320))
  })

  it('of gaussianNoise has its mean and deviation, and differs between steps and elements', () => {
    const x = tensor(new Float32Array(100_000), { shape: [100, 1000] })
    const y = apply(gaussianNoise(0.3), x, {}, 'train')
    expect(Math.abs(average(y.data))).toBeLessThan(0.004)
    expect(Math.abs(Math.sqrt(varianceOf(y.data)) - 0.3)).toBeLessThan(0.003)
    expect(list(apply(gaussianNoise(0.3), x, {}, 'train', 2))).not.toEqual(list(y))
  })

  it.each([
    ['dropout', dropout(0.5)],
    ['spatialDropout2d', spatialDropout2d(0.5)],
    ['alphaDropout', alphaDropout(0.5)],
    ['gaussianNoise', gaussianNoise(1)],
    ['randomFlip', randomFlip()],
    ['randomCrop', randomCrop({ padding: 2 })],
  ])('of %s is absent in prediction', (_, layer) => {
    const x = random([2, 3, 4, 5])
    expect(list(apply(layer, x))).toEqual(list(x))
  })
})

describe('placing', () => {
  it('upsample2d repeats every pixel, exactly', () => {
    const x = random([2, 2, 3, 2])
    const y = apply(upsample2d([2, 3]), x)
    expect(y.shape).toEqual([2, 4, 9, 2])
    y.data.forEach((v, i) => {
      const [c, w, h, n] = [i % 2, Math.floor(i / 2) % 9, Math.floor(i / 18) % 4, Math.floor(i / 72)]
      expect(v).toBe(x.data[((n * 2 + Math.floor(h / 2)) * 3 + Math.floor(w / 3)) * 2 + c])
    })
  })

  it('zeroPad2d takes one number, a pair or sides', () => {
    const x = random([1, 2, 2, 1])
    expect(apply(zeroPad2d(1), x).shape).toEqual([1, 4, 4, 1])
    expect(apply(zeroPad2d([0, 2]), x).shape).toEqual([1, 2, 6, 1])
    const [a, b, c, d] = list(x)
    expect(list(apply(zeroPad2d({ left: 1, bottom: 1 }), x))).toEqual([0, a, b, 0, c, d, 0, 0, 0])
  })

  it('reshape keeps the elements of each sample in order', () => {
    const x = random([3, 4, 2])
    const y = apply(reshape([2, -1]), x)
    expect(y.shape).toEqual([3, 2, 4])
    expect(list(y)).toEqual(list(x))
  })

  it('concatenate joins branches on the channels, and hands x on through an empty one', () => {
    const x = random([2, 3])
    const y = apply(concatenate([[], [relu()], []]), x)
    expect(y.shape).toEqual([2, 9])
    const row = Array.from({ length: 3 }, (_, i) => x.data[3 + i] as number)
    expect(list(y).slice(9)).toEqual([...row, ...row.map((v) => Math.max(v, 0)), ...row])
  })

  it('a residual block of a layer of zeros is the identity', () => {
    const x = random([3, 4])
    const zeros = {
      'dense1.weight': tensor(new Float32Array(16), { shape: [4, 4] }),
      'dense1.bias': tensor([0, 0, 0, 0]),
    }
    expect(list(apply(residual([dense(4)]), x, zeros))).toEqual(list(x))
  })
})

describe('convTranspose2d', () => {
  it("of padding 'same' is the adjoint of the 'same' convolution, and enlarges by the stride", () => {
    for (const [size, kernel, stride, dilation] of [
      [3, 3, 2, 1],
      [4, 2, 3, 1],
      [5, 4, 1, 2],
      [2, 1, 3, 1],
    ] as const) {
      const big = size * stride
      const [x, y, w] = [random([1, big, big, 2]), random([1, size, size, 3], 2), random([kernel, kernel, 2, 3], 3)]
      const down = ops.conv2d(x, w, { stride, padding: 'same', dilation })
      const up = ops.convTranspose2d(y, w, { stride, padding: 'same', dilation })
      expect(up.shape).toEqual(x.shape)
      const inner = (a: Tensor, b: Tensor): number => list(a).reduce((sum, v, i) => sum + v * (b.data[i] as number), 0)
      expect(inner(down, y)).toBeCloseTo(inner(x, up), 3)
    }
  })
})

describe('norms', () => {
  const norms: [string, Layer[], Shape][] = [
    ['batchNorm', [batchNorm()], [5, 5, 6]],
    ['layerNorm', [layerNorm()], [7]],
    ['layerNorm of long rows', [layerNorm()], [70_001]],
    ['layerNorm over three axes', [layerNorm({ axes: 3 })], [5, 5, 6]],
    ['groupNorm', [groupNorm(3)], [5, 5, 6]],
    ['groupNorm of large images', [groupNorm(4)], [60, 50, 8]],
    ['rmsNorm', [rmsNorm()], [33]],
    ['localResponseNorm', [localResponseNorm(5)], [3, 3, 6]],
  ]
  it.each(norms)('%s gives a sample the same bits alone and in any batch', async (_, layers, shape) => {
    const net = model(shape, layers)
    const size = sizeOf(shape)
    const x = fill(normal([9, ...shape]), 4)
    const all = await net.predict(x)
    for (const [begin, count] of [
      [0, 1],
      [4, 1],
      [2, 5],
      [8, 1],
    ] as const) {
      const part = await net.predict(x.slice(begin * size, (begin + count) * size))
      expect(bitsDiffer('part', [part.data], [all.data.slice(begin * size, (begin + count) * size)])).toBe(undefined)
    }
    net.close()
  })

  it('normalizes: layerNorm and groupNorm to mean 0 and variance 1, rmsNorm to mean square 1', async () => {
    const x = fill(normal([4, 6, 8]), 5).map((v) => 3 * v + 10)
    const spread = async (layer: Layer): Promise<TypedArray> => (await model([6, 8], [layer]).predict(x)).data
    const plain = await spread(layerNorm({ axes: 2 }))
    const grouped = await spread(groupNorm(1))
    for (let n = 0; n < 4; n++) {
      for (const y of [plain, grouped]) {
        const sample = y.slice(n * 48, (n + 1) * 48)
        expect(average(sample)).toBeCloseTo(0, 5)
        expect(varianceOf(sample)).toBeCloseTo(1, 4)
      }
    }
    const scaled = await spread(rmsNorm())
    for (let row = 0; row < 24; row++) {
      expect(average(Array.from(scaled.slice(row * 8, row * 8 + 8), (v) => v * v))).toBeCloseTo(1, 4)
    }
  })

  it('localResponseNorm divides alpha by its size, as PyTorch does and AlexNet does not', () => {
    const x = tensor([1, 2, 3], { shape: [1, 3] })
    const [a, b, c] = list(apply(localResponseNorm(3, { alpha: 3, beta: 1, k: 1 }), x))
    expect(a).toBeCloseTo(1 / (1 + 5), 6)
    expect(b).toBeCloseTo(2 / (1 + 14), 6)
    expect(c).toBeCloseTo(3 / (1 + 13), 6)
  })
})

describe('a layer in a list', () => {
  it('lets the first weights follow the activation behind norms, noise and placing', async () => {
    for (const between of [layerNorm(), groupNorm(2), rmsNorm(), alphaDropout(), gaussianNoise(1), reshape([200])]) {
      const net = model([200], [dense(200), between, relu()], { seed: 1 })
      const { data } = (await net.weights()).get('dense1.weight')!
      // He 0.1; Glorot, for anything but ReLU, would be 0.0707.
      expect(Math.abs(Math.sqrt(varianceOf(data)) - 0.1)).toBeLessThan(0.002)
      net.close()
    }
  })
})
