// Mean squared error.

import { meanSquaredError } from '../ops/loss.js'
import { type Loss, loss } from './loss.js'

/** Mean over all elements of (prediction - target)^2; targets are floats of the prediction's shape. */
export function mse(): Loss {
  return loss('mse', meanSquaredError)
}
