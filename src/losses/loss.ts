// What a loss is: a function of prediction and target, usually to a scalar that fit() minimizes. Here too: how values per
// element or per sample become that scalar, and how targets are matched to predictions. No formula of a loss stands here.

import { checkFinite, checkFunction, checkOneOf, checkOptions, checkText, expected, GradlineError } from '../errors.js'
import { div, maximum, mul, scale } from '../ops/elementwise.js'
import { checkLabel, oneHot } from '../ops/loss.js'
import { cast, reshape, slice, vector } from '../ops/move.js'
import { mean, sum } from '../ops/reduce.js'
import { type Shape, sameShape, showShape, sizeOf } from '../shape.js'
import type { Tensor } from '../tensor.js'

/**
 * 'mean': the mean of the values, as each loss says which; 'sum': their sum; 'none': the values themselves, for programs
 * of one's own (fit needs a scalar).
 */
export type Reduction = 'mean' | 'sum' | 'none'

export interface LossOptions {
  /** Default 'mean'. */
  reduction?: Reduction
}

/** What fit() and evaluate() check a data set against before the first step. */
export interface LossTraits {
  readonly reduction?: Reduction
  /** Integer labels are 'classes', one per score, or 'binary', 0 and 1. Default: no demand. */
  readonly labels?: 'classes' | 'binary'
  /** The label that marks samples left out. */
  readonly ignoreIndex?: number
}

export interface Loss extends LossTraits {
  (prediction: Tensor, target: Tensor): Tensor
  readonly kind: string
}

/**
 * Names a loss function; the name stands in histories beside metrics. Any function of prediction and target [n, ...] in
 * ops that gives a scalar is a loss.
 */
export function loss(
  kind: string,
  apply: (prediction: Tensor, target: Tensor) => Tensor,
  traits: LossTraits = {},
): Loss {
  checkText('the name of a loss', kind)
  checkFunction(`the loss ${kind}`, apply, 'a function of prediction and target')
  checkOptions(`loss ${kind}`, traits, ['reduction', 'labels', 'ignoreIndex'])
  return Object.assign((prediction: Tensor, target: Tensor) => apply(prediction, target), { kind, ...traits })
}

/** Checks the reduction of a loss. */
export function checkReduction(kind: string, { reduction = 'mean' }: LossOptions): Reduction {
  return checkOneOf(`reduction of ${kind}`, reduction, ['mean', 'sum', 'none'])
}

/** The mean over all values, their sum, or the values. */
export function reduced(values: Tensor, reduction: Reduction): Tensor {
  if (reduction === 'none') return values
  return reduction === 'sum' ? sum(values) : mean(values)
}

// ---- Targets that are numbers ----------------------------------------------------------------------------------------

/** A loss of `apply(prediction, target)` per element, both floats of one shape; the mean is over all elements. */
export function elementLoss(
  kind: string,
  options: LossOptions,
  apply: (prediction: Tensor, target: Tensor) => Tensor,
  traits: LossTraits = {},
): Loss {
  const reduction = checkReduction(kind, options)
  const match = traits.labels === 'binary' ? binaryTarget : numberTarget
  return loss(kind, (prediction, target) => reduced(apply(prediction, match(kind, prediction, target)), reduction), {
    ...traits,
    reduction,
  })
}

// [n] and [n, 1] are the same targets; no other shapes are matched, since broadcasting would pair wrong elements.
function shaped(kind: string, prediction: Tensor, target: Tensor): Tensor {
  const [a, b] = [prediction.shape, target.shape]
  if (!sameShape(a, b) && !sameShape(a, [...b, 1]) && !sameShape([...a, 1], b)) {
    throw new GradlineError(
      'shape',
      `Expected targets ${showShape(prediction.shape)} for ${kind} of a prediction of that shape but received ` +
        `${target.dtype} ${showShape(target.shape)}`,
    )
  }
  return reshape(target, prediction.shape)
}

/** Float targets of the prediction's shape; integers (counts) are converted. */
export function numberTarget(kind: string, prediction: Tensor, target: Tensor): Tensor {
  return cast(shaped(kind, prediction, target), 'float32')
}

/** Targets between 0 and 1 of the prediction's shape: floats, or integer labels of which any but 0 and 1 fails the step. */
export function binaryTarget(kind: string, prediction: Tensor, target: Tensor): Tensor {
  const like = shaped(kind, prediction, target)
  if (like.dtype === 'float32') return like
  const both = oneHot(reshape(like, [like.size]), 2)
  return reshape(slice(both, [0, 1], [like.size, 1]), like.shape)
}

// ---- Targets that are classes ----------------------------------------------------------------------------------------

export interface ClassOptions extends LossOptions {
  /** Weight of each class, at least 0. Default: 1 for all. */
  classWeights?: readonly number[]
  /** Integer label of samples that are left out, e.g. -100 or 255. Default: none. */
  ignoreIndex?: number
}

export interface ClassChoices {
  readonly reduction: Reduction
  readonly weights: readonly number[] | undefined
  readonly ignore: { readonly ignore?: number }
  readonly traits: LossTraits
}

/** Checks the options of a loss over classes. */
export function checkClassOptions(kind: string, options: ClassOptions): ClassChoices {
  const reduction = checkReduction(kind, options)
  const ignore = options.ignoreIndex
  if (ignore !== undefined) checkLabel(`ignoreIndex of ${kind}`, ignore)
  return {
    reduction,
    weights: options.classWeights && checkWeights(`classWeights of ${kind}`, options.classWeights),
    ignore: ignore === undefined ? {} : { ignore },
    traits: { labels: 'classes', reduction, ...(ignore === undefined ? {} : { ignoreIndex: ignore }) },
  }
}

/** Checks a list of weights and copies it. */
export function checkWeights(name: string, weights: readonly number[]): readonly number[] {
  if (!Array.isArray(weights) || weights.length === 0) throw expected('an array of numbers', name, weights)
  return weights.map((weight, i) => checkFinite(`${name}[${i}]`, weight, { min: 0 }))
}

/** A weight per class as a row [k]. */
export function weightRow(kind: string, weights: readonly number[], classes: number): Tensor {
  if (weights.length !== classes) {
    throw new GradlineError('shape', `Expected ${classes} weights for ${kind} but received ${weights.length}`)
  }
  return vector(weights)
}

/** Scores [..., k] and labels [...] or [..., k] as rows: [n, k] and [n] or [n, k], and the leading axes. */
export function rowsOf(
  kind: string,
  scores: Tensor,
  labels: Tensor,
): { scores: Tensor; labels: Tensor; leading: Shape; classes: number } {
  const leading = scores.shape.slice(0, -1)
  const classes = scores.shape.at(-1) ?? 0
  const wanted = labels.dtype === 'int32' ? leading : scores.shape
  if (leading.length === 0 || labels.dtype === 'uint8' || !sameShape(labels.shape, wanted)) {
    throw new GradlineError(
      'shape',
      `Expected scores [n, classes] with int32 labels [n] or float labels [n, classes] for ${kind} but received ` +
        `scores ${showShape(scores.shape)} with ${labels.dtype} ${showShape(labels.shape)}`,
    )
  }
  const n = sizeOf(leading)
  return {
    scores: reshape(scores, [n, classes]),
    labels: reshape(labels, labels.dtype === 'int32' ? [n] : [n, classes]),
    leading,
    classes,
  }
}

/** The mean of values [n] that were already multiplied by their weights [n]; 0 where all weights are 0. */
export function weightedMean(values: Tensor, weights: Tensor): Tensor {
  return div(sum(values), maximum(sum(weights), 1e-30))
}

/** One-hot rows, multiplied by the class weights if there are any. */
export function weighted(kind: string, rows: Tensor, weights: readonly number[] | undefined): Tensor {
  return weights ? mul(rows, weightRow(kind, weights, rows.shape.at(-1) as number)) : rows
}

/** (1 - smoothing) * target + smoothing / classes. */
export function smoothed(target: Tensor, smoothing: number): Tensor {
  return smoothing === 0 ? target : scale(target, 1 - smoothing, smoothing / (target.shape.at(-1) as number))
}
