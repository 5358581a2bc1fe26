// RMSProp: plain, centered, with momentum.

import { checkFinite, checkOneOf, checkOptions } from '../errors.js'
import { rmspropMomentumUpdate, rmspropUpdate } from '../ops/update.js'
import { type CommonOptions, commonOptions, type Optimizer, optimizer } from './optimizer.js'

/** `lr` defaults to 0.001. */
export interface RmspropOptions extends CommonOptions {
  /** Decay of the mean of squared gradients. Default 0.9 (PyTorch's alpha: 0.99). */
  rho?: number
  /** Added to the root. Default 1e-7. */
  eps?: number
  /** Divides by the standard deviation of the gradients instead of their root mean square. Default false. */
  centered?: boolean
  /** Share of the velocity that is kept. Default 0: none. */
  momentum?: number
}

/**
 * s = rho s + (1 - rho) g^2, theta -= lr g / (sqrt(s) + eps) (Tieleman & Hinton 2012). With momentum, v = momentum v +
 * g / (sqrt(s) + eps), theta -= lr v; centered, s - m^2 stands for s, with m the decaying mean of g (Graves 2013).
 *
 * PyTorch: torch.optim.RMSprop; Keras: keras.optimizers.RMSprop
 */
export function rmsprop(options: RmspropOptions = {}): Optimizer {
  checkOptions('rmsprop', options, [...commonOptions, 'rho', 'eps', 'centered', 'momentum'])
  const numbers = {
    rho: checkFinite('rho of rmsprop', options.rho ?? 0.9, { min: 0, below: 1 }),
    eps: checkFinite('eps of rmsprop', options.eps ?? 1e-7, { above: 0 }),
    centered: checkOneOf('centered of rmsprop', options.centered ?? false, [true, false]),
    momentum: checkFinite('momentum of rmsprop', options.momentum ?? 0, { min: 0, below: 1 }),
  }
  const simple = !numbers.centered && numbers.momentum === 0
  return optimizer(
    {
      kind: 'rmsprop',
      lr: 0.001,
      slots: simple ? ['square'] : ['square', 'mean', 'velocity'],
      update: (clipValue) => (param, slots, gradient, step) => {
        if (simple) rmspropUpdate(param, slots, gradient, step, numbers, clipValue)
        else rmspropMomentumUpdate(param, slots, gradient, step, numbers, clipValue)
      },
    },
    options,
  )
}
