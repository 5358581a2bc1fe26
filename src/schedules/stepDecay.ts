// Rates that fall by a factor now and then.

import { checkFinite, checkInteger, checkOptions } from '../errors.js'
import { constants, risingOf } from './piecewise.js'
import { type Schedule, schedule, type UnitOptions, unitOf } from './schedule.js'

export interface StepDecayOptions extends UnitOptions {
  /** Units of t between two changes. */
  size: number
  /** Factor at each change. Default 0.1. */
  gamma?: number
}

/**
 * lr * gamma^floor(t / size): the change happens at t = size, 2 size, ...
 *
 * PyTorch: torch.optim.lr_scheduler.StepLR; Keras: ExponentialDecay with staircase=True
 */
export function stepDecay(options: StepDecayOptions): Schedule {
  checkOptions('stepDecay', options, ['size', 'gamma', 'unit'])
  const size = checkInteger('size of stepDecay', options?.size, { min: 1 })
  const gamma = checkFinite('gamma of stepDecay', options.gamma ?? 0.1, { above: 0 })
  return schedule('stepDecay', unitOf('stepDecay', options), undefined, (lr) => ({
    kind: 'steps',
    base: lr,
    a: size,
    b: gamma,
  }))
}

export interface MultiStepOptions extends UnitOptions {
  /** Where the rate changes, rising. */
  milestones: readonly number[]
  /** Factor at each change. Default 0.1. */
  gamma?: number
}

/**
 * lr * gamma^(number of milestones <= t): AT a milestone the rate has changed.
 *
 * PyTorch: torch.optim.lr_scheduler.MultiStepLR; Keras: PiecewiseConstantDecay
 */
export function multiStep(options: MultiStepOptions): Schedule {
  checkOptions('multiStep', options, ['milestones', 'gamma', 'unit'])
  const milestones = risingOf('milestones', 'multiStep', options?.milestones)
  const gamma = checkFinite('gamma of multiStep', options.gamma ?? 0.1, { above: 0 })
  return constants('multiStep', options, milestones, (lr) => {
    const rates = [lr]
    for (const _ of milestones) rates.push((rates.at(-1) as number) * gamma)
    return rates
  })
}
