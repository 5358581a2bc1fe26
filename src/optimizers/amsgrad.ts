// AMSGrad: Adam whose second moment never falls.

import { checkOptions } from '../errors.js'
import { amsgradUpdate } from '../ops/update.js'
import { type AdamOptions, adamNumbers, adamOptions } from './adam.js'
import { type Optimizer, optimizer } from './optimizer.js'

/**
 * Adam whose second moment never falls: w = max(w, v), theta -= lr m^ / (sqrt(w / (1 - beta2^t)) + eps) (Reddi, Kale &
 * Kumar 2018).
 *
 * PyTorch: torch.optim.Adam(amsgrad=True); Keras: keras.optimizers.Adam(amsgrad=True)
 */
export function amsgrad(options: AdamOptions = {}): Optimizer {
  checkOptions('amsgrad', options, adamOptions)
  const numbers = adamNumbers('amsgrad', options)
  return optimizer(
    {
      kind: 'amsgrad',
      lr: 0.001,
      slots: ['m', 'v', 'largest'],
      update: (clipValue) => (param, slots, gradient, step) => {
        amsgradUpdate(param, slots, gradient, step, numbers, clipValue)
      },
    },
    options,
  )
}
