// Decay along a polynomial, by default a straight line.

import { checkFinite, checkOptions } from '../errors.js'
import { type Schedule, schedule, type UnitOptions, unitOf } from './schedule.js'

export interface PolynomialOptions extends UnitOptions {
  /** Units of t until the end is reached. */
  steps: number
  /** Default 1: linear. */
  power?: number
  /** Rate at the end, kept from then on. Default 0. */
  end?: number
}

/**
 * end + (lr - end) * (1 - t / steps)^power up to t = steps, then end.
 *
 * PyTorch: torch.optim.lr_scheduler.PolynomialLR; Keras: keras.optimizers.schedules.PolynomialDecay
 */
export function polynomial(options: PolynomialOptions): Schedule {
  checkOptions('polynomial', options, ['steps', 'power', 'end', 'unit'])
  const steps = checkFinite('steps of polynomial', options?.steps, { above: 0 })
  const power = checkFinite('power of polynomial', options.power ?? 1, { above: 0 })
  const end = checkFinite('end of polynomial', options.end ?? 0, { min: 0 })
  return schedule('polynomial', unitOf('polynomial', options), steps, (lr) => ({
    kind: 'polynomial',
    base: lr,
    a: steps,
    b: power,
    c: end,
  }))
}
