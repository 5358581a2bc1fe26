// Which classes are taken for which.

import type { Dataset } from '../data/dataset.js'
import { checkOptions } from '../errors.js'
import { loss } from '../losses/loss.js'
import { sub } from '../ops/elementwise.js'
import { matmul } from '../ops/matmul.js'
import { concat, fill } from '../ops/move.js'
import type { Tensor } from '../tensor.js'
import { checkLayered, type Model } from '../train/model.js'
import { checkThreshold, isSingle, membership, type ThresholdOptions } from './classes.js'
import { summed } from './metric.js'

export interface ConfusionMatrix {
  readonly classes: number
  readonly samples: number
  /** [actual class][predicted class]: number of samples. */
  readonly counts: readonly (readonly number[])[]
}

/**
 * Counts of every pair of actual and predicted class over a data set, as evaluate() would predict them: [k][k] for scores
 * [n, k], [2][2] for a single output and its threshold. Counted by the program, exactly.
 * PyTorch: none (torchmetrics.ConfusionMatrix); Keras: none (tf.math.confusion_matrix)
 */
export async function confusionMatrix(
  net: Model,
  data: Dataset,
  options: ThresholdOptions & { batchSize?: number } = {},
): Promise<ConfusionMatrix> {
  checkOptions('confusionMatrix', options, ['threshold', 'batchSize'])
  checkLayered('confusionMatrix', net)
  const threshold = checkThreshold('confusionMatrix', options)
  let found = new Float64Array()
  const metric = summed(
    'confusionMatrix',
    (prediction, target) => {
      const { predicted, actual } = membership('confusionMatrix', prediction, target, threshold)
      const columns = (of: Tensor): Tensor => (isSingle(prediction) ? concat([sub(1, of), of], 1) : of)
      return { counts: matmul(columns(actual), columns(predicted), { transposeA: true }) }
    },
    ({ counts }, samples) => {
      found = counts as Float64Array<ArrayBuffer>
      return samples
    },
  )
  const nothing = loss('nothing', () => fill([], 0))
  const { batchSize } = options
  await net.evaluate(data, { loss: nothing, metrics: [metric], ...(batchSize === undefined ? {} : { batchSize }) })
  const classes = Math.sqrt(found.length)
  const rows = Array.from({ length: classes }, (_, i) => Array.from(found.subarray(i * classes, (i + 1) * classes)))
  return { classes, samples: data.length, counts: rows }
}
