// Precision, recall and their harmonic mean, from hits, predictions and members counted per class.

import { checkOneOf, checkOptions } from '../errors.js'
import { mul } from '../ops/elementwise.js'
import { sum } from '../ops/reduce.js'
import { checkThreshold, membership, type ThresholdOptions } from './classes.js'
import { type Metric, summed } from './metric.js'

export interface AverageOptions extends ThresholdOptions {
  /**
   * 'binary': of class 1 alone, of two. 'macro': mean over the classes that occur, as target or prediction. 'micro': of all
   * classes counted together (which for one class per sample is accuracy). Default 'binary' for one or two outputs per
   * sample, else 'macro'.
   */
  average?: 'binary' | 'macro' | 'micro'
}

interface Counts {
  readonly hits: number
  readonly predicted: number
  readonly actual: number
}

const ratio = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole)

function perClass(kind: string, options: AverageOptions, value: (counts: Counts) => number): Metric {
  checkOptions(kind, options, ['average', 'threshold'])
  const threshold = checkThreshold(kind, options)
  const asked =
    options.average === undefined
      ? undefined
      : checkOneOf(`average of ${kind}`, options.average, ['binary', 'macro', 'micro'] as const)
  return summed(
    kind,
    (prediction, target) => {
      const { predicted, actual } = membership(kind, prediction, target, threshold)
      const axes = 0
      return {
        hits: sum(mul(predicted, actual), { axes }),
        predicted: sum(predicted, { axes }),
        actual: sum(actual, { axes }),
      }
    },
    (totals) => {
      const { hits, predicted, actual } = totals as { [K in keyof Counts]: Float64Array }
      const classes = Array.from(hits, (h, i) => ({
        hits: h,
        predicted: predicted[i] as number,
        actual: actual[i] as number,
      }))
      const average = asked ?? (classes.length <= 2 ? 'binary' : 'macro')
      if (average === 'binary' || classes.length === 1) return value((classes[1] ?? classes[0]) as Counts)
      if (average === 'micro') {
        return value(
          classes.reduce((a, b) => ({
            hits: a.hits + b.hits,
            predicted: a.predicted + b.predicted,
            actual: a.actual + b.actual,
          })),
        )
      }
      const present = classes.filter((c) => c.predicted + c.actual > 0)
      return present.reduce((total, c) => total + value(c), 0) / present.length
    },
  )
}

/**
 * Share of the predictions of a class that are right; 0 where it was never predicted.
 * PyTorch: none (torchmetrics.Precision); Keras: keras.metrics.Precision
 */
export function precision(options: AverageOptions = {}): Metric {
  return perClass('precision', options, ({ hits, predicted }) => ratio(hits, predicted))
}

/**
 * Share of the members of a class that were found; 0 where it has none.
 * PyTorch: none (torchmetrics.Recall); Keras: keras.metrics.Recall
 */
export function recall(options: AverageOptions = {}): Metric {
  return perClass('recall', options, ({ hits, actual }) => ratio(hits, actual))
}

/**
 * 2 hits / (predicted + members), the harmonic mean of precision and recall (van Rijsbergen 1979); 'macro' is the mean of
 * the classes' values. PyTorch: none (torchmetrics.F1Score); Keras: keras.metrics.F1Score
 */
export function f1(options: AverageOptions = {}): Metric {
  return perClass('f1', options, ({ hits, predicted, actual }) => ratio(2 * hits, predicted + actual))
}
