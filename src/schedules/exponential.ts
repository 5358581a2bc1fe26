// Exponential decay.

import { checkFinite, checkOptions, expected } from '../errors.js'
import { type Schedule, schedule, type UnitOptions, unitOf } from './schedule.js'

export interface ExponentialOptions extends UnitOptions {
  /** r: units of t in which the rate falls to a tenth. Either r or gamma. */
  r?: number
  /** Factor per unit of t. */
  gamma?: number
}

/**
 * lr * 10^(-t / r), which is lr / 10 at t = r; or, given gamma, lr * gamma^t.
 *
 * PyTorch: torch.optim.lr_scheduler.ExponentialLR; Keras: keras.optimizers.schedules.ExponentialDecay
 */
export function exponential(options: ExponentialOptions): Schedule {
  const { r, gamma } = checkOptions('exponential', options, ['r', 'gamma', 'unit'])
  if ((r === undefined) === (gamma === undefined)) throw expected('either r or gamma', 'exponential', options)
  const form =
    r === undefined
      ? { a: 1, b: checkFinite('gamma of exponential', gamma, { above: 0 }) }
      : { a: checkFinite('r of exponential', r, { above: 0 }), b: 0.1 }
  return schedule('exponential', unitOf('exponential', options), undefined, (lr) => ({
    kind: 'exponential',
    base: lr,
    ...form,
  }))
}
