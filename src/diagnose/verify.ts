// Asks the kernels of this machine whether they compute what they should: every op on every instruction set against the
// reference in double precision, the reference against golden numbers, every layer's gradient against central differences,
// every update rule against the reference. It needs nothing but the installed package.

import { dataset } from '../data/dataset.js'
import { type Device, device, machine } from '../device.js'
import { allocate, type TypedArray } from '../dtype.js'
import { grad } from '../grad.js'
import { tanh } from '../layers/activations.js'
import { dense } from '../layers/dense.js'
import { flatten } from '../layers/flatten.js'
import { mse } from '../losses/index.js'
import { read } from '../memory.js'
import { add, mul } from '../ops/elementwise.js'
import { sum } from '../ops/reduce.js'
import { record } from '../program.js'
import { maxNorm } from '../regularizers/index.js'
import { type Shape, sizeOf } from '../shape.js'
import type { Tensor } from '../tensor.js'
import { model } from '../train/model.js'
import { golden } from './golden.js'
import { gradCheck } from './gradCheck.js'
import { type Fill, layerCases, type OpCase, opCases, optimizerCases } from './verifyCases.js'

export interface Finding {
  readonly kind: 'op' | 'golden' | 'layer' | 'update'
  readonly name: string
  /** Instruction set, or 'ref'. */
  readonly on: string
  /** Worst error as a share of what is allowed; above 1 it is wrong. */
  readonly error: number
}

const unit = 2 ** -24
const smallest = 2 ** -126
/** Factor of the error model c * u * sqrt(K) * size of the terms (Higham, Accuracy and Stability, 2002, with c chosen). */
const c = 8

/** Numbers in [0, 1) that are the same everywhere: a 32-bit Weyl sequence, mixed. */
function uniform(seed: number): () => number {
  let state = Math.imul(seed + 1, 0x9e3779b9)
  return () => {
    state = (state + 0x9e3779b9) | 0
    let z = Math.imul(state ^ (state >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32
  }
}

function numbers(shape: Shape, fill: Fill, seed: number): TypedArray {
  const next = uniform(seed)
  const data = allocate(typeof fill === 'number' ? 'int32' : 'float32', sizeOf(shape))
  // Sums of three uniform numbers stand for normal ones: no function whose last bit depends on the system.
  const draw = (): number => {
    if (typeof fill === 'number') return Math.floor(next() * fill)
    if (fill === 'positive') return 0.5 + 1.5 * next()
    if (fill === 'flags') return Math.floor(2 * next())
    return 2 * (next() + next() + next() - 1.5)
  }
  for (let i = 0; i < data.length; i++) data[i] = draw()
  return data
}

/** Outputs of a case, and the gradients of a fixed weighted sum of its float outputs. */
export function runCase(row: OpCase, on: Device, numerics: OpCase['numerics'] | 'fp64'): TypedArray[] {
  const data = row.inputs.map(([shape, fill], i) => numbers(shape, fill, 10 * i + 1))
  const specs: Record<string, { shape: Shape; dtype: 'float32' | 'int32' }> = {}
  row.inputs.forEach(([shape, fill], i) => {
    specs[`x${i}`] = { shape, dtype: typeof fill === 'number' ? 'int32' : 'float32' }
  })
  const outputs = (given: Readonly<Record<string, Tensor>>): Tensor[] => {
    return [row.build(row.inputs.map((_, i) => given[`x${i}`] as Tensor))].flat() as Tensor[]
  }
  const weights: Record<string, TypedArray> = {}
  const weightSpecs: typeof specs = {}
  const options = { device: on, numerics, seed: 3, name: row.name } as const
  if (row.gradient) {
    // The shapes of the outputs are known only while recording: record twice.
    record((given) => {
      outputs(given).forEach(({ shape }, i) => {
        weights[`w${i}`] = numbers(shape, 'normal', 1000 + i)
        weightSpecs[`w${i}`] = { shape, dtype: 'float32' }
      })
      return []
    }, specs)
  }
  const program = record(
    (given) => {
      const results = outputs(given)
      if (!row.gradient) return results
      const loss = results
        .map((y, i) => sum(mul(y, (given as Record<string, Tensor>)[`w${i}`] as Tensor)))
        .reduce((a, b) => add(a, b))
      const wrt = row.inputs.flatMap(([, fill], i) =>
        typeof fill !== 'number' ? [(given as Record<string, Tensor>)[`x${i}`] as Tensor] : [],
      )
      return [...results, ...grad(loss, wrt)]
    },
    { ...specs, ...weightSpecs },
    options,
  )
  try {
    const given = Object.fromEntries(data.map((values, i) => [`x${i}`, values]))
    return program.runSync({ ...given, ...weights }).map((t) => t.data)
  } finally {
    program.close()
  }
}

/** The largest |got - wanted| as a share of c u sqrt(K) times the largest element; integers must be equal. */
function errorOf(got: readonly TypedArray[], wanted: readonly TypedArray[], K: number): number {
  let worst = 0
  wanted.forEach((exact, o) => {
    const list = got[o] as TypedArray
    let largest = 0
    for (const value of exact) largest = Math.max(largest, Math.abs(value))
    const bound = exact instanceof Int32Array ? 0 : c * unit * Math.sqrt(K) * largest + smallest
    for (let i = 0; i < exact.length; i++) {
      const off = Math.abs((list[i] as number) - (exact[i] as number))
      if (off === 0) continue
      worst = Math.max(worst, Number.isNaN(off) || bound === 0 ? Number.POSITIVE_INFINITY : off / bound)
    }
  })
  return worst
}

/** One number per result that changes with every element of it: a weighted sum. */
export function fingerprint(results: readonly TypedArray[]): { sums: number[]; sizes: number[] } {
  const sums: number[] = []
  const sizes: number[] = []
  results.forEach((values, r) => {
    const next = uniform(77 + r)
    let [total, size] = [0, 0]
    for (const value of values) {
      const term = (next() - 0.5) * value
      total += term
      size += Math.abs(term)
    }
    sums.push(total)
    sizes.push(size)
  })
  return { sums, sizes }
}

/** Weights after a few epochs on a small data set, with each group of two batches averaged. */
async function trained(make: () => ReturnType<(typeof optimizerCases)[string]>, on: Device): Promise<TypedArray[]> {
  const net = model([5], [dense(17, { constraint: maxNorm(2) }), tanh(), dense(3)], { seed: 4, device: on })
  const data = dataset(numbers([40, 5], 'normal', 5) as Float32Array, numbers([40, 3], 'normal', 6) as Float32Array, {
    shape: [40, 5],
  })
  await net.fit(data, { loss: mse(), optimizer: make(), epochs: 2, batchSize: 8, accumulate: 2 })
  return net.params.map((variable) => read(variable))
}

/** All findings, as they come. */
export async function* verify(): AsyncGenerator<Finding> {
  const ref = device('ref')
  const tiers = [
    ...machine().isas.map((isa) => [isa, device('cpu', { isa: isa as 'base' })] as const),
    ['portable', device('cpu', { numerics: 'portable' })] as const,
  ]
  for (const row of opCases) {
    const exact = runCase(row, ref, 'fp64')
    const { sums, sizes } = fingerprint(exact)
    const known = golden[row.name] ?? []
    const off = sums.map((s, i) => Math.abs(s - (known[i] ?? Number.NaN)) / (1e-12 * ((sizes[i] as number) + 1e-300)))
    const wrong = known.length !== sums.length || off.some((v) => Number.isNaN(v))
    yield { kind: 'golden', name: row.name, on: 'ref', error: wrong ? Number.POSITIVE_INFINITY : Math.max(...off) }
    for (const [isa, on] of tiers) {
      yield { kind: 'op', name: row.name, on: isa, error: errorOf(runCase(row, on, row.numerics), exact, row.K) }
    }
  }
  for (const { name, layer, input, indices } of layerCases) {
    const integers = indices !== undefined
    const net = model(integers ? { shape: input, dtype: 'int32' } : input, [layer, flatten(), dense(2)], { threads: 1 })
    const shape = [3, ...input]
    const batch = dataset(
      numbers(shape, indices ?? 'normal', 8) as Float32Array,
      numbers([3, 2], 'normal', 9) as Float32Array,
      { shape },
    )
    const tolerance = 1e-6
    const { error } = await gradCheck(net, batch, { loss: mse(), samples: 6, tolerance })
    yield { kind: 'layer', name, on: 'ref', error: error / tolerance }
  }
  for (const [name, make] of Object.entries(optimizerCases)) {
    const exact = await trained(make, ref)
    for (const [isa, on] of tiers) {
      yield { kind: 'update', name, on: isa, error: errorOf(await trained(make, on), exact, 256) }
    }
  }
}
