// All operations under one name, `ops`, for custom layers, losses and programs.

export * from './conv.js'
export * from './elementwise.js'
export * from './loss.js'
export * from './matmul.js'
export { assign, broadcast, cast, concat, fill, gather, pad, reshape, slice, transpose } from './move.js'
export * from './norm.js'
export * from './pool.js'
export * from './random.js'
export * from './reduce.js'
export {
  accumulateGradient,
  adadeltaUpdate,
  adagradUpdate,
  adamaxUpdate,
  adamUpdate,
  amsgradUpdate,
  averageWeights,
  collectGradients,
  countGroup,
  lionUpdate,
  maxNorm,
  momentumUpdate,
  nadamUpdate,
  prepareUpdate,
  radamUpdate,
  rmspropMomentumUpdate,
  rmspropUpdate,
  sgdUpdate,
  stepValue,
} from './update.js'
