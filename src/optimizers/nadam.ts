// NAdam: Adam with Nesterov momentum, in PyTorch's form with a momentum that grows.

import { checkFinite, checkOptions } from '../errors.js'
import { nadamUpdate } from '../ops/update.js'
import { type AdamOptions, adamNumbers, adamOptions } from './adam.js'
import { type Optimizer, optimizer } from './optimizer.js'

/** `lr` defaults to 0.002. */
export interface NadamOptions extends AdamOptions {
  /** How fast the momentum grows from beta1 / 2 towards beta1. Default 0.004. */
  momentumDecay?: number
}

/**
 * mu_t = beta1 (1 - 0.96^(t momentumDecay) / 2) with product P_t; theta -= lr ((1 - mu_t) / (1 - P_t) g + mu_(t+1) /
 * (1 - P_(t+1)) m) / (sqrt(v / (1 - beta2^t)) + eps) (Dozat 2016).
 *
 * PyTorch: torch.optim.NAdam; Keras: keras.optimizers.Nadam
 */
export function nadam(options: NadamOptions = {}): Optimizer {
  checkOptions('nadam', options, [...adamOptions, 'momentumDecay'])
  const numbers = {
    ...adamNumbers('nadam', options),
    momentumDecay: checkFinite('momentumDecay of nadam', options.momentumDecay ?? 0.004, { min: 0 }),
  }
  return optimizer(
    {
      kind: 'nadam',
      lr: 0.002,
      slots: ['m', 'v'],
      nadam: numbers,
      update: (clipValue) => (param, slots, gradient, step) => {
        nadamUpdate(param, slots, gradient, step, numbers, clipValue)
      },
    },
    options,
  )
}
