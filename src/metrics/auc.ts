// The area under the ROC curve, exact: from the ranks of all scores of the data set, not from thresholds or batches.

import { GradlineError } from '../errors.js'
import { sub } from '../ops/elementwise.js'
import { reshape, slice } from '../ops/move.js'
import type { Tensor } from '../tensor.js'
import { isSingle } from './classes.js'
import { collected, type Metric } from './metric.js'

/**
 * Probability that a positive sample scores higher than a negative one, ties counting half: the statistic of Mann & Whitney
 * 1947 over the whole data set. For two classes, as one output per sample or as scores [n, 2]; labels 0 and 1. NaN where
 * only one class occurs or a score is not a number. Keeps every score of an epoch, and is left out of progress events.
 * PyTorch: none (torchmetrics.AUROC); Keras: keras.metrics.AUC (approximated by thresholds)
 */
export function auc(): Metric {
  return collected(
    'auc',
    (prediction, target) => {
      const [rows] = prediction.shape as [number]
      const isPair = prediction.rank === 2 && prediction.shape[1] === 2
      if (target.size !== rows || !(isPair || isSingle(prediction))) {
        throw new GradlineError(
          'shape',
          `Expected scores [n], [n, 1] or [n, 2] and labels [n] for auc but received ${prediction} and ${target}`,
        )
      }
      const of = (k: number): Tensor => slice(prediction, [0, k], [rows, 1])
      // The difference of two scores orders samples as the probability of the second class does.
      const scores = isPair ? sub(of(1), of(0)) : prediction
      return { scores: reshape(scores, [rows]), labels: reshape(target, [rows]) }
    },
    ({ scores = [], labels = [] }) => areaUnderCurve(joined(scores), joined(labels)),
  )
}

const joined = (tensors: readonly Tensor[]): Float32Array => {
  const all = new Float32Array(tensors.reduce((total, { size }) => total + size, 0))
  let at = 0
  for (const { data } of tensors) {
    all.set(data, at)
    at += data.length
  }
  return all
}

function areaUnderCurve(scores: Float32Array, labels: Float32Array): number {
  if (scores.some(Number.isNaN)) return Number.NaN
  const order = Uint32Array.from(scores.keys()).sort((a, b) => (scores[a] as number) - (scores[b] as number))
  let positives = 0
  // Twice the sum of the ranks of the positives, which is a whole number: equal scores share the mean of their ranks.
  let ranks = 0
  for (let first = 0; first < order.length; ) {
    const score = scores[order[first] as number] as number
    let next = first
    let here = 0
    while (next < order.length && scores[order[next] as number] === score) {
      if ((labels[order[next] as number] as number) > 0.5) here++
      next++
    }
    ranks += here * (first + 1 + next)
    positives += here
    first = next
  }
  const negatives = order.length - positives
  return (ranks / 2 - (positives * (positives + 1)) / 2) / (positives * negatives)
}
