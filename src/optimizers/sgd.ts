// Plain stochastic gradient descent.

import { checkOptions } from '../errors.js'
import { sgdUpdate } from '../ops/update.js'
import { type ClipOptions, type Optimizer, optimizer } from './optimizer.js'

export interface SgdOptions extends ClipOptions {
  /** Learning rate. Default 0.01. */
  lr?: number
}

/** theta -= lr g */
export function sgd(options: SgdOptions = {}): Optimizer {
  checkOptions('sgd', options, ['lr', 'schedule', 'clipNorm', 'clipValue'])
  return optimizer('sgd', options.lr ?? 0.01, options, [], (clipValue) => (param, _, gradient, step) => {
    sgdUpdate(param, gradient, step, clipValue)
  })
}
