// Predictions and targets as classes, for the metrics that count: one column per class, 1 where a row belongs to it.

import { checkFinite, GradlineError } from '../errors.js'
import { equal, greater } from '../ops/elementwise.js'
import { cast, reshape } from '../ops/move.js'
import { argmax } from '../ops/reduce.js'
import { showShape } from '../shape.js'
import { Region, type Tensor } from '../tensor.js'

export interface ThresholdOptions {
  /** For a single output per sample: above it the positive class is predicted. 0.5 for probabilities, 0 for scores. Default 0.5. */
  threshold?: number
}

/** 0, 1, ... k - 1 as int32 [k]. */
export function classNumbers(k: number): Tensor {
  const numbers = Int32Array.from({ length: k }, (_, i) => i)
  return new Region('data', 'class numbers').add('class numbers', [k], 'int32', numbers)
}

/** True for scores of one output per sample, [n] or [n, 1]: two classes, told apart by a threshold. */
export function isSingle(prediction: Tensor): boolean {
  return prediction.rank === 1 || (prediction.rank === 2 && prediction.shape[1] === 1)
}

/** int32 class of each row: integer labels [n], or the largest of float labels [n, k]. */
export function labelsOf(metric: string, prediction: Tensor, target: Tensor): Tensor {
  const [rows] = prediction.shape as [number]
  if (target.dtype === 'int32' && target.size === rows) return reshape(target, [rows])
  if (target.dtype === 'float32' && prediction.rank === 2 && target.size === prediction.size) return argmax(target)
  throw new GradlineError(
    'shape',
    `Expected int32 labels [${rows}] or float labels ${showShape(prediction.shape)} for ${metric} but received ${target}`,
  )
}

/** 1 where a row is of the class of the column, [n, k]. */
export function oneHot(labels: Tensor, k: number): Tensor {
  return equal(reshape(labels, [labels.size, 1]), classNumbers(k))
}

/**
 * Predicted and actual classes: [n, k] each for scores [n, k], [n, 1] each, for the positive class alone, for a single
 * output.
 */
export function membership(
  metric: string,
  prediction: Tensor,
  target: Tensor,
  threshold: number,
): { predicted: Tensor; actual: Tensor } {
  const [rows] = prediction.shape as [number]
  if (isSingle(prediction)) {
    if (target.size !== rows)
      throw new GradlineError('shape', `Expected ${rows} labels for ${metric} but received ${target}`)
    return {
      predicted: greater(reshape(prediction, [rows, 1]), threshold),
      actual: greater(cast(reshape(target, [rows, 1]), 'float32'), 0.5),
    }
  }
  if (prediction.rank !== 2) {
    throw new GradlineError('shape', `Expected scores [n, classes] or [n] for ${metric} but received ${prediction}`)
  }
  const k = prediction.shape[1] as number
  return { predicted: oneHot(argmax(prediction), k), actual: oneHot(labelsOf(metric, prediction, target), k) }
}

export function checkThreshold(metric: string, options: ThresholdOptions): number {
  return checkFinite(`threshold of ${metric}`, options.threshold ?? 0.5)
}
