// Gradient descent with momentum, plain and with Nesterov's look-ahead.

import { checkFinite, checkOneOf, checkOptions } from '../errors.js'
import { momentumUpdate } from '../ops/update.js'
import { type ClipOptions, type Optimizer, optimizer } from './optimizer.js'

export interface MomentumOptions extends ClipOptions {
  /** Learning rate. Default 0.01. */
  lr?: number
  /** Share of the velocity that is kept. Default 0.9. */
  beta?: number
  /**
   * Where the rate enters. false: v = beta v - lr g, theta += v, so a change of lr takes effect gradually. true (as in
   * PyTorch): v = beta v + g, theta -= lr v, at once. Equal while lr is constant. Default false.
   */
  rateOutside?: boolean
}

function withVelocity(kind: string, nesterov: boolean, options: MomentumOptions): Optimizer {
  checkOptions(kind, options, ['lr', 'beta', 'rateOutside', 'schedule', 'clipNorm', 'clipValue'])
  const beta = checkFinite(`beta of ${kind}`, options.beta ?? 0.9, { min: 0, below: 1 })
  const rateOutside = checkOneOf(`rateOutside of ${kind}`, options.rateOutside ?? false, [true, false])
  const form = { beta, nesterov, rateOutside }
  return optimizer(kind, options.lr ?? 0.01, options, ['velocity'], (clipValue) => (param, slots, gradient, step) => {
    momentumUpdate(param, slots[0] as typeof param, gradient, step, form, clipValue)
  })
}

/** v = beta v - lr g, theta += v */
export function momentum(options: MomentumOptions = {}): Optimizer {
  return withVelocity('momentum', false, options)
}

/**
 * Nesterov's method: the gradient belongs to the point that the velocity leads to. Written for that shifted point (which
 * is what the parameters hold), v = beta v - lr g, theta += beta v - lr g; equal to the look-ahead form.
 */
export function nesterov(options: MomentumOptions = {}): Optimizer {
  return withVelocity('nesterov', true, options)
}
