// Plain stochastic gradient descent.

import { checkOptions } from '../errors.js'
import { sgdUpdate } from '../ops/update.js'
import { type CommonOptions, commonOptions, type Optimizer, optimizer } from './optimizer.js'

/** `lr` defaults to 0.01. */
export interface SgdOptions extends CommonOptions {}

/**
 * theta -= lr g (Robbins & Monro 1951).
 *
 * PyTorch: torch.optim.SGD; Keras: keras.optimizers.SGD
 */
export function sgd(options: SgdOptions = {}): Optimizer {
  checkOptions('sgd', options, commonOptions)
  return optimizer(
    {
      kind: 'sgd',
      lr: 0.01,
      slots: [],
      update: (clipValue) => (param, _, gradient, step) => {
        sgdUpdate(param, gradient, step, clipValue)
      },
    },
    options,
  )
}
