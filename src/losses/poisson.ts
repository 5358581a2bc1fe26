// Poisson negative log-likelihood, for counts.

import { checkFinite, checkOneOf, checkOptions } from '../errors.js'
import { exp, log, mul, scale, sub } from '../ops/elementwise.js'
import { elementLoss, type Loss, type LossOptions } from './loss.js'

export interface PoissonOptions extends LossOptions {
  /** The prediction is the logarithm of the rate; else the rate itself. Default true. */
  logInput?: boolean
  /** Added to a rate before its logarithm is taken (logInput false). Default 1e-8. */
  eps?: number
}

/**
 * e^prediction - target * prediction of each element, or with logInput false prediction - target * log(prediction + eps);
 * the term log(target!) that no weight changes is left out. Targets are counts of the prediction's shape, integers or
 * floats; 'mean' is over all elements.
 * PyTorch: torch.nn.PoissonNLLLoss; Keras: keras.losses.Poisson (of rates)
 */
export function poisson(options: PoissonOptions = {}): Loss {
  checkOptions('poisson', options, ['logInput', 'eps', 'reduction'])
  const logInput = checkOneOf('logInput of poisson', options.logInput ?? true, [true, false])
  const eps = checkFinite('eps of poisson', options.eps ?? 1e-8, { min: 0 })
  return elementLoss('poisson', options, (prediction, target) =>
    logInput
      ? sub(exp(prediction), mul(target, prediction))
      : sub(prediction, mul(target, log(scale(prediction, 1, eps)))),
  )
}
