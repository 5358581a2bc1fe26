// Cross-entropy of a softmax.

import { checkFinite, checkOptions, expected } from '../errors.js'
import { mul } from '../ops/elementwise.js'
import { oneHot, softmaxCrossEntropy } from '../ops/loss.js'
import { reshape } from '../ops/move.js'
import { sum } from '../ops/reduce.js'
import type { Tensor } from '../tensor.js'
import {
  type ClassOptions,
  checkClassOptions,
  type Loss,
  loss,
  reduced,
  rowsOf,
  smoothed,
  weighted,
  weightedMean,
} from './loss.js'

export interface CrossEntropyOptions extends ClassOptions {
  /** Share e of every target that is spread evenly: (1 - e) t + e / k. Default 0. Szegedy et al. 2016. */
  labelSmoothing?: number
}

/**
 * -sum_k w_k t_k log softmax(scores)_k of each sample: scores [n, k] (or [..., k]) against integer labels [n], or against
 * soft or one-hot targets [n, k]. Takes scores, not probabilities: the model ends without a softmax.
 *
 * 'mean' with integer labels is the weighted mean, the sum divided by the sum of the weights of the labels, where ignored
 * samples count 0 (a batch of nothing but ignored ones gives 0); with soft targets it is the sum divided by n. Over
 * several batches fit() and evaluate() average these means by the number of samples.
 * PyTorch: torch.nn.CrossEntropyLoss; Keras: keras.losses.SparseCategoricalCrossentropy(from_logits=True)
 */
export function crossEntropy(options: CrossEntropyOptions = {}): Loss {
  checkOptions('crossEntropy', options, ['classWeights', 'labelSmoothing', 'ignoreIndex', 'reduction'])
  const { reduction, weights, ignore, traits } = checkClassOptions('crossEntropy', options)
  const smoothing = checkFinite('labelSmoothing of crossEntropy', options.labelSmoothing ?? 0, { min: 0, max: 1 })
  const ignores = ignore.ignore !== undefined

  return loss(
    'crossEntropy',
    (prediction, target) => {
      const { scores, labels, leading, classes } = rowsOf('crossEntropy', prediction, target)
      const finish = (each: Tensor): Tensor =>
        reduction === 'none' ? reshape(each, leading) : reduced(each, reduction)
      const integers = labels.dtype === 'int32'
      if (ignores && !integers) throw expected('integer labels', 'crossEntropy with ignoreIndex', target.toString())
      if (integers && !ignores && !weights && smoothing === 0) {
        return finish(softmaxCrossEntropy(scores, labels).loss)
      }
      const hot = integers ? oneHot(labels, classes, ignore) : labels
      // The rows of ignored labels are zeros and must stay so.
      const kept = ignores && smoothing > 0 ? sum(hot, { axes: 1, keepAxes: true }) : undefined
      const smooth = kept ? mul(smoothed(hot, smoothing), kept) : smoothed(hot, smoothing)
      const each = softmaxCrossEntropy(scores, weighted('crossEntropy', smooth, weights)).loss
      if (reduction !== 'mean' || !integers || !(weights || ignores)) return finish(each)
      return weightedMean(each, weighted('crossEntropy', hot, weights))
    },
    traits,
  )
}
