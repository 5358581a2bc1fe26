// Inputs of the rows: what kind of numbers each operand holds, made from a seed. Floats are rounded to 32 bits, so that
// every device and number type is given exactly the same numbers.
import { allocate, type DType, type TypedArray } from '../../src/dtype.js'
import { type Shape, sizeOf } from '../../src/shape.js'
import { stepBytes } from '../../src/step.js'

/** Numbers that are the same in every run: the mixing function of SplitMix (Steele, Lea, Flood 2014) in 32 bits. */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** Uniform in [0, 1). */
  uniform(): number {
    this.#state = (this.#state + 0x9e3779b9) >>> 0
    let z = this.#state
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32
  }

  /** Normal, by Box and Muller. */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform())
  }

  /** A whole number from `low` to `high`. */
  integer(low: number, high: number): number {
    return low + Math.floor(this.uniform() * (high - low + 1))
  }
}

export interface Input {
  readonly shape: Shape
  readonly dtype: DType
  readonly make: (random: Random, size: number) => ArrayLike<number>
  /** A step state: given to ops as a variable, as they demand. */
  readonly isStep?: boolean
}

const each = (size: number, f: (i: number) => number): number[] => Array.from({ length: size }, (_, i) => f(i))

function floats(shape: Shape, f: (random: Random) => number): Input {
  return { shape, dtype: 'float32', make: (random, size) => each(size, () => f(random)) }
}

export const normal = (shape: Shape): Input => floats(shape, (random) => random.normal())
export const between =
  (low: number, high: number) =>
  (shape: Shape): Input =>
    floats(shape, (random) => low + (high - low) * random.uniform())
export const positive = between(0.5, 2)
export const integers = (shape: Shape): Input => floats(shape, (random) => random.integer(-3, 3))
/** 0 or 1 as float. */
export const flags = (shape: Shape): Input => floats(shape, (random) => random.integer(0, 1))

/** int32 numbers from 0 to below. */
export function indices(shape: Shape, below: number): Input {
  return { shape, dtype: 'int32', make: (random, size) => each(size, () => random.integer(0, below - 1)) }
}

export function bytes(shape: Shape): Input {
  return { shape, dtype: 'uint8', make: (random, size) => each(size, () => random.integer(0, 255)) }
}

/** Rows [n, k] of positive numbers that add up to 1. */
export function probabilities(shape: Shape): Input {
  const k = shape.at(-1) as number
  return {
    shape,
    dtype: 'float32',
    make: (random, size) => {
      const raw = each(size, () => 0.1 + random.uniform())
      const total = (row: number): number => raw.slice(row * k, row * k + k).reduce((a, b) => a + b, 0)
      return raw.map((value, i) => value / total(Math.floor(i / k)))
    },
  }
}

const counters = { seed: 0, step: 8, updates: 16, epoch: 32, first: 48, groupSteps: 104, groupRows: 112 }

/** A step state with the given numbers. */
export function step(
  fields: Partial<Record<keyof typeof counters | 'rate' | 'clipScale' | 'rateFactor', number>>,
): Input {
  const make = (): Uint8Array => {
    const state = new Uint8Array(stepBytes)
    const view = new DataView(state.buffer)
    for (const [name, at] of Object.entries(counters)) {
      view.setBigUint64(at, BigInt(fields[name as keyof typeof counters] ?? 0), true)
    }
    view.setFloat64(56, fields.rate ?? 0, true)
    view.setFloat64(72, fields.clipScale ?? 0, true)
    view.setFloat64(88, fields.rateFactor ?? 1, true)
    return state
  }
  return { shape: [stepBytes], dtype: 'uint8', make, isStep: true }
}

/** The elements of an input. */
export function fill(input: Input, seed: number): TypedArray {
  const size = sizeOf(input.shape)
  const data = allocate(input.dtype, size)
  data.set(input.make(new Random(seed), size))
  return data
}
