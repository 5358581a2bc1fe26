// AdaDelta: steps in the units of the parameters themselves.

import { checkFinite, checkOptions } from '../errors.js'
import { adadeltaUpdate } from '../ops/update.js'
import { type CommonOptions, commonOptions, type Optimizer, optimizer } from './optimizer.js'

/** `lr` defaults to 1. */
export interface AdadeltaOptions extends CommonOptions {
  /** Decay of both means. Default 0.95. */
  rho?: number
  /** Added INSIDE both roots, as the paper has it: it starts the steps. Default 1e-6. */
  eps?: number
}

/**
 * s = rho s + (1 - rho) g^2, x = sqrt(d + eps) / sqrt(s + eps) g, d = rho d + (1 - rho) x^2, theta -= lr x (Zeiler 2012).
 *
 * PyTorch: torch.optim.Adadelta; Keras: keras.optimizers.Adadelta
 */
export function adadelta(options: AdadeltaOptions = {}): Optimizer {
  checkOptions('adadelta', options, [...commonOptions, 'rho', 'eps'])
  const numbers = {
    rho: checkFinite('rho of adadelta', options.rho ?? 0.95, { min: 0, below: 1 }),
    eps: checkFinite('eps of adadelta', options.eps ?? 1e-6, { above: 0 }),
  }
  return optimizer(
    {
      kind: 'adadelta',
      lr: 1,
      slots: ['square', 'delta'],
      update: (clipValue) => (param, slots, gradient, step) => {
        adadeltaUpdate(param, slots, gradient, step, numbers, clipValue)
      },
    },
    options,
  )
}
