// Huber loss (Huber 1964): squared near 0, linear beyond delta.

import { checkFinite, checkOptions } from '../errors.js'
import { abs, minimum, square, sub, weightedSum } from '../ops/elementwise.js'
import { elementLoss, type Loss, type LossOptions } from './loss.js'

export interface HuberOptions extends LossOptions {
  /** Where the parabola turns into a line. Default 1. */
  delta?: number
}

/**
 * With d = prediction - target: d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), of each element; 'mean' is over
 * all elements.
 * PyTorch: torch.nn.HuberLoss; Keras: keras.losses.Huber
 */
export function huber(options: HuberOptions = {}): Loss {
  checkOptions('huber', options, ['delta', 'reduction'])
  const delta = checkFinite('delta of huber', options.delta ?? 1, { above: 0 })
  return elementLoss('huber', options, (prediction, target) => {
    const distance = abs(sub(prediction, target))
    const near = minimum(distance, delta)
    return weightedSum(square(near), sub(distance, near), 0.5, delta)
  })
}
