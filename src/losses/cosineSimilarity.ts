// Cosine similarity as a loss: directions count, lengths do not.

import { checkOptions } from '../errors.js'
import { div, mul, scale, sqrt, square } from '../ops/elementwise.js'
import { sum } from '../ops/reduce.js'
import type { Tensor } from '../tensor.js'
import { checkReduction, type Loss, type LossOptions, loss, numberTarget, reduced } from './loss.js'

/**
 * 1 - a.b / (|a| |b|) of each pair of rows: prediction [..., c] and target [..., c] of the same shape. 1e-12 is added to
 * both squared lengths, so that a row of zeros is at 1 with a finite derivative. 'mean' is over the rows.
 * PyTorch: torch.nn.CosineEmbeddingLoss with y = 1; Keras: keras.losses.CosineSimilarity (without the 1)
 */
export function cosineSimilarity(options: LossOptions = {}): Loss {
  checkOptions('cosineSimilarity', options, ['reduction'])
  const reduction = checkReduction('cosineSimilarity', options)
  const last = { axes: -1 }
  const length = (x: Tensor): Tensor => sqrt(scale(sum(square(x), last), 1, 1e-12))
  return loss(
    'cosineSimilarity',
    (prediction, direction) => {
      const target = numberTarget('cosineSimilarity', prediction, direction)
      // Divided one after the other: the product of the lengths could overflow.
      const similarity = div(div(sum(mul(prediction, target), last), length(prediction)), length(target))
      return reduced(scale(similarity, -1, 1), reduction)
    },
    { reduction },
  )
}
