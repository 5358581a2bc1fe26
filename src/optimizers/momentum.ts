// Gradient descent with momentum, plain and with Nesterov's look-ahead.

import { checkFinite, checkOneOf, checkOptions } from '../errors.js'
import { momentumUpdate } from '../ops/update.js'
import { type CommonOptions, commonOptions, type Optimizer, optimizer } from './optimizer.js'

/** `lr` defaults to 0.01. */
export interface MomentumOptions extends CommonOptions {
  /** Share of the velocity that is kept. Default 0.9. */
  beta?: number
  /**
   * Where the rate enters. false: v = beta v - lr g, theta += v, so a change of lr takes effect gradually. true (as in
   * PyTorch): v = beta v + g, theta -= lr v, at once. Equal while lr is constant. Default false.
   */
  rateOutside?: boolean
}

function withVelocity(kind: string, nesterov: boolean, options: MomentumOptions): Optimizer {
  checkOptions(kind, options, [...commonOptions, 'beta', 'rateOutside'])
  const beta = checkFinite(`beta of ${kind}`, options.beta ?? 0.9, { min: 0, below: 1 })
  const rateOutside = checkOneOf(`rateOutside of ${kind}`, options.rateOutside ?? false, [true, false])
  const form = { beta, nesterov, rateOutside }
  return optimizer(
    {
      kind,
      lr: 0.01,
      slots: ['velocity'],
      update: (clipValue) => (param, slots, gradient, step) => {
        momentumUpdate(param, slots[0] as typeof param, gradient, step, form, clipValue)
      },
    },
    options,
  )
}

/**
 * v = beta v - lr g, theta += v (Polyak 1964).
 *
 * PyTorch: torch.optim.SGD(momentum), with rateOutside; Keras: keras.optimizers.SGD(momentum)
 */
export function momentum(options: MomentumOptions = {}): Optimizer {
  return withVelocity('momentum', false, options)
}

/**
 * Nesterov's method: the gradient belongs to the point that the velocity leads to. Written for that shifted point (which
 * is what the parameters hold), v = beta v - lr g, theta += beta v - lr g; equal to the look-ahead form (Sutskever et al.
 * 2013).
 *
 * PyTorch: torch.optim.SGD(nesterov=True), with rateOutside; Keras: keras.optimizers.SGD(nesterov=True)
 */
export function nesterov(options: MomentumOptions = {}): Optimizer {
  return withVelocity('nesterov', true, options)
}
