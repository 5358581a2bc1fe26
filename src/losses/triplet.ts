// Triplet loss (Schroff, Kalenichenko & Philbin 2015, with plain instead of squared distances).

import { checkFinite, checkOneOf, checkOptions } from '../errors.js'
import { relu, scale, sub } from '../ops/elementwise.js'
import type { Tensor } from '../tensor.js'
import { distance, embeddings } from './distance.js'
import { checkReduction, type Loss, type LossOptions, loss, reduced } from './loss.js'

export interface TripletOptions extends LossOptions {
  /** How much farther the negative must be than the positive. Default 1. */
  margin?: number
  /** Norm of the distances: 1 sum of absolute differences, 2 Euclidean. Default 2. */
  p?: 1 | 2
}

/** A loss of the prediction alone. */
export interface TripletLoss extends Loss {
  (prediction: Tensor, target?: Tensor): Tensor
}

/**
 * max(0, D(anchor, positive) - D(anchor, negative) + margin) of each triplet: prediction [n, 3, d] holds the embeddings of
 * anchor, positive and negative in this order; the target is not looked at. 'mean' is over the triplets.
 * PyTorch: torch.nn.TripletMarginLoss; Keras: none
 */
export function triplet(options: TripletOptions = {}): TripletLoss {
  checkOptions('triplet', options, ['margin', 'p', 'reduction'])
  const margin = checkFinite('margin of triplet', options.margin ?? 1, { min: 0 })
  const p = checkOneOf('p of triplet', options.p ?? 2, [1, 2])
  const reduction = checkReduction('triplet', options)
  const apply = (prediction: Tensor): Tensor => {
    const [anchor, positive, negative] = embeddings('triplet', prediction, 3) as [Tensor, Tensor, Tensor]
    const difference = sub(distance(anchor, positive, p), distance(anchor, negative, p))
    return reduced(relu(scale(difference, 1, margin)), reduction)
  }
  return loss('triplet', apply, { reduction }) as TripletLoss
}
