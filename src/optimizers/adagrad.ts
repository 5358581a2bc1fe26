// AdaGrad: steps that shrink with the sum of all squared gradients so far.

import { checkFinite, checkOptions } from '../errors.js'
import { adagradUpdate } from '../ops/update.js'
import { type CommonOptions, commonOptions, type Optimizer, optimizer } from './optimizer.js'

/** `lr` defaults to 0.01. */
export interface AdagradOptions extends CommonOptions {
  /** Added to the root. Default 1e-7. */
  eps?: number
  /** What the sum of squares starts with. Default 0. */
  accumulator?: number
}

/**
 * h += g^2, theta -= lr g / (sqrt(h) + eps) (Duchi, Hazan & Singer 2011).
 *
 * PyTorch: torch.optim.Adagrad; Keras: keras.optimizers.Adagrad
 */
export function adagrad(options: AdagradOptions = {}): Optimizer {
  checkOptions('adagrad', options, [...commonOptions, 'eps', 'accumulator'])
  const eps = checkFinite('eps of adagrad', options.eps ?? 1e-7, { above: 0 })
  return optimizer(
    {
      kind: 'adagrad',
      lr: 0.01,
      slots: ['sum'],
      initial: checkFinite('accumulator of adagrad', options.accumulator ?? 0, { min: 0 }),
      update: (clipValue) => (param, slots, gradient, step) => {
        adagradUpdate(param, slots, gradient, step, { eps }, clipValue)
      },
    },
    options,
  )
}
