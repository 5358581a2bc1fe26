// Optimizer steps for tests: gradients given as inputs, the update ops on a device, and the same rules in float64 from
// their papers.
import { device } from '../../src/device.js'
import { grad, ops, type ProgramOptions, read, readStep, record, stepState, write, writeStep } from '../../src/index.js'
import { applySchedule, type Schedule } from '../../src/schedules/schedule.js'
import { type Shape, sizeOf } from '../../src/shape.js'
import type { StepFields } from '../../src/step.js'
import { Region, type Tensor, type Variable } from '../../src/tensor.js'
import { Random } from './data.js'

export type Rule =
  | { readonly kind: 'sgd' }
  | { readonly kind: 'momentum'; readonly beta: number; readonly nesterov: boolean; readonly rateOutside: boolean }
  | { readonly kind: 'adam'; readonly beta1: number; readonly beta2: number; readonly eps: number }

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
  readonly #moments: readonly Region[]
  readonly #rule: Rule

  constructor(rule: Rule, shapes: readonly Shape[]) {
    const count = { sgd: 0, momentum: 1, adam: 2 }[rule.kind]
    this.#rule = rule
    this.#moments = Array.from({ length: count }, (_, i) => new Region('opt', `moments${i}`))
    this.variables = shapes.map((shape, i) => this.#params.add(`p${i}`, shape, 'float32'))
    this.moments = this.#moments.map((region) => shapes.map((shape, i) => region.add(`m${i}`, shape, 'float32')))
  }

  /** Inside record(): one update by the gradients given for the first variables; others stay as they are. */
  update(gradients: readonly Tensor[], maxNorm = 0, clipValue = 0): void {
    const flat = ops.collectGradients(
      this.#params,
      gradients.map((gradient, i) => ({ gradient, variable: this.variables[i]! })),
    )
    ops.prepareUpdate(this.step, [flat], maxNorm)
    const [first, second] = this.#moments.map((region) => region.flat())
    const param = this.#params.flat()
    const rule = this.#rule
    if (rule.kind === 'sgd') ops.sgdUpdate(param, flat, this.step, clipValue)
    else if (rule.kind === 'momentum') ops.momentumUpdate(param, first!, flat, this.step, rule, clipValue)
    else {
      const { beta1, beta2, eps } = rule
      ops.adamUpdate(param, first!, second!, flat, this.step, { beta1, beta2, eps }, clipValue)
    }
  }
}

export function train(setup: Setup, options: ProgramOptions = {}): Trained {
  const on = device(options.device)
  const optimized = new Optimized(setup.rule, setup.shapes)
  const program = record(
    (given) => {
      if (setup.schedule) applySchedule(setup.schedule, setup.rate(0), optimized.step)
      optimized.update(Object.values(given), setup.maxNorm, setup.clipValue)
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
  const values = optimized.variables.map((variable) => read(variable) as Float32Array)
  return { values, state: readStep(optimized.step), norms }
}

/** The same in float64. `terms` adds up the sizes of everything that was added to a parameter. */
export function trainExactly(setup: Setup): { values: number[][]; terms: number[][]; norms: number[] } {
  const { rule } = setup
  const theta = setup.start.map((list) => Array.from(list))
  const terms = theta.map((list) => list.map(Math.abs))
  const zeros = (): number[][] => theta.map((list) => list.map(() => 0))
  const [m, v] = [zeros(), zeros()]
  const norms: number[] = []
  let t = 0
  setup.gradients.forEach((gradients, step) => {
    const rate = setup.rate(step)
    const norm = Math.sqrt(gradients.reduce((total, g) => total + Array.from(g).reduce((s, x) => s + x * x, 0), 0))
    norms.push(norm)
    if (!Number.isFinite(norm)) return
    t += 1
    const factor = setup.maxNorm && norm > setup.maxNorm ? setup.maxNorm / norm : 1
    gradients.forEach((list, p) => {
      for (let i = 0; i < list.length; i++) {
        let g = list[i]! * factor
        if (setup.clipValue) g = Math.max(-setup.clipValue, Math.min(setup.clipValue, g))
        const change = stepOf(rule, rate, t, g, m[p]!, v[p]!, i)
        theta[p]![i] = theta[p]![i]! + change
        terms[p]![i] = terms[p]![i]! + Math.abs(change)
      }
    })
  })
  return { values: theta, terms, norms }
}

// What is added to the parameter; m and v are its moments (m the velocity).
function stepOf(rule: Rule, rate: number, t: number, g: number, m: number[], v: number[], i: number): number {
  if (rule.kind === 'sgd') return -rate * g
  if (rule.kind === 'momentum') {
    const { beta, nesterov, rateOutside } = rule
    m[i] = rateOutside ? beta * m[i]! + g : beta * m[i]! - rate * g
    if (rateOutside) return -rate * (nesterov ? g + beta * m[i] : m[i])
    return nesterov ? beta * m[i] - rate * g : m[i]
  }
  const { beta1, beta2, eps } = rule
  m[i] = beta1 * m[i]! + (1 - beta1) * g
  v[i] = beta2 * v[i]! + (1 - beta2) * g * g
  return (-rate * (m[i] / (1 - beta1 ** t))) / (Math.sqrt(v[i] / (1 - beta2 ** t)) + eps)
}

export const adam = { kind: 'adam', beta1: 0.9, beta2: 0.999, eps: 1e-8 } as const
export const momentum = { kind: 'momentum', beta: 0.9, nesterov: false, rateOutside: false } as const

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
