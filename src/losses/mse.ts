// Mean squared error.

import { checkOptions } from '../errors.js'
import { square, sub } from '../ops/elementwise.js'
import { elementLoss, type Loss, type LossOptions } from './loss.js'

/**
 * (prediction - target)^2 of each element; targets are floats of the prediction's shape ([n] stands for [n, 1]). 'mean'
 * is over all elements.
 * PyTorch: torch.nn.MSELoss; Keras: keras.losses.MeanSquaredError
 */
export function mse(options: LossOptions = {}): Loss {
  checkOptions('mse', options, ['reduction'])
  return elementLoss('mse', options, (prediction, target) => square(sub(prediction, target)))
}
