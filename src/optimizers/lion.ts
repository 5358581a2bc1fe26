// Lion: steps of equal size, by the sign of a mean of gradients.

import { checkFinite, checkOptions } from '../errors.js'
import { lionUpdate } from '../ops/update.js'
import { type CommonOptions, commonOptions, type Optimizer, optimizer } from './optimizer.js'

/** `lr` defaults to 0.0001: about a tenth of what suits Adam. */
export interface LionOptions extends CommonOptions {
  /** Share of the mean in the direction of the step. Default 0.9. */
  beta1?: number
  /** Decay of the mean. Default 0.99. */
  beta2?: number
}

/**
 * theta -= lr sign(beta1 m + (1 - beta1) g), then m = beta2 m + (1 - beta2) g; no eps (Chen et al. 2023).
 *
 * PyTorch: none; Keras: keras.optimizers.Lion
 */
export function lion(options: LionOptions = {}): Optimizer {
  checkOptions('lion', options, [...commonOptions, 'beta1', 'beta2'])
  const numbers = {
    beta1: checkFinite('beta1 of lion', options.beta1 ?? 0.9, { min: 0, below: 1 }),
    beta2: checkFinite('beta2 of lion', options.beta2 ?? 0.99, { min: 0, below: 1 }),
  }
  return optimizer(
    {
      kind: 'lion',
      lr: 1e-4,
      slots: ['m'],
      update: (clipValue) => (param, slots, gradient, step) => {
        lionUpdate(param, slots, gradient, step, numbers, clipValue)
      },
    },
    options,
  )
}
