// Cross-entropy of a sigmoid, for yes-or-no targets, one or several per sample.

import { checkFinite, checkOptions } from '../errors.js'
import { abs, add, exp, log1p, mul, neg, scale, sub } from '../ops/elementwise.js'
import type { Tensor } from '../tensor.js'
import { checkWeights, elementLoss, type Loss, type LossOptions, weightRow } from './loss.js'

export interface BinaryCrossEntropyOptions extends LossOptions {
  /** Weight of the positive targets, for all or for each score of a sample (last axis); at least 0. Default 1. */
  positiveWeight?: number | readonly number[]
}

/**
 * -(w t log p + (1 - t) log(1 - p)) with p = sigmoid(score), of each element: scores [n, ...] against floats between 0
 * and 1 of that shape, or integer labels 0 and 1 ([n] stands for [n, 1]; another integer fails the step). Takes scores,
 * not probabilities: the model ends without a sigmoid. 'mean' is over all elements, whatever their weight.
 * PyTorch: torch.nn.BCEWithLogitsLoss; Keras: keras.losses.BinaryCrossentropy(from_logits=True)
 */
export function binaryCrossEntropy(options: BinaryCrossEntropyOptions = {}): Loss {
  checkOptions('binaryCrossEntropy', options, ['positiveWeight', 'reduction'])
  const { positiveWeight = 1 } = options
  const name = 'positiveWeight of binaryCrossEntropy'
  const weight =
    typeof positiveWeight === 'number'
      ? checkFinite(name, positiveWeight, { min: 0 })
      : checkWeights(name, positiveWeight)
  return elementLoss(
    'binaryCrossEntropy',
    options,
    (scores, target) => {
      const { ofOne, ofZero } = surprises(scores)
      const factor =
        typeof weight === 'number' ? weight : weightRow('binaryCrossEntropy', weight, scores.shape.at(-1) ?? 1)
      return add(mul(factor, mul(target, ofOne)), mul(scale(target, -1, 1), ofZero))
    },
    { labels: 'binary' },
  )
}

/**
 * -log sigmoid(x) and -log(1 - sigmoid(x)): softplus(-x) and softplus(x), with the costly part shared. Both are sums of
 * terms that are not negative, so no digits are lost for any x.
 */
function surprises(x: Tensor): { ofOne: Tensor; ofZero: Tensor } {
  const size = abs(x)
  const tail = log1p(exp(neg(size)))
  return { ofOne: add(scale(sub(size, x), 0.5), tail), ofZero: add(scale(add(size, x), 0.5), tail) }
}
