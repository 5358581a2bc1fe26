// Contrastive loss over pairs (Hadsell, Chopra & LeCun 2006): equal ones together, others at least a margin apart.

import { checkFinite, checkOptions } from '../errors.js'
import { add, mul, relu, scale, square } from '../ops/elementwise.js'
import { distance, embeddings } from './distance.js'
import { binaryTarget, checkReduction, type Loss, type LossOptions, loss, reduced } from './loss.js'

export interface ContrastiveOptions extends LossOptions {
  /** Distance beyond which different pairs cost nothing. Default 1. */
  margin?: number
}

/**
 * (t D^2 + (1 - t) max(0, margin - D)^2) / 2 of each pair, with D the Euclidean distance of its embeddings: prediction
 * [n, 2, d], target [n] (or [n, 1]) of 1 for equal pairs and 0 for different ones, integers or floats. (The paper counts
 * the other way round, 0 for equal.) 'mean' is over the pairs.
 * PyTorch: none; Keras: none
 */
export function contrastive(options: ContrastiveOptions = {}): Loss {
  checkOptions('contrastive', options, ['margin', 'reduction'])
  const margin = checkFinite('margin of contrastive', options.margin ?? 1, { above: 0 })
  const reduction = checkReduction('contrastive', options)
  return loss(
    'contrastive',
    (prediction, labels) => {
      const [a, b] = embeddings('contrastive', prediction, 2) as [typeof prediction, typeof prediction]
      const apart = distance(a, b)
      const target = binaryTarget('contrastive', apart, labels)
      const short = square(relu(scale(apart, -1, margin)))
      return reduced(scale(add(mul(target, square(apart)), mul(scale(target, -1, 1), short)), 0.5), reduction)
    },
    { labels: 'binary', reduction },
  )
}
