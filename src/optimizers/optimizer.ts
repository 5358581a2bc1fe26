// What an optimizer is: the settings of a flat update. `Updater` is one at work: its moments and its step state, which
// outlive the program they are used in.

import { checkFinite, checkInteger, expected } from '../errors.js'
import { currentGraph } from '../graph.js'
import { collectGradients, prepareUpdate } from '../ops/update.js'
import { applySchedule, type Schedule } from '../schedules/schedule.js'
import { stepState } from '../step.js'
import { Region, type Tensor, Variable } from '../tensor.js'

export interface ClipOptions {
  /**
   * Learning rate as a function of the updates or epochs so far, e.g. cosine({ steps: 10_000 }), computed inside every
   * step. It begins from `lr`, unless it names rates of its own. Default: lr is constant.
   */
  schedule?: Schedule
  /** Largest global L2 norm of all gradients; larger ones are scaled down to it. Default 0: off. */
  clipNorm?: number
  /** Each element of the gradient is clamped to +-clipValue, after clipNorm. Default 0: off. */
  clipValue?: number
}

export interface Optimizer {
  readonly kind: string
  /** Learning rate at the start; it lives in the step state from then on. */
  readonly lr: number
  readonly schedule?: Schedule | undefined
  readonly clipNorm: number
  readonly clipValue: number
  /** Names of the vectors it keeps per parameter. */
  readonly slots: readonly string[]
  /** Records the update of one region; `slots` are congruent to `param`. */
  readonly update: (param: Variable, slots: readonly Variable[], gradient: Tensor, step: Variable) => void
}

/** Checks what all optimizers share. */
export function optimizer(
  kind: string,
  lr: number,
  clip: ClipOptions,
  slots: readonly string[],
  update: (clipValue: number) => Optimizer['update'],
): Optimizer {
  checkFinite(`lr of ${kind}`, lr, { min: 0 })
  const clipNorm = checkFinite(`clipNorm of ${kind}`, clip.clipNorm ?? 0, { min: 0 })
  const clipValue = checkFinite(`clipValue of ${kind}`, clip.clipValue ?? 0, { min: 0 })
  const { schedule } = clip
  if (schedule !== undefined && typeof schedule.pieces !== 'function') {
    throw expected('a schedule such as cosine({ steps })', `schedule of ${kind}`, schedule)
  }
  return { kind, lr, schedule, clipNorm, clipValue, slots, update: update(clipValue) }
}

/** An optimizer at work on some parameters. Programs that share it continue each other's moments and counters. */
export class Updater {
  readonly optimizer: Optimizer
  /** Step count, learning rate, seed: read and changed with readStep() and writeStep(). */
  readonly step: Variable
  readonly #slots = new Map<Region, readonly Variable[]>()

  constructor(settings: Optimizer, options: { seed?: number } = {}) {
    if (typeof settings?.update !== 'function') throw expected('an optimizer such as adam()', 'optimizer', settings)
    const seed = checkInteger('seed', options.seed ?? 0, { min: 0 })
    this.optimizer = settings
    this.step = stepState(settings.kind, { rate: settings.lr, seed })
  }

  /** Moments, by parameter region. */
  get slots(): ReadonlyMap<Region, readonly Variable[]> {
    return this.#slots
  }

  /**
   * Records one update of `params` by `gradients`, inside record(). A step whose gradients are not all finite changes
   * nothing and is counted in the step state.
   */
  apply(params: readonly Variable[], gradients: readonly Tensor[]): void {
    currentGraph('an optimizer')
    if (params.length === 0 || params.length !== gradients.length) {
      throw expected(`one gradient per parameter (${params.length})`, this.optimizer.kind, gradients)
    }
    const groups = new Map<Region, { variable: Variable; gradient: Tensor }[]>()
    params.forEach((variable, i) => {
      if (!(variable instanceof Variable))
        throw expected('a variable', `a parameter of ${this.optimizer.kind}`, variable)
      const group = groups.get(variable.region) ?? []
      group.push({ variable, gradient: gradients[i] as Tensor })
      groups.set(variable.region, group)
    })
    const flat = [...groups].map(([region, parts]) => ({ region, gradient: collectGradients(region, parts) }))
    // Before the update is counted: the first one has t = 0.
    if (this.optimizer.schedule) applySchedule(this.optimizer.schedule, this.optimizer.lr, this.step)
    prepareUpdate(
      this.step,
      flat.map(({ gradient }) => gradient),
      this.optimizer.clipNorm,
    )
    for (const { region, gradient } of flat) {
      this.optimizer.update(region.flat(), this.#slotsOf(region), gradient, this.step)
    }
  }

  #slotsOf(region: Region): readonly Variable[] {
    const known = this.#slots.get(region)
    if (known) return known
    const made = this.optimizer.slots.map((name) =>
      new Region('opt', `${this.optimizer.kind}.${name}`).add(`${region.name}.${name}`, [region.bytes / 4], 'float32'),
    )
    this.#slots.set(region, made)
    return made
  }
}
