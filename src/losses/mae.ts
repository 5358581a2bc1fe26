// Mean absolute error.

import { checkOptions } from '../errors.js'
import { abs, sub } from '../ops/elementwise.js'
import { elementLoss, type Loss, type LossOptions } from './loss.js'

/**
 * |prediction - target| of each element, with the derivative 0 where they are equal; 'mean' is over all elements.
 * PyTorch: torch.nn.L1Loss; Keras: keras.losses.MeanAbsoluteError
 */
export function mae(options: LossOptions = {}): Loss {
  checkOptions('mae', options, ['reduction'])
  return elementLoss('mae', options, (prediction, target) => abs(sub(prediction, target)))
}
