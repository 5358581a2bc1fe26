// What a metric is: something that a step records beside the loss, and how the steps of an epoch become one number. Sums
// over the whole epoch, never means of batch means, so the last smaller batch counts by its size. No metric itself.

import type { Device } from '../device.js'
import { checkFunction, checkText, expected, GradlineError } from '../errors.js'
import { write } from '../memory.js'
import { add, sub } from '../ops/elementwise.js'
import { assign, reshape } from '../ops/move.js'
import type { Outputs } from '../program.js'
import { sameShape, showShape } from '../shape.js'
import { Region, Tensor, type Variable } from '../tensor.js'

/** Something to measure beside the loss; given to fit() and evaluate(). A custom one is made with the helpers below. */
export interface Metric {
  /** Name of its value in events and results. */
  readonly kind: string
  /** Begins one use, by a training run or an evaluation. */
  readonly start: () => Measurement
  /** True when its value is too costly to compute several times an epoch: progress events leave it out. */
  readonly onlyWhole?: boolean
}

/** A metric at work. */
export interface Measurement {
  /** Records what one step contributes, once per batch size; what it returns comes back with the results of the step. */
  measure(prediction: Tensor, target: Tensor): Outputs
  /** Takes in steps that have run. */
  add(steps: MeasuredSteps): void
  /** The value for everything taken in so far. */
  result(): number
  /** Forgets all of it, before an epoch. */
  reset(on: Device): void
}

export interface MeasuredSteps {
  readonly steps: number
  /** Samples per step. */
  readonly batch: number
  /** A scalar of every step, by its name in what `measure` returned; '' when it is all. */
  series(name: string): Float32Array
  /** What `measure` returned in one step, negative from the end. */
  at(step: number): Outputs
}

function checkMetric(kind: string, measure: unknown, result: unknown): void {
  checkText('the name of a metric', kind)
  checkFunction(`measure of ${kind}`, measure, 'a function of prediction and target')
  checkFunction(`result of ${kind}`, result, 'a function of what was measured')
}

function partsOf(kind: string, parts: { readonly [name: string]: Tensor }): { readonly [name: string]: Tensor } {
  const isNamed = typeof parts === 'object' && parts !== null && !(parts instanceof Tensor) && !Array.isArray(parts)
  if (isNamed && Object.values(parts).every((part) => part instanceof Tensor)) return parts
  throw expected('tensors by name', `what measure of ${kind} returns`, parts)
}

/** A mean over samples: `measure` gives the mean of the batch. */
export function averaged(kind: string, measure: (prediction: Tensor, target: Tensor) => Tensor): Metric {
  checkMetric(kind, measure, measure)
  return {
    kind,
    start: () => {
      let [sum, samples] = [0, 0]
      return {
        measure,
        add: ({ steps, batch, series }) => {
          for (const value of series('')) sum += value * batch
          samples += steps * batch
        },
        result: () => sum / samples,
        reset: () => {
          ;[sum, samples] = [0, 0]
        },
      }
    },
  }
}

/** Totals by name, and the number of samples in them. */
export type Totals = { readonly [name: string]: Float64Array }

/**
 * A value of sums over all samples: `measure` gives those of the batch, by name. Scalars are added up as the steps come
 * back; larger ones are added up by the program itself in state variables, as pairs of floats whose sum is exact for
 * counts below 2^48. Counts within one batch are exact below 2^24.
 */
export function summed(
  kind: string,
  measure: (prediction: Tensor, target: Tensor) => { readonly [name: string]: Tensor },
  result: (totals: Totals, samples: number) => number,
): Metric {
  checkMetric(kind, measure, result)
  return { kind, start: () => new Sums((prediction, target) => partsOf(kind, measure(prediction, target)), result) }
}

class Sums implements Measurement {
  readonly #measure: (prediction: Tensor, target: Tensor) => { readonly [name: string]: Tensor }
  readonly #result: (totals: Totals, samples: number) => number
  readonly #pairs = new Map<string, { readonly high: Variable; readonly low: Variable }>()
  readonly #totals = new Map<string, Float64Array>()
  #samples = 0

  constructor(
    measure: (prediction: Tensor, target: Tensor) => { readonly [name: string]: Tensor },
    result: (totals: Totals, samples: number) => number,
  ) {
    this.#measure = measure
    this.#result = result
  }

  measure(prediction: Tensor, target: Tensor): Outputs {
    const parts = Object.entries(this.#measure(prediction, target))
    return Object.fromEntries(
      parts.map(([name, part]) => [name, part.size === 1 ? reshape(part, []) : this.#accumulate(name, part)]),
    )
  }

  // The error-free sum of two floats (Knuth 1969, 4.2.2): high + low stays exactly what was added up.
  #accumulate(name: string, part: Tensor): { high: Tensor; low: Tensor } {
    let pair = this.#pairs.get(name)
    if (!pair) {
      const place = (half: string): Variable => new Region('state', name).add(`${name}.${half}`, part.shape, 'float32')
      pair = { high: place('high'), low: place('low') }
      this.#pairs.set(name, pair)
    }
    const { high, low } = pair
    if (!sameShape(high.shape, part.shape)) {
      throw new GradlineError(
        'shape',
        `Expected ${name} ${showShape(high.shape)}, as for the first batch size, but received ${showShape(part.shape)}`,
      )
    }
    const sum = add(high, part)
    const added = sub(sum, high)
    const error = add(sub(high, sub(sum, added)), sub(part, added))
    const rest = add(low, error)
    assign(high, sum)
    assign(low, rest)
    return { high: sum, low: rest }
  }

  add({ steps, batch, series, at }: MeasuredSteps): void {
    if (steps === 0) return
    this.#samples += steps * batch
    for (const [name, value] of Object.entries(at(-1) as { [name: string]: Outputs })) {
      if (this.#pairs.has(name)) {
        const { high, low } = value as { high: Tensor; low: Tensor }
        this.#totals.set(
          name,
          Float64Array.from(high.data, (h, i) => h + (low.data[i] as number)),
        )
      } else {
        const [before = 0] = this.#totals.get(name) ?? []
        const total = series(name).reduce((sum, v) => sum + v, before)
        this.#totals.set(name, Float64Array.of(total))
      }
    }
  }

  result(): number {
    return this.#samples === 0 ? Number.NaN : this.#result(Object.fromEntries(this.#totals), this.#samples)
  }

  /** The totals themselves. */
  get totals(): Totals {
    return Object.fromEntries(this.#totals)
  }

  reset(on: Device): void {
    this.#samples = 0
    this.#totals.clear()
    for (const { high, low } of this.#pairs.values()) {
      for (const half of [high, low]) write(half, new Float32Array(half.size), on)
    }
  }
}

/** A value that needs every sample at once: `measure` gives what to keep of the batch, [n] or [n, ...] each, by name. */
export function collected(
  kind: string,
  measure: (prediction: Tensor, target: Tensor) => { readonly [name: string]: Tensor },
  result: (kept: { readonly [name: string]: readonly Tensor[] }) => number,
): Metric {
  checkMetric(kind, measure, result)
  return {
    kind,
    onlyWhole: true,
    start: () => {
      let kept: { [name: string]: Tensor[] } = {}
      return {
        measure: (prediction, target) => partsOf(kind, measure(prediction, target)),
        add: ({ steps, at }) => {
          for (let step = 0; step < steps; step++) {
            for (const [name, value] of Object.entries(at(step) as { [name: string]: Tensor })) {
              kept[name] ??= []
              kept[name].push(value)
            }
          }
        },
        result: () => result(kept),
        reset: () => {
          kept = {}
        },
      }
    },
  }
}
