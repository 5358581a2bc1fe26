// Cosine decay, once or again and again (Loshchilov & Hutter 2017, "SGDR").

import { checkFinite, checkOptions } from '../errors.js'
import { type Schedule, schedule, type UnitOptions, unitOf } from './schedule.js'

export interface CosineOptions extends UnitOptions {
  /** Units of t until the minimum is reached. */
  steps: number
  /** Rate at the end, kept from then on. Default 0. */
  min?: number
}

/**
 * min + (lr - min) * (1 + cos(pi t / steps)) / 2 up to t = steps, then min (PyTorch's rises again there).
 *
 * PyTorch: torch.optim.lr_scheduler.CosineAnnealingLR; Keras: keras.optimizers.schedules.CosineDecay
 */
export function cosine(options: CosineOptions): Schedule {
  checkOptions('cosine', options, ['steps', 'min', 'unit'])
  const steps = checkFinite('steps of cosine', options?.steps, { above: 0 })
  const min = checkFinite('min of cosine', options.min ?? 0, { min: 0 })
  return schedule('cosine', unitOf('cosine', options), steps, (lr) => ({
    kind: 'cosine',
    base: lr,
    a: steps,
    b: min,
  }))
}

export interface CosineRestartsOptions extends UnitOptions {
  /** Length of the first period. */
  period: number
  /** Each period is this many times as long as the one before, from 1 to 1000. Default 1. */
  multiplier?: number
  /** Rate that each period falls towards. Default 0. */
  min?: number
}

/**
 * cosine over one period after the other; at the first t of a period the rate is lr again.
 *
 * PyTorch: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts; Keras: keras.optimizers.schedules.CosineDecayRestarts
 */
export function cosineRestarts(options: CosineRestartsOptions): Schedule {
  checkOptions('cosineRestarts', options, ['period', 'multiplier', 'min', 'unit'])
  const period = checkFinite('period of cosineRestarts', options?.period, { min: 1 })
  const multiplier = checkFinite('multiplier of cosineRestarts', options.multiplier ?? 1, { min: 1, max: 1000 })
  const min = checkFinite('min of cosineRestarts', options.min ?? 0, { min: 0 })
  return schedule('cosineRestarts', unitOf('cosineRestarts', options), undefined, (lr) => ({
    kind: 'cosine',
    base: lr,
    a: period,
    b: min,
    c: multiplier,
  }))
}
