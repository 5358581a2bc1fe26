// Runs a row of the table: on a device, in a number type, with or without plan and passes, forward and gradient. It asks
// no question itself.
import { type Device, device, machine } from '../../src/device.js'
import type { TypedArray } from '../../src/dtype.js'
import { grad, ops, record, stepState, type Tensor, type Variable, write } from '../../src/index.js'
import type { Program, ProgramOptions } from '../../src/program.js'
import { fill, type Input, integers, normal } from './data.js'
import type { Exact, Nd } from './oracle.js'

export interface Case {
  readonly op: string
  readonly name: string
  readonly inputs: readonly Input[]
  readonly build: (inputs: Tensor[]) => Tensor | Tensor[]
  /** The outputs in float64, from the same numbers. */
  readonly oracle: (...inputs: Nd[]) => Exact | Exact[]
  /** |got - exact| <= c * 2^-24 * sqrt(K) * terms, for fp32 on any device. */
  readonly tolerance: { readonly c: number; readonly K: number }
  readonly gradient: 'central' | { readonly none: string; readonly asking: 'throws' | 'gives zeros' | 'is impossible' }
  /** The longest sum of the gradient, whose error is measured against its largest element. Default: K. */
  readonly gradientK?: number
  /** Size of the terms of the gradient where they cancel each other. Default: that of its largest element. */
  readonly gradientTerms?: number
  /** How many of the outputs the gradient is asked of. Default: all float outputs. */
  readonly differentiable?: number
  /** Integer data gives integers, exactly. */
  readonly exactOnIntegers?: boolean
  /** A pass makes these results by sums in another order than the ops alone: equal within the tolerance, not bit for bit. */
  readonly sumsElsewhere?: boolean
  /** A pass changes the last bits: results with and without it agree within the tolerance only. */
  readonly passesRound?: boolean
  /** Epilogues that must appear in the program and its gradient. */
  readonly fuses?: readonly string[]
  /** Class of its programs, but for those in double precision. Default 'fp32'. */
  readonly numerics?: 'fast' | 'tf32' | 'bf16'
}

export const unit = 2 ** -24
/** Results below the smallest normal number are flushed to 0. */
export const smallest = 2 ** -126

export const onRef = (): Device => device('ref')
export const onCpu = (): Device => device('cpu')

export const inputsOf = (row: Case, seed = 1): TypedArray[] => row.inputs.map((input, i) => fill(input, seed + 101 * i))

/** The row's operands with integers in place of random floats. */
export const integerInputsOf = (row: Case): TypedArray[] =>
  row.inputs.map((input, i) =>
    fill(input.dtype === 'float32' ? { ...input, make: integers(input.shape).make } : input, 7 + i),
  )

export const asNd = (row: Case, data: readonly TypedArray[]): Nd[] =>
  row.inputs.map(({ shape }, i) => ({ shape, data: data[i]! }))

export function expectedOf(row: Case, data: readonly TypedArray[]): Exact[] {
  const exact = row.oracle(...asNd(row, data))
  return Array.isArray(exact) ? exact : [exact]
}

export const listOf = (outputs: Tensor | Tensor[]): Tensor[] => (Array.isArray(outputs) ? outputs : [outputs])

/** A fixed random weight for every element of an output: their weighted sum is the loss whose gradient is asked for. */
export const weightsOf = (size: number, output: number): TypedArray => fill(normal([size]), 5000 + output)

/** Positions of the inputs a gradient can be asked of. */
export const floatInputs = (row: Case): number[] =>
  row.inputs.flatMap(({ dtype, isStep }, i) => (dtype === 'float32' && !isStep ? [i] : []))

type Options = ProgramOptions & { readonly device: Device }

interface Recorded {
  readonly program: Program<Record<string, { shape: readonly number[]; dtype: Input['dtype'] }>, Tensor[][]>
  readonly run: (data: readonly TypedArray[] | readonly ArrayLike<number>[]) => TypedArray[][]
}

/** The row as a program: its outputs, and the gradients of their weighted sum where `withGradient`. */
export function recordRow(row: Case, options: Options, withGradient: boolean): Recorded {
  const steps = new Map<number, Variable>()
  row.inputs.forEach(({ isStep }, i) => {
    if (isStep) steps.set(i, stepState(`step${i}`))
  })
  const specs = Object.fromEntries(
    row.inputs.flatMap(({ shape, dtype }, i) => (steps.has(i) ? [] : [[`x${i}`, { shape, dtype }]])),
  )
  // The shapes of the outputs are known only while recording, but their weights are inputs: record twice.
  const weightSpecs: Record<string, { shape: readonly number[]; dtype: Input['dtype'] }> = {}
  const operands = (given: Readonly<Record<string, Tensor>>): Tensor[] =>
    row.inputs.map((_, i) => steps.get(i) ?? given[`x${i}`]!)
  if (withGradient) {
    record((given) => {
      listOf(row.build(operands(given))).forEach(({ shape, dtype }, i) => {
        if (dtype === 'float32' && i < (row.differentiable ?? Number.POSITIVE_INFINITY)) {
          weightSpecs[`w${i}`] = { shape, dtype }
        }
      })
      return []
    }, specs)
  }
  const program = record(
    (given) => {
      const inputs = operands(given)
      const outputs = listOf(row.build(inputs))
      if (!withGradient) return [outputs, []]
      const parts = Object.keys(weightSpecs).map((name) =>
        ops.sum(ops.mul(outputs[Number(name.slice(1))]!, given[name]!)),
      )
      const loss = parts.reduce((a, b) => ops.add(a, b))
      return [
        outputs,
        grad(
          loss,
          floatInputs(row).map((i) => inputs[i]!),
        ),
      ]
    },
    { ...specs, ...weightSpecs },
    { name: row.op, ...(row.numerics && { numerics: row.numerics }), ...options },
  )
  const weights = Object.fromEntries(
    Object.entries(weightSpecs).map(([name, { shape }]) => [
      name,
      weightsOf(
        shape.reduce((a, b) => a * b, 1),
        Number(name.slice(1)),
      ),
    ]),
  )
  const run = (data: readonly ArrayLike<number>[]): TypedArray[][] => {
    for (const [i, state] of steps) write(state, data[i]!, options.device)
    const given = Object.fromEntries(data.flatMap((values, i) => (steps.has(i) ? [] : [[`x${i}`, values]])))
    return program.runSync({ ...given, ...weights }).map((list) => list.map((t) => t.data))
  }
  return { program, run }
}

/** Outputs and gradients of one run. */
export function evaluate(
  row: Case,
  data: readonly TypedArray[],
  options: Options,
  withGradient = row.gradient === 'central',
): { outputs: TypedArray[]; gradients: TypedArray[] } {
  const { program, run } = recordRow(row, options, withGradient)
  const [outputs, gradients] = run(data) as [TypedArray[], TypedArray[]]
  program.close()
  return { outputs, gradients }
}

// ---- Comparisons: each gives a text that says where two results differ most, or undefined -----------------------------

export function worst(
  what: string,
  got: ArrayLike<number>,
  wanted: ArrayLike<number>,
  bound: (i: number) => number,
): string | undefined {
  if (got.length !== wanted.length) return `${what}: ${got.length} elements, expected ${wanted.length}`
  let worstRatio = 1
  let text: string | undefined
  for (let i = 0; i < got.length; i++) {
    const [a, b] = [got[i]!, wanted[i]!]
    if (a === b || Object.is(a, b)) continue
    const ratio = Math.abs(a - b) / bound(i)
    if (ratio <= worstRatio) continue
    worstRatio = Number.isNaN(ratio) ? Number.POSITIVE_INFINITY : ratio
    text = `${what}[${i}]: received ${a}, expected ${b} (${worstRatio.toPrecision(3)} times the bound ${bound(i)})`
    if (worstRatio === Number.POSITIVE_INFINITY) return text
  }
  return text
}

/** Within c u sqrt(K) terms of the exact result. */
export function offBy(
  row: Case,
  outputs: readonly TypedArray[],
  exact: readonly Exact[],
  u = unit,
): string | undefined {
  const { c, K } = row.tolerance
  return first(outputs, (output, i) => {
    const { values, terms } = exact[i]!
    if (output instanceof Int32Array) return worst(`output ${i}`, output, values, () => 0)
    return worst(`output ${i}`, output, values, (j) => c * u * Math.sqrt(K) * terms[j]! + smallest)
  })
}

/** Gradients: within c u sqrt(K) of the largest element of each. */
export function gradientsOffBy(
  row: Case,
  got: readonly TypedArray[],
  wanted: readonly TypedArray[],
): string | undefined {
  const { c, K } = row.tolerance
  return first(got, (g, i) => {
    const largest = (wanted[i] as Float64Array).reduce((most, v) => Math.max(most, Math.abs(v)), row.gradientTerms ?? 0)
    const bound = c * unit * Math.sqrt(row.gradientK ?? K) * largest + smallest
    return worst(`gradient ${i}`, g, wanted[i]!, () => bound)
  })
}

export function bitsDiffer(what: string, a: readonly TypedArray[], b: readonly TypedArray[]): string | undefined {
  return first(a, (x, i) => {
    const y = b[i]!
    const bytes = (t: TypedArray): Buffer => Buffer.from(t.buffer, t.byteOffset, t.byteLength)
    if (bytes(x).equals(bytes(y))) return undefined
    const different = Array.from(x.keys()).filter((j) => !Object.is(x[j], y[j]))
    const at = different[0] ?? 0
    return `${what} ${i} differs in ${different.length} of ${x.length} elements, first at ${at}: ${x[at]} and ${y[at]}`
  })
}

function first<T>(list: readonly T[], f: (item: T, i: number) => string | undefined): string | undefined {
  for (const [i, item] of list.entries()) {
    const text = f(item, i)
    if (text) return text
  }
  return undefined
}

// ---- For tests of single values ----------------------------------------------------------------------------------------

/** Devices whose numbers people see: the oracle, every instruction set of this machine, and the mode that is equal on all. */
export function everyDevice(): { name: string; on: Device }[] {
  const isas = machine().isas as ('avx512' | 'avx2' | 'base')[]
  return [
    { name: 'ref', on: onRef() },
    ...isas.map((isa) => ({ name: isa, on: device('cpu', { isa }) })),
    { name: 'portable', on: device('cpu', { numerics: 'portable' }) },
  ]
}

/** Runs a function of eager tensors as one program and gives the elements of its results. */
export function compute(
  fn: (...inputs: Tensor[]) => Tensor | Tensor[],
  inputs: readonly Tensor[],
  options: ProgramOptions = {},
): TypedArray[] {
  const specs = Object.fromEntries(inputs.map(({ shape, dtype }, i) => [`x${i}`, { shape, dtype }]))
  const program = record((given) => listOf(fn(...inputs.map((_, i) => given[`x${i}`]!))), specs, options)
  const results = program.runSync(Object.fromEntries(inputs.map(({ data }, i) => [`x${i}`, data])))
  program.close()
  return results.map(({ data }) => data)
}
