// AdaMax: Adam by the infinity norm.

import { checkOptions } from '../errors.js'
import { adamaxUpdate } from '../ops/update.js'
import { type AdamOptions, adamNumbers, adamOptions } from './adam.js'
import { type Optimizer, optimizer } from './optimizer.js'

/**
 * Adam by the largest decayed gradient: u = max(beta2 u, |g| + eps), theta -= lr / (1 - beta1^t) m / u; lr defaults to
 * 0.002 (Kingma & Ba 2015, algorithm 2, which has no eps).
 *
 * PyTorch: torch.optim.Adamax; Keras: keras.optimizers.Adamax
 */
export function adamax(options: AdamOptions = {}): Optimizer {
  checkOptions('adamax', options, adamOptions)
  const numbers = adamNumbers('adamax', options)
  return optimizer(
    {
      kind: 'adamax',
      lr: 0.002,
      slots: ['m', 'u'],
      update: (clipValue) => (param, slots, gradient, step) => {
        adamaxUpdate(param, slots, gradient, step, numbers, clipValue)
      },
    },
    options,
  )
}
