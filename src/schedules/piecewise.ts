// A constant rate on each of several stretches.

import { checkFinite, checkInteger, checkOptions, expected, GradlineError } from '../errors.js'
import { type Schedule, type UnitOptions, unitOf } from './schedule.js'

export interface PiecewiseOptions extends UnitOptions {
  /** Where the rate changes, rising, above 0. */
  boundaries: readonly number[]
  /** Rates, one more than boundaries. They replace the optimizer's `lr`. */
  values: readonly number[]
}

/**
 * values[0] for t < boundaries[0], values[i] for boundaries[i - 1] <= t < boundaries[i], the last from the last boundary on.
 * AT a boundary the new value holds (Keras still gives the old one there).
 *
 * PyTorch: none (LambdaLR); Keras: keras.optimizers.schedules.PiecewiseConstantDecay
 */
export function piecewise(options: PiecewiseOptions): Schedule {
  const { boundaries, values } = checkOptions('piecewise', options, ['boundaries', 'values', 'unit'])
  const at = risingOf('boundaries', 'piecewise', boundaries)
  if (!Array.isArray(values) || values.length !== at.length + 1) {
    throw expected(`${at.length + 1} rates, one more than boundaries`, 'values of piecewise', values)
  }
  const rates = values.map((value, i) => checkFinite(`values[${i}] of piecewise`, value, { min: 0 }))
  return constants('piecewise', options, at, () => rates)
}

/** Checks a list of rising positive integers. */
export function risingOf(name: string, kind: string, list: unknown): readonly number[] {
  if (!Array.isArray(list)) throw expected('a list of integers', `${name} of ${kind}`, list)
  return list.map((value: unknown, i) => {
    const number = checkInteger(`${name}[${i}] of ${kind}`, value, { min: 1 })
    if (i > 0 && number <= list[i - 1]) {
      throw new GradlineError(
        'argument',
        `Expected rising ${name} for ${kind} but received ${list[i - 1]} before ${number}`,
      )
    }
    return number
  })
}

/** Rates that hold from 0 and from each of the places in `at`. */
export function constants(
  kind: string,
  options: UnitOptions,
  at: readonly number[],
  rates: (lr: number) => readonly number[],
): Schedule {
  const begins = [0, ...at]
  return {
    kind,
    unit: unitOf(kind, options),
    length: begins.at(-1),
    pieces: (lr) =>
      rates(lr).map((base, i) => {
        const end = begins[i + 1]
        return { kind: 'constant', begin: begins[i] as number, ...(end === undefined ? {} : { end }), base }
      }),
  }
}
