// All operations under one name, `ops`, for custom layers, losses and programs.

export {
  type GeluOptions,
  gelu,
  glu,
  hardSigmoid,
  hardTanh,
  logSoftmax,
  mish,
  prelu,
  relu6,
  selu,
  silu,
  softplus,
  softsign,
} from './activations.js'
export * from './conv.js'
export * from './elementwise.js'
export { accuracy, meanSquaredError, oneHot, requireFinite, softmaxCrossEntropy } from './loss.js'
export * from './matmul.js'
export {
  assign,
  broadcast,
  cast,
  concat,
  fill,
  gather,
  pad,
  reshape,
  slice,
  stopGradient,
  transpose,
  vector,
} from './move.js'
export * from './norm.js'
export * from './pool.js'
export * from './random.js'
export * from './reduce.js'
export { type SchedulePiece, type ScheduleUnit, scheduleRate } from './schedule.js'
export { adamUpdate, collectGradients, momentumUpdate, prepareUpdate, sgdUpdate } from './update.js'
