// Negative log-likelihood of log-probabilities.

import { checkOptions, expected } from '../errors.js'
import { neg, select } from '../ops/elementwise.js'
import { oneHot } from '../ops/loss.js'
import { reshape } from '../ops/move.js'
import { sum } from '../ops/reduce.js'
import {
  type ClassOptions,
  checkClassOptions,
  type Loss,
  loss,
  reduced,
  rowsOf,
  weighted,
  weightedMean,
} from './loss.js'

/**
 * -w_label * prediction[label] of each sample: log-probabilities [n, k] (or [..., k]), as logSoftmax() gives, against
 * integer labels [n]. 'mean' is the weighted mean, as in crossEntropy(), which does both steps at once.
 * PyTorch: torch.nn.NLLLoss; Keras: none
 */
export function nll(options: ClassOptions = {}): Loss {
  checkOptions('nll', options, ['classWeights', 'ignoreIndex', 'reduction'])
  const { reduction, weights, ignore, traits } = checkClassOptions('nll', options)
  return loss(
    'nll',
    (prediction, target) => {
      if (target.dtype !== 'int32') throw expected('integer labels', 'nll', target.toString())
      const { scores, labels, leading, classes } = rowsOf('nll', prediction, target)
      const hot = oneHot(labels, classes, ignore)
      // Chosen, not multiplied: the log-probability of another class may be -Infinity.
      const each = neg(sum(weighted('nll', select(hot, scores, 0), weights), { axes: 1 }))
      if (reduction === 'none') return reshape(each, leading)
      if (reduction === 'sum' || !(weights || ignore.ignore !== undefined)) return reduced(each, reduction)
      return weightedMean(each, weighted('nll', hot, weights))
    },
    traits,
  )
}
