// The flat optimizer step. Gradients are collected at the places their parameters have in their region; then one op
// prepares (norm, finite check, clip factor) and one op updates the whole region. The rate and the step count come from
// the step state, never from an attribute.

import { checkFinite, checkInteger, checkOneOf, checkOptions, expected, GradlineError } from '../errors.js'
import { apply, apply1, currentGraph, type GradientPart, type UpdateSettings } from '../graph.js'
import {
  type Attrs,
  checkFloat,
  checkSameShape,
  checkStep,
  checkTensors,
  defineOp,
  expectTensor,
  type Op,
} from '../op.js'
import { checkList, sameShape } from '../shape.js'
import { Region, Tensor, Variable } from '../tensor.js'

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
  return flatOp(name, ['clipValue', ...attrs], slots)
}

// Inputs param, slots, gradient, step; parameters and slots are changed.
function flatOp(name: string, attrs: string[], slots: number): Op {
  return defineOp({
    name,
    attrs,
    effect: Array.from({ length: slots + 1 }, (_, i) => i),
    shape: (inputs) => {
      const [param, ...others] = inputs.slice(0, -1)
      if (others.length !== slots + 1) throw expected(`${slots} slots`, name, others.slice(0, -1))
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

const stepValueOp = defineOp({
  name: 'stepValue',
  attrs: ['field'],
  shape: ([step]) => {
    checkStep('stepValue', step as Tensor)
    return [{ shape: [1], dtype: 'float32' }]
  },
  backward: () => [undefined],
})

const countGroupOp = defineOp({
  name: 'countGroup',
  attrs: ['size', 'rows', 'samples'],
  effect: [0],
  shape: ([step]) => {
    checkStep('countGroup', step as Tensor)
    return []
  },
})

const prepareUpdateOp = defineOp({
  name: 'prepareUpdate',
  attrs: ['maxNorm', 'grouped', 'momentum', 'momentumDecay'],
  effect: [0],
  shape: ([step, ...gradients]) => {
    checkStep('prepareUpdate', step as Tensor)
    checkFloat('prepareUpdate', ...gradients)
    return []
  },
})

const sgdUpdateOp = updateOp('sgdUpdate', [], 0)
const momentumUpdateOp = updateOp('momentumUpdate', ['beta', 'nesterov', 'rateOutside'], 1)
const adagradUpdateOp = updateOp('adagradUpdate', ['eps'], 1)
const adadeltaUpdateOp = updateOp('adadeltaUpdate', ['rho', 'eps'], 2)
const rmspropUpdateOp = updateOp('rmspropUpdate', ['rho', 'eps'], 1)
const rmspropMomentumUpdateOp = updateOp('rmspropMomentumUpdate', ['rho', 'eps', 'centered', 'momentum'], 3)
const adamUpdateOp = updateOp('adamUpdate', ['beta1', 'beta2', 'eps'], 2)
const amsgradUpdateOp = updateOp('amsgradUpdate', ['beta1', 'beta2', 'eps'], 3)
const adamaxUpdateOp = updateOp('adamaxUpdate', ['beta1', 'beta2', 'eps'], 2)
const nadamUpdateOp = updateOp('nadamUpdate', ['beta1', 'beta2', 'eps', 'momentumDecay'], 2)
const radamUpdateOp = updateOp('radamUpdate', ['beta1', 'beta2', 'eps'], 2)
const lionUpdateOp = updateOp('lionUpdate', ['beta1', 'beta2'], 1)
const accumulateGradientOp = flatOp('accumulateGradient', ['rows'], 1)

const maxNormOp = defineOp({
  name: 'maxNorm',
  attrs: ['limit'],
  effect: [0],
  shape: ([param, step]) => {
    checkFloat('maxNorm', param as Tensor)
    checkStep('maxNorm', step as Tensor)
    if ((param as Tensor).rank === 0) throw expectTensor('a parameter [..., units]', 'maxNorm', param as Tensor)
    return []
  },
})

const averageWeightsOp = defineOp({
  name: 'averageWeights',
  attrs: ['decay'],
  effect: [0],
  shape: ([average, param, step]) => {
    checkFloat('averageWeights', average as Tensor, param as Tensor)
    checkSameShape('averageWeights', average as Tensor, param as Tensor)
    checkStep('averageWeights', step as Tensor)
    return []
  },
})

const plain: UpdateSettings = { rate: 1, decay: 0, l1: 0, l2: 0 }

/**
 * Collects gradients at the places of their variables in `region` and gives them as one vector congruent to the region.
 * Variables without a gradient are left out of every update. `settings` default to the optimizer's rate and no penalty.
 */
export function collectGradients(
  region: Region,
  parts: readonly (Omit<GradientPart, 'settings'> & { readonly settings?: UpdateSettings })[],
): Tensor {
  const graph = currentGraph('collectGradients()')
  if (!(region instanceof Region)) throw expected('a region', 'collectGradients', region)
  checkList('parts of collectGradients', parts)
  for (const part of parts) {
    const { variable, gradient } = part ?? {}
    if (!(variable instanceof Variable) || variable.region !== region) {
      throw expected(`a variable of ${region.name}`, 'the target of a gradient', variable)
    }
    checkTensors('collectGradients', gradient)
    if (!sameShape(variable.shape, gradient.shape)) {
      throw new GradlineError('shape', `Expected a gradient like ${variable} but received ${gradient}`)
    }
  }
  const flat = new Tensor([region.bytes / 4], 'float32')
  graph.gradientBuffers.push({ region, flat, parts: parts.map((part) => ({ settings: plain, ...part })) })
  return flat
}

const stepFields = ['rate', 'clipScale', 'skip', 'updates', 'groupSteps', 'groupRows'] as const

/**
 * A number of the step state as a float tensor [1], for update rules written as compositions: the learning `rate`, the
 * factor `clipScale` on the gradients, `skip` (1: change nothing this step), the number of `updates`, which are those of
 * this step after prepareUpdate(); and, after countGroup(), micro-batches and rows of the group so far.
 */
export function stepValue(field: (typeof stepFields)[number], step?: Tensor): Tensor {
  checkOneOf('field of stepValue', field, stepFields)
  const state = step ?? currentGraph('stepValue() without a step').useStep()
  return apply1(stepValueOp, [state], { field: stepFields.indexOf(field) })
}

export interface Group {
  /** Micro-batches of a full group. */
  size: number
  /** Rows of this program's micro-batch. */
  rows: number
  /** Rows of the data set, whose end ends a group that is not full. 0: none. */
  samples: number
}

/** Counts a micro-batch of a group, once per step and before accumulateGradient(). */
export function countGroup(step: Variable, group: Group): void {
  checkOptions('countGroup', group ?? null, ['size', 'rows', 'samples'])
  const { size, rows, samples } = group
  checkInteger('size of countGroup', size, { min: 1 })
  checkInteger('rows of countGroup', rows, { min: 1 })
  checkInteger('samples of countGroup', samples, { min: 0 })
  currentGraph('countGroup()').useStep(step)
  apply(countGroupOp, [step], { size, rows, samples })
}

/**
 * Adds rows * gradient to `sum`, which is congruent to `param`; the first micro-batch of a group replaces what stood there,
 * and with the last one `sum` becomes the mean over all rows of the group. Give it to prepareUpdate() and the update.
 */
export function accumulateGradient(
  param: Variable,
  sum: Variable,
  gradient: Tensor,
  step: Variable,
  rows: number,
): void {
  checkInteger('rows of accumulateGradient', rows, { min: 1 })
  apply(accumulateGradientOp, [param, sum, gradient, step], { rows })
}

/** Gradients that prepareUpdate() takes at once. */
export const maxGradients = 7

export interface PrepareOptions {
  /** The gradients are those of a group: while it is not full the update is left out. Default false. */
  grouped?: boolean
  /** Keeps the product of nadam's momenta. */
  nadam?: { beta1: number; momentumDecay: number } | undefined
}

/**
 * First half of an update, once per optimizer and step: global L2 norm of all gradients, the factor that clips it to
 * `maxNorm` (0: no clipping), and the decision to skip the update when a gradient is not finite.
 */
export function prepareUpdate(
  step: Variable,
  gradients: readonly Tensor[],
  maxNorm = 0,
  options: PrepareOptions = {},
): void {
  checkList('gradients of prepareUpdate', gradients)
  if (gradients.length < 1 || gradients.length > maxGradients) {
    throw expected(`1 to ${maxGradients} gradients`, 'prepareUpdate', gradients)
  }
  checkFinite('maxNorm of prepareUpdate', maxNorm, { min: 0 })
  checkOptions('prepareUpdate', options, ['grouped', 'nadam'])
  const { beta1 = 0, momentumDecay = 0 } = options.nadam ?? {}
  checkFinite('beta1 of nadam', beta1)
  checkFinite('momentumDecay of nadam', momentumDecay)
  currentGraph('prepareUpdate()').useStep(step)
  apply(prepareUpdateOp, [step, ...gradients], {
    maxNorm,
    grouped: options.grouped ? 1 : 0,
    momentum: beta1,
    momentumDecay,
  })
}

// In every update g is first scaled by the clip factor, then clamped to +-clipValue (0: not), then the penalties of the
// parameter's settings are added; decoupled decay stands beside the step.
type Flat = readonly [param: Variable, slots: readonly Variable[], gradient: Tensor, step: Variable]

const flags = new Set(['nesterov', 'rateOutside', 'centered'])

// The attributes of a rule by their names, each a finite number or a flag.
function attributes(op: Op, options: object, clipValue = 0): Attrs {
  if (typeof options !== 'object' || options === null) throw expected('an object', `the options of ${op.name}`, options)
  checkFinite(`clipValue of ${op.name}`, clipValue, { min: 0 })
  const given: Readonly<Record<string, unknown>> = { ...options, clipValue }
  const read = (name: string): number => {
    const value = given[name]
    if (flags.has(name)) checkOneOf(`${name} of ${op.name}`, value, [true, false])
    return checkFinite(`${name} of ${op.name}`, typeof value === 'boolean' ? Number(value) : value)
  }
  return Object.fromEntries(op.attrs.map((name) => [name, read(name)]))
}

const rule =
  <A extends object>(op: Op) =>
  (...[param, slots, gradient, step, options, clipValue]: [...Flat, A, number?]): void => {
    checkList(`slots of ${op.name}`, slots)
    apply(op, [param, ...slots, gradient, step], attributes(op, options, clipValue))
  }

/** param -= rate * g. In every update g is first scaled by the clip factor, then clamped to +-clipValue (0: not). */
export function sgdUpdate(param: Variable, gradient: Tensor, step: Variable, clipValue = 0): void {
  apply(sgdUpdateOp, [param, gradient, step], attributes(sgdUpdateOp, {}, clipValue))
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
  attrs: MomentumAttrs,
  clipValue = 0,
): void {
  apply(momentumUpdateOp, [param, velocity, gradient, step], attributes(momentumUpdateOp, attrs, clipValue))
}

interface AdamAttrs {
  beta1: number
  beta2: number
  eps: number
}

/** Adam (Kingma & Ba 2015, algorithm 1): m and v corrected by 1 - beta^t, eps outside the root. */
export function adamUpdate(
  param: Variable,
  m: Variable,
  v: Variable,
  gradient: Tensor,
  step: Variable,
  attrs: AdamAttrs,
  clipValue = 0,
): void {
  apply(adamUpdateOp, [param, m, v, gradient, step], attributes(adamUpdateOp, attrs, clipValue))
}

/** sum += g^2, param -= rate g / (sqrt(sum) + eps); slots [sum] (Duchi et al. 2011). */
export const adagradUpdate = rule<{ eps: number }>(adagradUpdateOp)
/** Slots [square, delta]; eps inside both roots, as in the paper (Zeiler 2012). */
export const adadeltaUpdate = rule<{ rho: number; eps: number }>(adadeltaUpdateOp)
/** square = rho square + (1 - rho) g^2, param -= rate g / (sqrt(square) + eps); slots [square]. */
export const rmspropUpdate = rule<{ rho: number; eps: number }>(rmspropUpdateOp)
/** RMSProp with a velocity and, if centered, the variance instead of the mean square; slots [square, mean, velocity]. */
export const rmspropMomentumUpdate = rule<{ rho: number; eps: number; centered: boolean; momentum: number }>(
  rmspropMomentumUpdateOp,
)
/** Adam by the largest v so far; slots [m, v, largest] (Reddi et al. 2018). */
export const amsgradUpdate = rule<AdamAttrs>(amsgradUpdateOp)
/** Adam by the largest decayed |g|; slots [m, u] (Kingma & Ba 2015, algorithm 2). */
export const adamaxUpdate = rule<AdamAttrs>(adamaxUpdateOp)
/** Adam with Nesterov momentum that grows; slots [m, v]; prepareUpdate() needs its option nadam (Dozat 2016). */
export const nadamUpdate = rule<AdamAttrs & { momentumDecay: number }>(nadamUpdateOp)
/** Adam whose adaptive step waits until its variance is tractable; slots [m, v] (Liu et al. 2020). */
export const radamUpdate = rule<AdamAttrs>(radamUpdateOp)
/** The sign of a mean of gradients; slots [m] (Chen et al. 2023). */
export const lionUpdate = rule<{ beta1: number; beta2: number }>(lionUpdateOp)

/** Scales the incoming weights of each unit (all axes but the last) down to an L2 norm of `limit`; smaller ones stay. */
export function maxNorm(param: Variable, limit: number, step: Variable): void {
  checkFinite('limit of maxNorm', limit, { above: 0 })
  apply(maxNormOp, [param, step], { limit })
}

/** average = decay average + (1 - decay) param after each update; the first update copies. */
export function averageWeights(average: Variable, param: Variable, decay: number, step: Variable): void {
  checkFinite('decay of averageWeights', decay, { min: 0, below: 1 })
  apply(averageWeightsOp, [average, param, step], { decay })
}
