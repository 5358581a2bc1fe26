// The public face of gradline: re-exports, and the choice that ops outside a recording run at once.

import { enableEager } from './eager.js'

enableEager()

export type { Batch, BatchPart, NamedBatch } from './data/batch.js'
export { type Dataset, type DatasetOptions, dataset } from './data/dataset.js'
export { datasets, LabeledSplits } from './data/datasets.js'
export { parseIdx, readIdx } from './data/idx.js'
export { Joined, joined } from './data/joined.js'
export { type Device, type DeviceOptions, device, devices } from './device.js'
export * from './diagnose/index.js'
export { eagerStep, tensor } from './eager.js'
export { type ErrorCode, GradlineError } from './errors.js'
export { grad } from './grad.js'
export * from './initializers/index.js'
export { decodeSafetensors, encodeSafetensors } from './io/safetensors.js'
export type { LoadOptions } from './io/weights.js'
export * from './layers/index.js'
export * from './losses/index.js'
export { read, readStep, variable, write, writeStep } from './memory.js'
export type { ConfusionMatrix, Measurement, Metric } from './metrics/index.js'
export * as metrics from './metrics/index.js'
export { type CustomGrad, customGrad } from './ops/customGrad.js'
export * as ops from './ops/index.js'
export { assign } from './ops/move.js'
export * from './optimizers/index.js'
export type { Profile, ProfileRow } from './profile.js'
export {
  type InputSpec,
  type PrintOptions,
  Program,
  type ProgramMemory,
  type ProgramOptions,
  Results,
  record,
} from './program.js'
export * from './regularizers/index.js'
export * from './schedules/index.js'
export { stepState } from './step.js'
export { Tensor, Variable } from './tensor.js'
export type { Augment, NamedAugment } from './train/augment.js'
export { type Callback, type EarlyStoppingOptions, earlyStopping, type RunControl } from './train/callbacks.js'
export type { EpochEvent, FitEvent, History, Measures, ProgressEvent, StartEvent } from './train/events.js'
export type { Fit, FitOptions } from './train/fit.js'
export type { GraphEvaluateOptions, GraphFitOptions, GraphLoss, GraphModel, ModelInput } from './train/graphModel.js'
export { type LrFinderOptions, type LrFinderResult, lrFinder } from './train/lrFinder.js'
export type { MetricChoice } from './train/metrics.js'
export {
  type EvaluateOptions,
  Model,
  type ModelNumerics,
  type ModelOptions,
  model,
  type Snapshot,
} from './train/model.js'
export { type OptimizerSnapshot, restoreOptimizer, snapshotOptimizer } from './train/optimizerState.js'
export { Perceptron, type PerceptronFit, type PerceptronOptions } from './train/perceptron.js'
export { type ProgressOptions, type ProgressStream, progress } from './train/progress.js'
export { type ReduceOnPlateauOptions, reduceOnPlateau } from './train/reduceOnPlateau.js'
export type { BatchSource } from './train/source.js'
export * from './transform/index.js'
