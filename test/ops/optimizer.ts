// Optimizer steps for tests: gradients given as inputs, the update ops on a device, and the same rules in float64 from
// their papers.
import { device } from '../../src/device.js'
import type { UpdateSettings } from '../../src/graph.js'
import { grad, ops, type ProgramOptions, read, readStep, record, stepState, write, writeStep } from '../../src/index.js'
import { applySchedule, type Schedule } from '../../src/schedules/schedule.js'
import { type Shape, sizeOf } from '../../src/shape.js'
import type { StepFields } from '../../src/step.js'
import { Region, type Tensor, type Variable } from '../../src/tensor.js'
import { Random } from './data.js'

type AdamRule = { readonly beta1: number; readonly beta2: number; readonly eps: number }

export type Rule =
  | { readonly kind: 'sgd' }
  | { readonly kind: 'momentum'; readonly beta: number; readonly nesterov: boolean; readonly rateOutside: boolean }
  | { readonly kind: 'adagrad'; readonly eps: number }
  | { readonly kind: 'adadelta'; readonly rho: number; readonly eps: number }
  | { readonly kind: 'rmsprop'; readonly rho: number; readonly eps: number }
  | {
      readonly kind: 'rmspropMomentum'
      readonly rho: number
      readonly eps: number
      readonly centered: boolean
      readonly momentum: number
    }
  | ({ readonly kind: 'adam' } & AdamRule)
  | ({ readonly kind: 'amsgrad' } & AdamRule)
  | ({ readonly kind: 'adamax' } & AdamRule)
  | ({ readonly kind: 'radam' } & AdamRule)
  | ({ readonly kind: 'nadam'; readonly momentumDecay: number } & AdamRule)
  | { readonly kind: 'lion'; readonly beta1: number; readonly beta2: number }

const slotCounts = {
  sgd: 0,
  momentum: 1,
  adagrad: 1,
  adadelta: 2,
  rmsprop: 1,
  rmspropMomentum: 3,
  adam: 2,
  amsgrad: 3,
  adamax: 2,
  radam: 2,
  nadam: 2,
  lion: 1,
} as const satisfies Record<Rule['kind'], number>

export interface Setup {
  readonly rule: Rule
  readonly shapes: readonly Shape[]
  /** Of step 0, 1 ... */
  readonly rate: (step: number) => number
  /** For each step the gradients of all parameters, one list per parameter. */
  readonly gradients: readonly (readonly ArrayLike<number>[])[]
  readonly start: readonly ArrayLike<number>[]
  readonly maxNorm?: number
  readonly clipValue?: number
  /** In the program, instead of rates written from outside; `rate` says the same. */
  readonly schedule?: Schedule
  /** Of each parameter; rate factor, decay and penalties. */
  readonly settings?: readonly UpdateSettings[]
  /** Micro-batches of a group, each of `rows` rows. */
  readonly accumulate?: { readonly size: number; readonly rows: number }
  /** Largest norm of the incoming weights of each unit. */
  readonly unitNorm?: number
  /** Decay of an average of the weights; it follows the parameters in the results. */
  readonly average?: number
}

export interface Trained {
  readonly values: readonly Float32Array[]
  readonly state: StepFields
  /** What the step state said after each step. */
  readonly norms: readonly number[]
}

/** Parameters in a region of their own, congruent regions for their moments, and the update as a program writes it. */
export class Optimized {
  readonly variables: readonly Variable[]
  /** Of each moment the part of every parameter. */
  readonly moments: readonly (readonly Variable[])[]
  readonly step: Variable = stepState('optimizer')
  readonly #params = new Region('param', 'params')
  readonly #sums = new Region('opt', 'sums')
  readonly #averages = new Region('opt', 'averages')
  /** Of the average the part of every parameter. */
  readonly averages: readonly Variable[]
  readonly #moments: readonly Region[]
  readonly #rule: Rule

  constructor(rule: Rule, shapes: readonly Shape[]) {
    this.#rule = rule
    for (const [i, shape] of shapes.entries()) this.#sums.add(`s${i}`, shape, 'float32')
    this.averages = shapes.map((shape, i) => this.#averages.add(`a${i}`, shape, 'float32'))
    this.#moments = Array.from({ length: slotCounts[rule.kind] }, (_, i) => new Region('opt', `moments${i}`))
    this.variables = shapes.map((shape, i) => this.#params.add(`p${i}`, shape, 'float32'))
    this.moments = this.#moments.map((region) => shapes.map((shape, i) => region.add(`m${i}`, shape, 'float32')))
  }

  /** Inside record(): one update by the gradients given for the first variables; others stay as they are. */
  update(gradients: readonly Tensor[], maxNorm = 0, clipValue = 0, rest: Partial<Setup> = {}): void {
    const { settings, accumulate, unitNorm, average } = rest
    const { step } = this
    const param = this.#params.flat()
    let flat: Tensor = ops.collectGradients(
      this.#params,
      gradients.map((gradient, i) => ({
        gradient,
        variable: this.variables[i]!,
        ...(settings ? { settings: settings[i]! } : {}),
      })),
    )
    if (accumulate) {
      ops.countGroup(step, { ...accumulate, samples: 0 })
      const sums = this.#sums.flat()
      ops.accumulateGradient(param, sums, flat, step, accumulate.rows)
      flat = sums
    }
    const rule = this.#rule
    const nadam = rule.kind === 'nadam' ? rule : undefined
    ops.prepareUpdate(step, [flat], maxNorm, { grouped: accumulate !== undefined, nadam })
    const slots = this.#moments.map((region) => region.flat())
    if (rule.kind === 'sgd') ops.sgdUpdate(param, flat, step, clipValue)
    else if (rule.kind === 'momentum') ops.momentumUpdate(param, slots[0]!, flat, step, rule, clipValue)
    else if (rule.kind === 'adam') ops.adamUpdate(param, slots[0]!, slots[1]!, flat, step, plainAdam(rule), clipValue)
    else if (rule.kind === 'adagrad') ops.adagradUpdate(param, slots, flat, step, rule, clipValue)
    else if (rule.kind === 'adadelta') ops.adadeltaUpdate(param, slots, flat, step, rule, clipValue)
    else if (rule.kind === 'rmsprop') ops.rmspropUpdate(param, slots, flat, step, rule, clipValue)
    else if (rule.kind === 'rmspropMomentum') ops.rmspropMomentumUpdate(param, slots, flat, step, rule, clipValue)
    else if (rule.kind === 'amsgrad') ops.amsgradUpdate(param, slots, flat, step, rule, clipValue)
    else if (rule.kind === 'adamax') ops.adamaxUpdate(param, slots, flat, step, rule, clipValue)
    else if (rule.kind === 'nadam') ops.nadamUpdate(param, slots, flat, step, rule, clipValue)
    else if (rule.kind === 'radam') ops.radamUpdate(param, slots, flat, step, rule, clipValue)
    else ops.lionUpdate(param, slots, flat, step, rule, clipValue)
    if (unitNorm) for (const variable of this.variables) ops.maxNorm(variable, unitNorm, step)
    if (average) ops.averageWeights(this.#averages.flat(), param, average, step)
  }
}

const plainAdam = ({ beta1, beta2, eps }: AdamRule): AdamRule => ({ beta1, beta2, eps })

export function train(setup: Setup, options: ProgramOptions = {}): Trained {
  const on = device(options.device)
  const optimized = new Optimized(setup.rule, setup.shapes)
  const program = record(
    (given) => {
      if (setup.schedule) applySchedule(setup.schedule, setup.rate(0), optimized.step)
      optimized.update(Object.values(given), setup.maxNorm, setup.clipValue, setup)
      return []
    },
    Object.fromEntries(setup.gradients[0]!.map((_, i) => [`g${i}`, setup.shapes[i]!])),
    { name: setup.rule.kind, step: optimized.step, ...options },
  )
  optimized.variables.forEach((variable, i) => {
    write(variable, setup.start[i]!, on)
  })
  const norms = setup.gradients.map((gradients, i) => {
    writeStep(optimized.step, { rate: setup.schedule ? 1e6 : setup.rate(i) }, on)
    program.runSync(Object.fromEntries(gradients.map((g, j) => [`g${j}`, g])))
    return readStep(optimized.step).gradNorm
  })
  program.close()
  const results = [...optimized.variables, ...(setup.average ? optimized.averages : [])]
  const values = results.map((variable) => read(variable) as Float32Array)
  return { values, state: readStep(optimized.step), norms }
}

/** The same in float64. `terms` adds up the sizes of everything that was added to a parameter. */
export function trainExactly(setup: Setup): {
  values: number[][]
  terms: number[][]
  norms: number[]
  updates: number
} {
  const { rule, accumulate, settings, clipValue, unitNorm } = setup
  const theta = setup.start.map((list) => Array.from(list))
  const terms = theta.map((list) => list.map(Math.abs))
  const averages = theta.map((list) => list.map(() => 0))
  const slots = theta.map((list) => [0, 1, 2].map(() => list.map(() => 0)))
  const norms: number[] = []
  let t = 0
  let group: number[][] = []
  let count = 0
  setup.gradients.forEach((given, step) => {
    let gradients = given.map((list) => Array.from(list))
    if (accumulate) {
      group = count === 0 ? gradients : group.map((list, p) => list.map((x, i) => x + gradients[p]![i]!))
      count = (count + 1) % accumulate.size
      if (count !== 0) {
        norms.push(norms.at(-1) ?? 0)
        return
      }
      gradients = group.map((list) => list.map((x) => x / accumulate.size))
    }
    const rate = setup.rate(step)
    const norm = Math.sqrt(gradients.reduce((total, g) => total + g.reduce((s, x) => s + x * x, 0), 0))
    norms.push(norm)
    if (!Number.isFinite(norm)) return
    t += 1
    const factor = setup.maxNorm && norm > setup.maxNorm ? setup.maxNorm / norm : 1
    gradients.forEach((list, p) => {
      const { rate: own, decay, l1, l2 } = settings?.[p] ?? { rate: 1, decay: 0, l1: 0, l2: 0 }
      for (let i = 0; i < list.length; i++) {
        const w = theta[p]![i]!
        let g = list[i]! * factor
        if (clipValue) g = Math.max(-clipValue, Math.min(clipValue, g))
        g += l2 * w + l1 * Math.sign(w)
        const change = stepOf(rule, rate * own, t, g, slots[p]!, i) - rate * own * decay * w
        theta[p]![i] = w + change
        terms[p]![i] = terms[p]![i]! + Math.abs(change)
      }
      if (unitNorm) limitUnits(theta[p]!, setup.shapes[p]!.at(-1)!, unitNorm)
      const keep = t === 1 ? 0 : (setup.average ?? 0)
      averages[p] = averages[p]!.map((a, i) => keep * a + (1 - keep) * theta[p]![i]!)
    })
  })
  const [values, all] = setup.average
    ? [
        [...theta, ...averages],
        [...terms, ...terms],
      ]
    : [theta, terms]
  return { values, terms: all, norms, updates: t }
}

function limitUnits(w: number[], units: number, limit: number): void {
  for (let unit = 0; unit < units; unit++) {
    let squares = 0
    for (let i = unit; i < w.length; i += units) squares += w[i]! * w[i]!
    const factor = Math.min(1, limit / Math.sqrt(squares))
    for (let i = unit; i < w.length; i += units) w[i] = w[i]! * factor
  }
}

// What is added to the parameter; m, v and x are its moments (m the velocity).
function stepOf(rule: Rule, rate: number, t: number, g: number, [m, v, x]: number[][], i: number): number {
  const mean = (list: number[] | undefined, keep: number, value: number): number => {
    const next = keep * list![i]! + (1 - keep) * value
    list![i] = next
    return next
  }
  switch (rule.kind) {
    case 'sgd':
      return -rate * g
    case 'momentum': {
      const { beta, nesterov, rateOutside } = rule
      const velocity = rateOutside ? beta * m![i]! + g : beta * m![i]! - rate * g
      m![i] = velocity
      if (rateOutside) return -rate * (nesterov ? g + beta * velocity : velocity)
      return nesterov ? beta * velocity - rate * g : velocity
    }
    case 'adagrad':
      m![i] = m![i]! + g * g
      return (-rate * g) / (Math.sqrt(m![i]!) + rule.eps)
    case 'adadelta': {
      const s = mean(m, rule.rho, g * g)
      const change = (Math.sqrt(v![i]! + rule.eps) / Math.sqrt(s + rule.eps)) * g
      mean(v, rule.rho, change * change)
      return -rate * change
    }
    case 'rmsprop':
      return (-rate * g) / (Math.sqrt(mean(m, rule.rho, g * g)) + rule.eps)
    case 'rmspropMomentum': {
      const s = mean(m, rule.rho, g * g)
      const spread = rule.centered ? s - mean(v, rule.rho, g) ** 2 : s
      const velocity = rule.momentum * x![i]! + g / (Math.sqrt(spread) + rule.eps)
      x![i] = velocity
      return -rate * velocity
    }
    case 'lion': {
      const c = rule.beta1 * m![i]! + (1 - rule.beta1) * g
      mean(m, rule.beta2, g)
      return -rate * Math.sign(c)
    }
    default:
      return adamStep(rule, rate, t, g, mean, [m!, v!, x!], i)
  }
}

type AdamKin = Extract<Rule, AdamRule>

function adamStep(
  rule: AdamKin,
  rate: number,
  t: number,
  g: number,
  mean: (list: number[], keep: number, value: number) => number,
  [m, v, x]: [number[], number[], number[]],
  i: number,
): number {
  const { beta1, beta2, eps } = rule
  const first = mean(m, beta1, g)
  if (rule.kind === 'adamax') {
    v[i] = Math.max(beta2 * v[i]!, Math.abs(g) + eps)
    return (-rate * (first / (1 - beta1 ** t))) / v[i]
  }
  const second = mean(v, beta2, g * g)
  const divisor = (square: number): number => Math.sqrt(square / (1 - beta2 ** t)) + eps
  switch (rule.kind) {
    case 'adam':
      return (-rate * (first / (1 - beta1 ** t))) / divisor(second)
    case 'amsgrad':
      x[i] = Math.max(x[i]!, second)
      return (-rate * (first / (1 - beta1 ** t))) / divisor(x[i])
    case 'nadam': {
      const mu = (s: number): number => beta1 * (1 - 0.5 * 0.96 ** (s * rule.momentumDecay))
      let product = 1
      for (let s = 1; s <= t; s++) product *= mu(s)
      const byGradient = ((1 - mu(t)) / (1 - product)) * g
      const byMean = (mu(t + 1) / (1 - product * mu(t + 1))) * first
      return (-rate * (byGradient + byMean)) / divisor(second)
    }
    case 'radam': {
      const longest = 2 / (1 - beta2) - 1
      const r = longest - (2 * t * beta2 ** t) / (1 - beta2 ** t)
      const corrected = first / (1 - beta1 ** t)
      if (r <= 5) return -rate * corrected
      const factor = Math.sqrt(((r - 4) * (r - 2) * longest) / ((longest - 4) * (longest - 2) * r))
      return (-rate * factor * corrected * Math.sqrt(1 - beta2 ** t)) / (Math.sqrt(second) + eps)
    }
  }
}

export const adam = { kind: 'adam', beta1: 0.9, beta2: 0.999, eps: 1e-8 } as const
export const momentum = { kind: 'momentum', beta: 0.9, nesterov: false, rateOutside: false } as const

/** One rule of each kind, with options far from the defaults. */
export const everyRule: readonly Rule[] = [
  { kind: 'sgd' },
  momentum,
  { kind: 'adagrad', eps: 1e-3 },
  { kind: 'adadelta', rho: 0.8, eps: 1e-2 },
  { kind: 'rmsprop', rho: 0.7, eps: 1e-3 },
  { kind: 'rmspropMomentum', rho: 0.9, eps: 0.1, centered: true, momentum: 0.5 },
  { kind: 'rmspropMomentum', rho: 0.8, eps: 1e-3, centered: false, momentum: 0.9 },
  adam,
  { ...adam, kind: 'amsgrad', beta2: 0.6 },
  { ...adam, kind: 'adamax', eps: 1e-3 },
  { ...adam, kind: 'nadam', momentumDecay: 0.05 },
  { ...adam, kind: 'radam', beta2: 0.9 },
  { kind: 'lion', beta1: 0.7, beta2: 0.95 },
]

/** Random starts and gradients, rounded to 32 bits. */
export function randomSetup(rule: Rule, shapes: readonly Shape[], steps: number, rest: Partial<Setup> = {}): Setup {
  const random = new Random(99)
  const list = (): Float32Array[] =>
    shapes.map((shape) => Float32Array.from({ length: sizeOf(shape) }, () => random.normal()))
  const start = list()
  return { rule, shapes, rate: () => 0.01, start, gradients: Array.from({ length: steps }, list), ...rest }
}

/** 30 updates on f(x, y) = x^2 / 20 + y^2 from (-7, 2): where they end, and with which first moment. */
export function descend(
  rule: Rule,
  rate: number,
  options: ProgramOptions = {},
): { ended: number[]; velocity: number[] } {
  const on = device(options.device)
  const optimized = new Optimized(rule, [[1], [1]])
  const [x, y] = optimized.variables as [Variable, Variable]
  const program = record(
    () => {
      const loss = ops.sum(ops.add(ops.scale(ops.square(x), 1 / 20), ops.square(y)))
      optimized.update(grad(loss, [x, y]))
      return loss
    },
    {},
    { step: optimized.step, ...options },
  )
  write(x, [-7], on)
  write(y, [2], on)
  writeStep(optimized.step, { rate }, on)
  program.runManySync(30)
  program.close()
  const first = (variables: readonly Variable[] = []): number[] => variables.map((variable) => read(variable)[0]!)
  return { ended: first([x, y]), velocity: first(optimized.moments[0]) }
}
