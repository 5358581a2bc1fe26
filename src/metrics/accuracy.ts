// Shares of samples whose class was found.

import { checkInteger, checkOptions, GradlineError } from '../errors.js'
import { add, equal, greater, mul, select, sub } from '../ops/elementwise.js'
import { cast, reshape } from '../ops/move.js'
import { argmax, sum } from '../ops/reduce.js'
import type { Tensor } from '../tensor.js'
import {
  checkThreshold,
  classNumbers,
  isSingle,
  labelsOf,
  membership,
  oneHot,
  type ThresholdOptions,
} from './classes.js'
import { type Metric, summed } from './metric.js'

const share = ({ hits }: { readonly [name: string]: Float64Array }, samples: number): number =>
  (hits?.[0] as number) / samples

/**
 * Share of samples whose largest score is that of their class (the first of equal ones), or, for a single output per
 * sample, that lie on the right side of the threshold. 'accuracy' is short for accuracy().
 * PyTorch: none (torchmetrics.Accuracy); Keras: keras.metrics.SparseCategoricalAccuracy, BinaryAccuracy
 */
export function accuracy(options: ThresholdOptions = {}): Metric {
  checkOptions('accuracy', options, ['threshold'])
  const threshold = checkThreshold('accuracy', options)
  return summed(
    'accuracy',
    (prediction, target) => {
      if (!isSingle(prediction)) {
        return { hits: sum(equal(argmax(prediction), labelsOf('accuracy', prediction, target))) }
      }
      const { predicted, actual } = membership('accuracy', prediction, target, threshold)
      return { hits: sum(equal(predicted, actual)) }
    },
    share,
  )
}

/**
 * Share of samples whose class is among the k largest scores; of equal scores the lower class number comes first, so
 * topK(1) is accuracy. A score that is not a number comes before all others, and never counts as a hit. Its name is `top5`
 * for k = 5. PyTorch: none (torchmetrics.Accuracy(top_k=k)); Keras: keras.metrics.SparseTopKCategoricalAccuracy
 */
export function topK(k: number): Metric {
  checkInteger('k of topK', k, { min: 1 })
  return summed(
    `top${k}`,
    (prediction, target) => {
      const [rows, classes] = prediction.shape as [number, number]
      if (prediction.rank !== 2 || classes < k) {
        throw new GradlineError('shape', `Expected scores [n, ${k} or more] for topK(${k}) but received ${prediction}`)
      }
      const labels = labelsOf('topK', prediction, target)
      const own = oneHot(labels, classes)
      const score = sum(select(own, prediction, 0), { axes: 1, keepAxes: true })
      const ties = equal(prediction, score)
      // Neither below nor equal: above, or not a number.
      const above = sub(sub(1, greater(score, prediction)), ties)
      const earlier = greater(column(labels, rows), cast(classNumbers(classes), 'float32'))
      const before = sum(add(above, mul(ties, earlier)), { axes: 1, keepAxes: true })
      return { hits: sum(mul(greater(k - 0.5, before), equal(score, score))) }
    },
    share,
  )
}

const column = (labels: Tensor, rows: number): Tensor => cast(reshape(labels, [rows, 1]), 'float32')
