// RAdam: Adam that waits with its adaptive step until the variance of that step is tractable.

import { checkOptions } from '../errors.js'
import { radamUpdate } from '../ops/update.js'
import { type AdamOptions, adamNumbers, adamOptions } from './adam.js'
import { type Optimizer, optimizer } from './optimizer.js'

/**
 * With R = 2 / (1 - beta2) - 1 and r = R - 2 t beta2^t / (1 - beta2^t): while r <= 5, theta -= lr m^; then theta -= lr f m^
 * sqrt(1 - beta2^t) / (sqrt(v) + eps), f = sqrt((r - 4) (r - 2) R / ((R - 4) (R - 2) r)) (Liu et al. 2020; eps, which the
 * paper lacks, stands as in PyTorch beside the root of the uncorrected v).
 *
 * PyTorch: torch.optim.RAdam; Keras: none
 */
export function radam(options: AdamOptions = {}): Optimizer {
  checkOptions('radam', options, adamOptions)
  const numbers = adamNumbers('radam', options)
  return optimizer(
    {
      kind: 'radam',
      lr: 0.001,
      slots: ['m', 'v'],
      update: (clipValue) => (param, slots, gradient, step) => {
        radamUpdate(param, slots, gradient, step, numbers, clipValue)
      },
    },
    options,
  )
}
