// What an optimizer is: the settings of a flat update. `Updater` is one at work: its moments and its step state, which
// outlive the program they are used in.

import { checkFinite, checkInteger, checkOptions, expected, GradlineError } from '../errors.js'
import { currentGraph, type GradientPart, type UpdateSettings } from '../graph.js'
import { add, div, greater, maximum, minimum, mul, scale, select, sqrt, square } from '../ops/elementwise.js'
import { assign } from '../ops/move.js'
import { sum } from '../ops/reduce.js'
import {
  accumulateGradient,
  averageWeights,
  collectGradients,
  countGroup,
  type Group,
  maxGradients,
  maxNorm,
  prepareUpdate,
  stepValue,
} from '../ops/update.js'
import { applySchedule, type Schedule } from '../schedules/schedule.js'
import { checkList } from '../shape.js'
import { stepState } from '../step.js'
import { Region, type Tensor, Variable } from '../tensor.js'
import { type CheckedGroup, checkAllUsed, checkGroups, type ParameterGroup, settingsOf } from './groups.js'

/**
 * What all optimizers can do. Order in a step: gradients that are not finite leave the step out; clipTensorNorm, clipNorm,
 * clipValue; penalties l1, l2; decay; the rule; constraints; average.
 */
export interface CommonOptions {
  /** Learning rate. */
  lr?: number
  /**
   * Learning rate as a function of the updates or epochs so far, e.g. cosine({ steps: 10_000 }), computed inside every
   * step. It begins from `lr`, unless it names rates of its own. Default: lr is constant.
   */
  schedule?: Schedule
  /** Largest global L2 norm of all gradients; larger ones are scaled down to it. Default 0: off. */
  clipNorm?: number
  /** Each element of the gradient is clamped to +-clipValue, after clipNorm. Default 0: off. */
  clipValue?: number
  /** Largest L2 norm of the gradient of each parameter by itself, before clipNorm. Default 0: off. */
  clipTensorNorm?: number
  /**
   * Decoupled weight decay (Loshchilov & Hutter 2019): lr * decay * w is subtracted from the weights w beside the step and
   * enters no moment. Not for parameters of one axis (biases, norm scales) unless a group says so. Default 0.
   */
  decay?: number
  /** Parameters with a rate, decay or penalty of their own; the first group that matches counts. Default none. */
  groups?: readonly ParameterGroup[]
  /**
   * Keeps an exponential moving average of the weights: decay * average + (1 - decay) * weights after each update, the
   * first update copies. Read it with model.averagedWeights() or model.useAverage(). Default none.
   */
  ema?: { decay: number }
}

export const commonOptions = [
  'lr',
  'schedule',
  'clipNorm',
  'clipValue',
  'clipTensorNorm',
  'decay',
  'groups',
  'ema',
] as const

/** Parameters that are updated one by one, by a composition of ops, instead of in the flat update. */
export interface Alone {
  readonly chosen: (variable: Variable) => boolean
  /** Records the update. `slots` have the shape of the variable; nothing may change where the step's `skip` is 1. */
  readonly update: (
    variable: Variable,
    slots: readonly Variable[],
    gradient: Tensor,
    settings: UpdateSettings,
    step: Variable,
  ) => void
  /** Factor on the learning rate of the others. */
  readonly othersRate: number
}

export interface Optimizer {
  readonly kind: string
  /** Learning rate at the start; it lives in the step state from then on. */
  readonly lr: number
  readonly schedule?: Schedule | undefined
  readonly decay: number
  readonly clipNorm: number
  readonly clipValue: number
  readonly clipTensorNorm: number
  readonly groups: readonly CheckedGroup[]
  readonly ema: { readonly decay: number } | undefined
  /** Names of the vectors it keeps per parameter. */
  readonly slots: readonly string[]
  /** What the slots hold before the first update. */
  readonly initial: number
  /** Set by nadam: momenta whose product is kept in the step state. */
  readonly nadam: { readonly beta1: number; readonly momentumDecay: number } | undefined
  readonly alone: Alone | undefined
  /** Records the update of one region; `slots` are congruent to `param`. */
  readonly update: (param: Variable, slots: readonly Variable[], gradient: Tensor, step: Variable) => void
}

export interface Form {
  readonly kind: string
  /** Learning rate and decay where the options say nothing. */
  readonly lr: number
  readonly decay?: number
  readonly slots: readonly string[]
  readonly initial?: number
  readonly nadam?: Optimizer['nadam']
  readonly alone?: (clipValue: number) => Alone
  readonly update: (clipValue: number) => Optimizer['update']
}

/** Checks what all optimizers share. */
export function optimizer(form: Form, options: CommonOptions): Optimizer {
  const { kind } = form
  const number = (name: 'clipNorm' | 'clipValue' | 'clipTensorNorm'): number =>
    checkFinite(`${name} of ${kind}`, options[name] ?? 0, { min: 0 })
  const lr = checkFinite(`lr of ${kind}`, options.lr ?? form.lr, { min: 0 })
  const clipValue = number('clipValue')
  const { schedule } = options
  if (schedule !== undefined && typeof schedule?.pieces !== 'function') {
    throw expected('a schedule such as cosine({ steps })', `schedule of ${kind}`, schedule)
  }
  if (options.ema !== undefined) {
    checkOptions(`ema of ${kind}`, options.ema, ['decay'])
    checkFinite(`decay of ema of ${kind}`, options.ema.decay, { min: 0, below: 1 })
  }
  return {
    kind,
    lr,
    schedule,
    decay: checkFinite(`decay of ${kind}`, options.decay ?? form.decay ?? 0, { min: 0 }),
    clipNorm: number('clipNorm'),
    clipValue,
    clipTensorNorm: number('clipTensorNorm'),
    groups: checkGroups(kind, options.groups, lr),
    ema: options.ema,
    slots: form.slots,
    initial: form.initial ?? 0,
    nadam: form.nadam,
    alone: form.alone?.(clipValue),
    update: form.update(clipValue),
  }
}

export interface ApplyOptions {
  /** Gradients are averaged over groups of micro-batches, by rows; the parameters move with the last of each group. */
  accumulate?: Group
}

/** An optimizer at work on some parameters. Programs that share it continue each other's moments and counters. */
export class Updater {
  readonly optimizer: Optimizer
  /** Step count, learning rate, seed: read and changed with readStep() and writeStep(). */
  readonly step: Variable
  readonly #slots = new Map<Region, readonly Variable[]>()
  readonly #sums = new Map<string, Map<Region, Variable>>()
  readonly #averages = new Map<Region, Variable>()

  constructor(settings: Optimizer, options: { seed?: number } = {}) {
    if (typeof settings?.update !== 'function') throw expected('an optimizer such as adam()', 'optimizer', settings)
    checkOptions('Updater', options, ['seed'])
    const seed = checkInteger('seed', options.seed ?? 0, { min: 0 })
    this.optimizer = settings
    this.step = stepState(settings.kind, { rate: settings.lr, seed })
  }

  /** Moments, by parameter region. */
  get slots(): ReadonlyMap<Region, readonly Variable[]> {
    return this.#slots
  }

  /** Averaged weights, by parameter region; empty without the option ema. */
  get averages(): ReadonlyMap<Region, Variable> {
    return this.#averages
  }

  /**
   * Records one update of `params` by `gradients`, inside record(). A step whose gradients are not all finite changes
   * nothing and is counted in the step state.
   */
  apply(params: readonly Variable[], gradients: readonly Tensor[], options: ApplyOptions = {}): void {
    currentGraph('an optimizer')
    const { accumulate } = checkOptions('apply of an Updater', options, ['accumulate'])
    checkList('parameters', params, 'an array of variables')
    checkList('gradients', gradients, 'an array of tensors')
    const { kind, lr, schedule, groups, alone, clipNorm, nadam, ema } = this.optimizer
    const parts = this.#parts(params, gradients)
    // A group of frozen parameters is of use once they are trained again.
    const known = [...new Set(params.map(({ region }) => region))].flatMap(({ variables }) => variables)
    checkAllUsed(kind, groups, [...params, ...known])
    if (accumulate) countGroup(this.step, accumulate)

    const single = parts.filter(({ variable }) => alone?.chosen(variable))
    const singles = single.map((part) =>
      this.#clipped(accumulate ? this.#accumulatedAlone(part, single, accumulate) : part),
    )
    const flats = [...byRegion(parts.filter((part) => !single.includes(part)))].map(([region, list]) => ({
      region,
      ...this.#flatGradient(region, list, accumulate),
    }))
    // What prepareUpdate has no input for is put together in its norm, which is finite if its parts are.
    const fits = singles.length === 0 ? flats.length <= maxGradients : flats.length < maxGradients
    const direct = fits ? flats : flats.slice(0, maxGradients - 1)
    const others = [...flats.slice(direct.length).flatMap(({ parts }) => parts), ...singles]
    const norms = others.length === 0 ? [] : [normOf(others.map(({ gradient }) => gradient))]
    // Before the update is counted: the first one has t = 0.
    if (schedule) applySchedule(schedule, lr, this.step)
    prepareUpdate(this.step, [...direct.map(({ gradient }) => gradient), ...norms], clipNorm, {
      grouped: accumulate !== undefined,
      nadam,
    })
    for (const { region, gradient } of flats) {
      this.optimizer.update(region.flat(), this.#slotsOf(region), gradient, this.step)
    }
    for (const { variable, gradient, settings } of singles) {
      const slots = this.#slotsOf(variable.region).map((slot) => viewOf(slot, variable))
      alone?.update(variable, slots, gradient, settings, this.step)
    }
    for (const { variable } of parts) {
      if (variable.rules.maxNorm !== undefined) maxNorm(variable, variable.rules.maxNorm, this.step)
    }
    if (ema) {
      for (const region of byRegion(parts).keys()) {
        averageWeights(this.#vector(this.#averages, 'average', region), region.flat(), ema.decay, this.step)
      }
    }
  }

  // Parameters that move, with their settings; those with rate 0 are left out of everything.
  #parts(params: readonly Variable[], gradients: readonly Tensor[]): GradientPart[] {
    const { kind, groups, alone } = this.optimizer
    if (params.length === 0 || params.length !== gradients.length) {
      throw expected(`one gradient per parameter (${params.length})`, kind, gradients)
    }
    const parts = params.map((variable, i) => {
      if (!(variable instanceof Variable)) throw expected('a variable', `a parameter of ${kind}`, variable)
      const factor = alone && !alone.chosen(variable) ? alone.othersRate : 1
      return {
        variable,
        gradient: gradients[i] as Tensor,
        settings: settingsOf(variable, groups, this.optimizer, factor),
      }
    })
    const moving = parts.filter(({ settings }) => settings.rate !== 0)
    if (moving.length === 0) {
      throw new GradlineError('argument', `Expected a parameter that ${kind} may change but all have lr 0`)
    }
    return moving
  }

  // Gradients as one vector congruent to the region, and those of its parts.
  #flatGradient(
    region: Region,
    parts: readonly GradientPart[],
    accumulate: Group | undefined,
  ): { gradient: Tensor; parts: readonly GradientPart[] } {
    if (!accumulate) {
      const clipped = parts.map((part) => this.#clipped(part))
      return { gradient: collectGradients(region, clipped), parts: clipped }
    }
    const total = this.#sumOf(region, parts)
    accumulateGradient(region.flat(), total, collectGradients(region, parts), this.step, accumulate.rows)
    const means = parts.map((part) => this.#clipped({ ...part, gradient: viewOf(total, part.variable) }))
    return { gradient: this.optimizer.clipTensorNorm === 0 ? total : collectGradients(region, means), parts: means }
  }

  // The same for a parameter that is updated by itself: its sum stands at its place in the region of sums.
  #accumulatedAlone(part: GradientPart, all: readonly GradientPart[], { rows }: Group): GradientPart {
    const total = viewOf(this.#sumOf(part.variable.region, all), part.variable)
    const started = greater(stepValue('groupSteps', this.step), 1)
    const next = add(select(started, total, 0), scale(part.gradient, rows))
    assign(total, next)
    return { ...part, gradient: div(next, stepValue('groupRows', this.step)) }
  }

  // One vector per choice of parameters, zero elsewhere: the norm is taken over all of it, and sums that are left of
  // parameters frozen since must not count.
  #sumOf(region: Region, parts: readonly GradientPart[]): Variable {
    const choice = parts.map(({ variable }) => variable.name).join(' ')
    const sums = this.#sums.get(choice) ?? new Map<Region, Variable>()
    this.#sums.set(choice, sums)
    return this.#vector(sums, 'accumulated', region)
  }

  #clipped(part: GradientPart): GradientPart {
    const limit = this.optimizer.clipTensorNorm
    if (limit === 0) return part
    // A norm of 0 gives limit / 0 = infinity, and so the factor 1.
    return { ...part, gradient: mul(part.gradient, minimum(div(limit, normOf([part.gradient])), 1)) }
  }

  #slotsOf(region: Region): readonly Variable[] {
    const { kind, slots, initial } = this.optimizer
    const known = this.#slots.get(region)
    if (known) return known
    const size = region.bytes / 4
    const made = slots.map((name) =>
      new Region('opt', `${kind}.${name}`).add(
        `${region.name}.${name}`,
        [size],
        'float32',
        initial === 0 ? undefined : new Float32Array(size).fill(initial),
      ),
    )
    this.#slots.set(region, made)
    return made
  }

  // A vector congruent to `region`, made at its first use.
  #vector(known: Map<Region, Variable>, name: string, region: Region): Variable {
    let vector = known.get(region)
    if (!vector) {
      const place = new Region('opt', `${this.optimizer.kind}.${name}`)
      vector = place.add(`${region.name}.${name}`, [region.bytes / 4], 'float32')
      known.set(region, vector)
    }
    return vector
  }
}

/** The part of a vector congruent to a region that belongs to `variable`. */
export function viewOf(vector: Variable, variable: Variable): Variable {
  return new Variable(`${vector.name}.${variable.name}`, variable.shape, 'float32', vector.region, variable.offset)
}

function byRegion(parts: readonly GradientPart[]): Map<Region, GradientPart[]> {
  const regions = new Map<Region, GradientPart[]>()
  for (const part of parts) {
    const { region } = part.variable
    regions.set(region, [...(regions.get(region) ?? []), part])
  }
  return regions
}

// L2 norm of all elements together, [1].
function normOf(gradients: readonly Tensor[]): Tensor {
  return sqrt(gradients.map((gradient) => sum(square(gradient))).reduce((a, b) => add(a, b)))
}

/** Larger than `limit` in size, per element, becomes `limit`. 0: as it is. */
export function clamped(gradient: Tensor, limit: number): Tensor {
  return limit === 0 ? gradient : maximum(minimum(gradient, limit), -limit)
}
