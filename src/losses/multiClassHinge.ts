// Hinge loss for several classes (Crammer & Singer 2001, in the form of a sum over classes).

import { checkFinite, checkOneOf, checkOptions, expected } from '../errors.js'
import { relu, scale, select, square, sub } from '../ops/elementwise.js'
import { oneHot } from '../ops/loss.js'
import { reshape } from '../ops/move.js'
import { sum } from '../ops/reduce.js'
import { checkReduction, type Loss, type LossOptions, loss, reduced, rowsOf } from './loss.js'

export interface MultiClassHingeOptions extends LossOptions {
  /** How far the score of the label must be above the others. Default 1. */
  margin?: number
  /** Exponent of each class's part. Default 1. */
  p?: 1 | 2
}

/**
 * sum over the classes c other than the label of max(0, margin - score[label] + score[c])^p, divided by the number of
 * classes: scores [n, k] (or [..., k]) against integer labels [n]. 'mean' is over the samples.
 * PyTorch: torch.nn.MultiMarginLoss; Keras: none (keras.losses.CategoricalHinge takes the largest part only)
 */
export function multiClassHinge(options: MultiClassHingeOptions = {}): Loss {
  checkOptions('multiClassHinge', options, ['margin', 'p', 'reduction'])
  const margin = checkFinite('margin of multiClassHinge', options.margin ?? 1)
  const p = checkOneOf('p of multiClassHinge', options.p ?? 1, [1, 2])
  const reduction = checkReduction('multiClassHinge', options)
  return loss(
    'multiClassHinge',
    (prediction, target) => {
      if (target.dtype !== 'int32') throw expected('integer labels', 'multiClassHinge', target.toString())
      const { scores, labels, leading, classes } = rowsOf('multiClassHinge', prediction, target)
      const hot = oneHot(labels, classes)
      const own = sum(select(hot, scores, 0), { axes: 1, keepAxes: true })
      const over = select(hot, 0, relu(scale(sub(scores, own), 1, margin)))
      const each = scale(sum(p === 1 ? over : square(over), { axes: 1 }), 1 / classes)
      return reduction === 'none' ? reshape(each, leading) : reduced(each, reduction)
    },
    { labels: 'classes', reduction },
  )
}
