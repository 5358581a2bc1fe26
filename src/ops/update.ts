// The flat optimizer step. Gradients are collected at the places their parameters have in their region; then one op
// prepares (norm, finite check, clip factor) and one op updates the whole region. The rate and the step count come from
// the step state, never from an attribute.

import { checkFinite, expected, GradlineError } from '../errors.js'
import { apply, currentGraph } from '../graph.js'
import { checkFloat, checkStep, defineOp, type Op } from '../op.js'
import { sameShape } from '../shape.js'
import { type Region, Tensor, Variable } from '../tensor.js'

/** Counts a step and moves the data cursor; the recorder puts it before everything else. */
export const advance: Op = defineOp({
  name: 'advance',
  attrs: ['batch', 'samples'],
  effect: [0],
  shape: ([step]) => {
    checkStep('advance', step as Tensor)
    return []
  },
})

function updateOp(name: string, attrs: string[], slots: number): Op {
  return defineOp({
    name,
    attrs: ['clipValue', ...attrs],
    effect: Array.from({ length: slots + 1 }, (_, i) => i),
    shape: (inputs) => {
      const [param, ...others] = inputs.slice(0, -1)
      checkStep(name, inputs.at(-1) as Tensor)
      checkFloat(name, param as Tensor, ...others)
      for (const other of others) {
        if (!sameShape(other.shape, (param as Tensor).shape)) {
          throw new GradlineError('shape', `Expected congruent regions for ${name} but received ${param} and ${other}`)
        }
      }
      return []
    },
  })
}

const prepareUpdateOp = defineOp({
  name: 'prepareUpdate',
  attrs: ['maxNorm'],
  effect: [0],
  shape: ([step, ...gradients]) => {
    checkStep('prepareUpdate', step as Tensor)
    checkFloat('prepareUpdate', ...gradients)
    return []
  },
})

const sgdUpdateOp = updateOp('sgdUpdate', [], 0)
const momentumUpdateOp = updateOp('momentumUpdate', ['beta', 'nesterov', 'rateOutside'], 1)
const adamUpdateOp = updateOp('adamUpdate', ['beta1', 'beta2', 'eps'], 2)

/**
 * Collects gradients at the places of their variables in `region` and gives them as one vector congruent to the region.
 * Variables without a gradient are left out of every update.
 */
export function collectGradients(region: Region, parts: readonly { variable: Variable; gradient: Tensor }[]): Tensor {
  const graph = currentGraph('collectGradients()')
  for (const { variable, gradient } of parts) {
    if (!(variable instanceof Variable) || variable.region !== region) {
      throw expected(`a variable of ${region.name}`, 'the target of a gradient', variable)
    }
    if (!sameShape(variable.shape, gradient.shape)) {
      throw new GradlineError('shape', `Expected a gradient like ${variable} but received ${gradient}`)
    }
  }
  const flat = new Tensor([region.bytes / 4], 'float32')
  graph.gradientBuffers.push({ region, flat, parts })
  return flat
}

/**
 * First half of an update, once per optimizer and step: global L2 norm of all gradients, the factor that clips it to
 * `maxNorm` (0: no clipping), and the decision to skip the update when a gradient is not finite.
 */
export function prepareUpdate(step: Variable, gradients: readonly Tensor[], maxNorm = 0): void {
  checkFinite('maxNorm of prepareUpdate', maxNorm, { min: 0 })
  currentGraph('prepareUpdate()').useStep(step)
  apply(prepareUpdateOp, [step, ...gradients], { maxNorm })
}

/** param -= rate * g. In every update g is first scaled by the clip factor, then clamped to +-clipValue (0: not). */
export function sgdUpdate(param: Variable, gradient: Tensor, step: Variable, clipValue = 0): void {
  apply(sgdUpdateOp, [param, gradient, step], { clipValue })
}

export interface MomentumAttrs {
  beta: number
  nesterov: boolean
  /** false: v = beta v - rate g, param += v. true: v = beta v + g, param -= rate v. */
  rateOutside: boolean
}

/** Momentum, or with `nesterov` its look-ahead form written for the shifted parameter: param += beta v - rate g. */
export function momentumUpdate(
  param: Variable,
  velocity: Variable,
  gradient: Tensor,
  step: Variable,
  { beta, nesterov, rateOutside }: MomentumAttrs,
  clipValue = 0,
): void {
  apply(momentumUpdateOp, [param, velocity, gradient, step], {
    clipValue,
    beta,
    nesterov: nesterov ? 1 : 0,
    rateOutside: rateOutside ? 1 : 0,
  })
}

/** Adam (Kingma & Ba 2015, algorithm 1): m and v corrected by 1 - beta^t, eps outside the root. */
export function adamUpdate(
  param: Variable,
  m: Variable,
  v: Variable,
  gradient: Tensor,
  step: Variable,
  attrs: { beta1: number; beta2: number; eps: number },
  clipValue = 0,
): void {
  apply(adamUpdateOp, [param, m, v, gradient, step], { clipValue, ...attrs })
}
