// Activations and losses against PyTorch: values and gradients for the configurations and extreme inputs of
// test/fixtures/make_losses.py, in double precision on the oracle and in single precision on every instruction set.
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import * as gradline from '../../src/index.js'
import { grad, type Loss, ops, record, type Tensor } from '../../src/index.js'
import { type Layer, Scope, Weights } from '../../src/layers/layer.js'
import type { ProgramOptions } from '../../src/program.js'
import type { Variable } from '../../src/tensor.js'
import { everyDevice, onRef, smallest, unit, worst } from '../ops/harness.js'

interface Numbers {
  readonly shape: readonly number[]
  readonly data: readonly number[]
}

interface Activation {
  readonly name: string
  readonly args: readonly unknown[]
  readonly x: Numbers
  readonly alpha?: Numbers
  readonly dy: Numbers
  readonly y: Numbers
  readonly dx: Numbers
  readonly dalpha?: Numbers
}

interface LossCase {
  readonly name: string
  readonly options: object
  readonly prediction: Numbers
  readonly target: Numbers
  readonly integer: boolean
  readonly weights: Numbers
  readonly value: Numbers
  readonly dprediction: Numbers
}

const file = new URL('../fixtures/losses.json', import.meta.url)
const fixtures = JSON.parse(readFileSync(file, 'utf8')) as { activations: Activation[]; losses: LossCase[] }
const makers = gradline as unknown as Record<string, (...args: unknown[]) => unknown>

/** Gives the layer the tensor of the test as its only parameter. */
class GivenScope extends Scope {
  readonly #given: Tensor | undefined

  constructor(given: Tensor | undefined) {
    super(new Weights(), 'predict')
    this.#given = given
  }

  override param(): Variable {
    return this.#given as Variable
  }
}

const float = ({ shape }: Numbers) => ({ shape, dtype: 'float32' as const })
const rounded = ({ data }: Numbers): Float32Array => Float32Array.from(data)

function runActivation({ name, args, x, alpha, dy }: Activation, options: ProgramOptions): ArrayLike<number>[] {
  const layer = makers[name]!(...args) as Layer
  const specs = { x: float(x), dy: float(dy), ...(alpha ? { alpha: float(alpha) } : {}) }
  const program = record(
    (given: Record<string, Tensor>) => {
      const y = layer(given.x!, new GivenScope(given.alpha))
      const wrt = alpha ? [given.x!, given.alpha!] : [given.x!]
      return [y, ...grad(ops.sum(ops.mul(y, given.dy!)), wrt)]
    },
    specs as Record<string, ReturnType<typeof float>>,
    options,
  )
  const results = program.runSync({ x: rounded(x), dy: rounded(dy), ...(alpha ? { alpha: rounded(alpha) } : {}) })
  program.close()
  return results.map(({ data }) => data)
}

function runLoss(fixture: LossCase, options: ProgramOptions): ArrayLike<number>[] {
  const { prediction, target, integer, weights } = fixture
  const loss = makers[fixture.name]!(fixture.options) as Loss
  const program = record(
    ({ x, t, w }) => {
      const value = loss(x, t)
      return [value, ...grad(ops.sum(ops.mul(value, w)), [x])]
    },
    {
      x: float(prediction),
      t: { shape: target.shape, dtype: integer ? ('int32' as const) : ('float32' as const) },
      w: float(weights),
    },
    options,
  )
  const t = integer ? Int32Array.from(target.data) : rounded(target)
  const results = program.runSync({ x: rounded(prediction), t, w: rounded(weights) })
  program.close()
  return results.map(({ data }) => data)
}

const largest = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((most, v) => Math.max(most, Math.abs(v)), 0)

/** Nine digits in double precision; in single precision 16 roundings of the largest element. */
function compare(what: string, got: ArrayLike<number>, { data }: Numbers, u: number, scale = 0): string | undefined {
  const size = Math.max(scale, largest(data))
  return worst(what, got, data, (i) => (u === unit ? 16 * u * size : 1e-9 * Math.abs(data[i]!) + 1e-12 * size) + 1e-37)
}

/** In single precision inputs below the smallest normal number count as 0, where some functions have a kink. */
function beyondFlushed(derivative: ArrayLike<number>, wanted: Numbers, x: Numbers, u: number): ArrayLike<number> {
  const flushed = (i: number): boolean => u === unit && x.data[i] !== 0 && Math.abs(x.data[i]!) < smallest
  return Array.from(derivative, (value, i) => (flushed(i) ? wanted.data[i]! : value))
}

const devices = [
  { name: 'ref in double precision', options: { device: onRef(), numerics: 'fp64' } as const, u: 2 ** -53 },
  ...everyDevice().map(({ name, on }) => ({ name, options: { device: on } as const, u: unit })),
]

const title = (fixture: { name: string }, ...rest: unknown[]): string =>
  `${fixture.name} ${rest.map((part) => JSON.stringify(part)).join(' ')}`

describe.each(devices)('on $name', ({ options, u }) => {
  const known = fixtures.activations.map((each) => ({ title: title(each, each.args, each.x.shape), each }))
  it.each(known)('$title', ({ each }) => {
    const [y, dx, dalpha] = runActivation(each, options) as [ArrayLike<number>, ArrayLike<number>, ArrayLike<number>]
    // Sums over the last axis are of terms as large as the inputs.
    const terms = each.name === 'logSoftmax' ? largest(each.x.data) : 1
    expect(compare('y', y, each.y, u, terms)).toBe(undefined)
    expect(compare('dx', beyondFlushed(dx, each.dx, each.x, u), each.dx, u, largest(each.dy.data))).toBe(undefined)
    if (each.dalpha) expect(compare('dalpha', dalpha, each.dalpha, u, largest(each.x.data))).toBe(undefined)
  })

  const losses = fixtures.losses.map((each, i) => ({ title: `${i}: ${title(each, each.options)}`, each }))
  it.each(losses)('$title', ({ each }) => {
    const [value, dprediction] = runLoss(each, options) as [ArrayLike<number>, ArrayLike<number>]
    expect(compare('value', value, each.value, u, 1)).toBe(undefined)
    const gradient = beyondFlushed(dprediction, each.dprediction, each.prediction, u)
    expect(compare('gradient', gradient, each.dprediction, u, largest(each.weights.data))).toBe(undefined)
  })
})
