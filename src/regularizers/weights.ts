// The options that layers with a weight share: penalty, constraint and noise. A layer reads its weight through here.

import { checkFinite } from '../errors.js'
import type { Scope } from '../layers/layer.js'
import { add } from '../ops/elementwise.js'
import { randomNormal } from '../ops/random.js'
import type { ParameterRules, Tensor, Variable } from '../tensor.js'
import { type Constraint, checkConstraint } from './constraints.js'
import { checkRegularizer, type Regularizer } from './penalties.js'

export interface WeightOptions {
  /** Penalty on the weight (not the bias): l1(), l2(), l1l2(). Default none. */
  regularizer?: Regularizer
  /** Bound kept after every step: maxNorm(). Default none. */
  constraint?: Constraint
  /**
   * Standard deviation of normal noise added to the weight where it is read while training, new in every step (Graves
   * 2011). Default 0: none. PyTorch: none; Keras: none.
   */
  weightNoise?: number
}

export const weightOptions = ['regularizer', 'constraint', 'weightNoise'] as const

/** What the options ask of updates. */
export function rulesOf(kind: string, options: WeightOptions): ParameterRules {
  checkFinite(`weightNoise of ${kind}`, options.weightNoise ?? 0, { min: 0 })
  return {
    ...checkRegularizer(`regularizer of ${kind}`, options.regularizer),
    ...checkConstraint(`constraint of ${kind}`, options.constraint),
  }
}

/** The weight as a layer sees it: with noise while training. */
export function readWeight(weight: Variable, scope: Scope, { weightNoise = 0 }: WeightOptions): Tensor {
  if (weightNoise === 0 || scope.mode !== 'train') return weight
  return add(weight, randomNormal(weight.shape, 0, weightNoise))
}
