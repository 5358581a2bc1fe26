// What a loss is: a function of prediction and target to a scalar, the mean over the batch.

import type { Tensor } from '../tensor.js'

export interface Loss {
  (prediction: Tensor, target: Tensor): Tensor
  readonly kind: string
}

export function loss(kind: string, apply: (prediction: Tensor, target: Tensor) => Tensor): Loss {
  return Object.assign((prediction: Tensor, target: Tensor) => apply(prediction, target), { kind })
}
