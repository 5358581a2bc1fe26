// Power decay, also called inverse time decay: slower than exponential.

import { checkFinite, checkOptions } from '../errors.js'
import { type Schedule, schedule, type UnitOptions, unitOf } from './schedule.js'

export interface PowerOptions extends UnitOptions {
  /** Units of t in which the rate falls to its half (for c = 1). */
  r: number
  /** Exponent. Default 1. */
  c?: number
}

/**
 * lr * (1 + t / r)^-c. The exponent belongs to the whole bracket: for c = 1 the rate is lr / 2 at t = r.
 *
 * PyTorch: none (LambdaLR); Keras: keras.optimizers.schedules.InverseTimeDecay (c = 1)
 */
export function power(options: PowerOptions): Schedule {
  checkOptions('power', options, ['r', 'c', 'unit'])
  const r = checkFinite('r of power', options?.r, { above: 0 })
  const c = checkFinite('c of power', options.c ?? 1, { above: 0 })
  return schedule('power', unitOf('power', options), undefined, (lr) => ({ kind: 'power', base: lr, a: r, b: c }))
}
