// All metrics, under one name, `metrics`. Losses are metrics too: mse() or mae() may stand beside them.

export { accuracy, topK } from './accuracy.js'
export { auc } from './auc.js'
export type { ThresholdOptions } from './classes.js'
export { type ConfusionMatrix, confusionMatrix } from './confusionMatrix.js'
export {
  averaged,
  collected,
  type MeasuredSteps,
  type Measurement,
  type Metric,
  summed,
  type Totals,
} from './metric.js'
export { type AverageOptions, f1, precision, recall } from './precisionRecall.js'
export { r2 } from './r2.js'
