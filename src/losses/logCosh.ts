// Logarithm of the hyperbolic cosine: like half the square near 0, like the absolute value far out.

import { checkOptions } from '../errors.js'
import { abs, add, exp, greater, log1p, minimum, neg, scale, select, square, sub, tanh } from '../ops/elementwise.js'
import type { Tensor } from '../tensor.js'
import { elementLoss, type Loss, type LossOptions } from './loss.js'

/**
 * log(cosh(prediction - target)) of each element; 'mean' is over all elements. Its derivative is tanh(prediction - target).
 * PyTorch: none; Keras: keras.losses.LogCosh
 */
export function logCosh(options: LossOptions = {}): Loss {
  checkOptions('logCosh', options, ['reduction'])
  return elementLoss('logCosh', options, (prediction, target) => logOfCosh(sub(prediction, target)))
}

// Far out |d| + log(1 + e^-2|d|) - log 2, where nothing overflows; near 0, where that cancels, cosh^2 = 1 / (1 - tanh^2).
function logOfCosh(d: Tensor): Tensor {
  const size = abs(d)
  const far = add(size, scale(log1p(exp(scale(size, -2))), 1, -Math.LN2))
  // The branch not taken must be finite for its derivative to be 0, hence the bound.
  const near = scale(log1p(neg(square(tanh(minimum(size, 1))))), -0.5)
  return select(greater(size, 1), far, near)
}
