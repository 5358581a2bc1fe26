// All tools that look at a model without changing it.

export { type ActivationHistogram, activationHistograms, type HistogramOptions } from './activations.js'
export { type GradCheck, type GradCheckOptions, type GradientError, gradCheck } from './gradCheck.js'
export { type NumericalGradientOptions, numericalGradient } from './numericalGradient.js'
export { type ReceptiveField, receptiveField } from './receptiveField.js'
