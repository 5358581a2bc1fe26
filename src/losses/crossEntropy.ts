// Cross-entropy of a softmax.

import { softmaxCrossEntropy } from '../ops/loss.js'
import { mean } from '../ops/reduce.js'
import { type Loss, loss } from './loss.js'

/**
 * Mean over the batch of -sum t log softmax(scores): scores [n, k] against integer labels [n], or against soft or one-hot
 * targets [n, k]. Takes scores, not probabilities: the model ends without a softmax.
 */
export function crossEntropy(): Loss {
  return loss('crossEntropy', (scores, labels) => mean(softmaxCrossEntropy(scores, labels).loss))
}
