// Every question of every row of the table (cases.ts). `npm test -- -t softmax` asks all of them of one op.
import { describe, expect, it } from 'vitest'
import { device, machine } from '../../src/device.js'
import type { TypedArray } from '../../src/dtype.js'
import { tensor } from '../../src/index.js'
import { opTable } from '../../src/op.js'
import { passNames } from '../../src/passes.js'
import { sizeOf } from '../../src/shape.js'
import { cases } from './cases.js'
import {
  asNd,
  bitsDiffer,
  type Case,
  evaluate,
  expectedOf,
  floatInputs,
  gradientsOffBy,
  inputsOf,
  integerInputsOf,
  listOf,
  offBy,
  onCpu,
  onRef,
  recordRow,
  unit,
  weightsOf,
  worst,
} from './harness.js'
import { adam, everyRule, momentum, randomSetup, type Setup, type Trained, train, trainExactly } from './optimizer.js'

const fp64 = { device: onRef(), numerics: 'fp64' } as const

const remember = <T>(make: (row: Case) => T): ((row: Case) => T) => {
  const made = new WeakMap<Case, T>()
  return (row) => {
    if (!made.has(row)) made.set(row, make(row))
    return made.get(row)!
  }
}
const inputs = remember((row) => inputsOf(row))
const exact = remember((row) => expectedOf(row, inputs(row)))
const wide = remember((row) => evaluate(row, inputs(row), fp64))
const narrow = remember((row) => evaluate(row, inputs(row), { device: onCpu() }))

/** Elements of an input whose derivative is measured: all of a small one, some of a large one. */
function probes(size: number): number[] {
  const count = size <= 64 ? size : size <= 8192 ? 16 : 4
  return Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * size) / count))
}

/** Central differences of the weighted sum of the outputs, in double precision, against the recorded gradient. */
function gradientDiffers(row: Case): string | undefined {
  const { program, run } = recordRow(row, fp64, false)
  const outputsAt = (data: readonly ArrayLike<number>[]): TypedArray[] =>
    run(data)[0]!.slice(0, row.differentiable ?? Number.POSITIVE_INFINITY)
  const weights = outputsAt(inputs(row)).map((output, i) => weightsOf(output.length, i))
  const { gradients } = wide(row)
  for (const [g, at] of floatInputs(row).entries()) {
    const data: ArrayLike<number>[] = [...inputs(row)]
    const moved = Float64Array.from(inputs(row)[at]!)
    data[at] = moved
    const points = probes(moved.length)
    const measured = points.map((i) => {
      const x = moved[i]!
      const h = 1e-5 * Math.max(1, Math.abs(x))
      moved[i] = x + h
      const up = outputsAt(data)
      moved[i] = x - h
      const down = outputsAt(data)
      moved[i] = x
      let difference = 0
      up.forEach((values, o) => {
        if (values instanceof Int32Array) return
        for (let j = 0; j < values.length; j++) difference += weights[o]![j]! * (values[j]! - down[o]![j]!)
      })
      return difference / (x + h - (x - h))
    })
    const recorded = points.map((i) => gradients[g]![i]!)
    const largest = Math.max(...recorded.map(Math.abs))
    const text = worst(`gradient of input ${at}, probe`, recorded, measured, () => 3e-7 * largest + 1e-9)
    if (text) return text
  }
  program.close()
  return undefined
}

function everything({ outputs, gradients }: { outputs: TypedArray[]; gradients: TypedArray[] }): TypedArray[] {
  return [...outputs, ...gradients]
}

const isas = machine().isas as ('avx512' | 'avx2' | 'base')[]

describe.each(cases.map((row) => [`${row.op}: ${row.name}`, row] as const))('%s', (_, row) => {
  it('is the formula, in double precision', () => {
    expect(wide(row).outputs.length).toBe(exact(row).length)
    expect(offBy({ ...row, tolerance: { ...row.tolerance, c: 64 } }, wide(row).outputs, exact(row), 2 ** -53)).toBe(
      undefined,
    )
  })

  if (row.gradient === 'central') {
    it('has the gradient that central differences measure', () => {
      expect(gradientDiffers(row)).toBe(undefined)
    })
  } else if (row.gradient.asking === 'throws') {
    it(`refuses a gradient: ${row.gradient.none}`, () => {
      expect(() => recordRow(row, fp64, true)).toThrow('has no derivative')
    })
  } else if (row.gradient.asking === 'gives zeros') {
    it(`has a gradient of zeros: ${row.gradient.none}`, () => {
      for (const gradient of evaluate(row, inputs(row), fp64, true).gradients) {
        expect(gradient.every((g) => g === 0)).toBe(true)
      }
    })
  } else {
    it(`has no gradient to ask for: ${row.gradient.none}`, () => {
      const { outputs } = wide(row)
      expect(floatInputs(row).length === 0 || outputs.every((t) => t instanceof Int32Array)).toBe(true)
    })
  }

  it('is right in fp32 on the CPU, its gradient too', () => {
    expect(offBy(row, narrow(row).outputs, exact(row))).toBe(undefined)
    expect(gradientsOffBy(row, narrow(row).gradients, wide(row).gradients)).toBe(undefined)
  })

  it('needs no plan', () => {
    const apart = evaluate(row, inputs(row), { device: onCpu(), plan: 'none' })
    expect(bitsDiffer('result', everything(narrow(row)), everything(apart))).toBe(undefined)
  })

  it('needs no passes', () => {
    for (const without of [...passNames.map((name) => [name]), passNames]) {
      const plain = evaluate(row, inputs(row), { device: onCpu(), without })
      expect(bitsDiffer(`without ${without}, result`, everything(narrow(row)), everything(plain))).toBe(undefined)
    }
  })

  if (row.fuses) {
    it(`fuses ${row.fuses.join(', ')}`, () => {
      const text = recordRow(row, { device: onCpu() }, true).program.print()
      const forward = recordRow(row, { device: onCpu() }, false).program.print()
      for (const name of row.fuses ?? []) expect(name.endsWith('Grad') ? text : forward).toMatch(`| ${name}`)
    })
  }

  it('is the same eagerly', () => {
    const eager = listOf(
      row.build(
        row.inputs.map(({ shape, dtype }, i) => {
          const data = inputs(row)[i]!
          return tensor(data, { shape, dtype })
        }),
      ),
    )
    expect(
      bitsDiffer(
        'output',
        narrow(row).outputs,
        eager.map((t) => t.data),
      ),
    ).toBe(undefined)
  })

  it('is the same on one, two and three threads', () => {
    const [one, two, three] = [1, 2, 3].map((threads) =>
      everything(evaluate(row, inputs(row), { device: device('cpu', { threads }) })),
    )
    expect(bitsDiffer('two threads, result', one!, two!)).toBe(undefined)
    expect(bitsDiffer('three threads, result', one!, three!)).toBe(undefined)
  })

  it(`is right with each instruction set (${isas.join(', ')})`, () => {
    for (const isa of isas) {
      const { outputs, gradients } = evaluate(row, inputs(row), { device: device('cpu', { isa }) })
      expect({ isa, text: offBy(row, outputs, exact(row)) }).toEqual({ isa, text: undefined })
      expect({ isa, text: gradientsOffBy(row, gradients, wide(row).gradients) }).toEqual({ isa, text: undefined })
    }
  })

  if (row.exactOnIntegers) {
    it('is exact on integers', () => {
      const data = integerInputsOf(row)
      const wanted = row.oracle(...asNd(row, data))
      const lists = (Array.isArray(wanted) ? wanted : [wanted]).map(({ values }) => values)
      for (const on of [onRef(), ...isas.map((isa) => device('cpu', { isa }))]) {
        const { outputs } = evaluate(row, data, { device: on }, false)
        outputs.forEach((output, i) => {
          expect(worst(`${on.describe()}: output ${i}`, output, lists[i]!, () => 0)).toBe(undefined)
        })
      }
    })
  }
})

// ---- Updates: ops that change memory, so they have no output to compare but what they leave behind ---------------------

const shapes = [[17], [5, 3], [1], [33]]
const large = [[301, 257], [9]]
const updates: { op: string; name: string; setup: Setup }[] = [
  { op: 'sgdUpdate', name: 'small', setup: randomSetup({ kind: 'sgd' }, shapes, 25) },
  { op: 'sgdUpdate', name: 'large', setup: randomSetup({ kind: 'sgd' }, large, 2) },
  { op: 'sgdUpdate', name: 'clipped by value', setup: randomSetup({ kind: 'sgd' }, shapes, 25, { clipValue: 0.5 }) },
  { op: 'momentumUpdate', name: 'rate inside', setup: randomSetup(momentum, shapes, 25) },
  { op: 'momentumUpdate', name: 'rate outside', setup: randomSetup({ ...momentum, rateOutside: true }, shapes, 25) },
  { op: 'momentumUpdate', name: 'nesterov', setup: randomSetup({ ...momentum, nesterov: true }, shapes, 25) },
  {
    op: 'momentumUpdate',
    name: 'nesterov, rate outside, large',
    setup: randomSetup({ ...momentum, nesterov: true, rateOutside: true }, large, 3),
  },
  { op: 'adamUpdate', name: 'small', setup: randomSetup(adam, shapes, 25) },
  { op: 'adamUpdate', name: 'large', setup: randomSetup(adam, large, 3) },
  { op: 'prepareUpdate', name: 'clipped by norm', setup: randomSetup(adam, shapes, 25, { maxNorm: 4 }) },
  {
    op: 'prepareUpdate',
    name: 'large, clipped by norm',
    setup: randomSetup({ kind: 'sgd' }, large, 3, { maxNorm: 10 }),
  },
  {
    op: 'advance',
    name: 'a rate that changes',
    setup: randomSetup(momentum, shapes, 25, { rate: (i) => 0.1 / (i + 1) }),
  },
]

for (const rule of everyRule.filter(({ kind }) => !['sgd', 'momentum', 'adam'].includes(kind))) {
  const name = 'centered' in rule && rule.centered ? 'centered' : 'small'
  updates.push({ op: `${rule.kind}Update`, name, setup: randomSetup(rule, shapes, 25) })
  updates.push({ op: `${rule.kind}Update`, name: `${name}, large`, setup: randomSetup(rule, large, 3) })
}
const settings = [
  { rate: 1, decay: 0.1, l1: 0.2, l2: 0 },
  { rate: 0.5, decay: 0, l1: 0, l2: 0.3 },
  { rate: 2, decay: 0.3, l1: 0.01, l2: 0.02 },
  { rate: 0, decay: 1, l1: 1, l2: 1 },
]
const grouped = { size: 4, rows: 3 }
updates.push(
  { op: 'sgdUpdate', name: 'penalties', setup: randomSetup({ kind: 'sgd' }, shapes, 25, { settings, clipValue: 0.5 }) },
  { op: 'adamUpdate', name: 'penalties and decay', setup: randomSetup(adam, shapes, 25, { settings }) },
  { op: 'countGroup', name: 'groups of four', setup: randomSetup(momentum, shapes, 26, { accumulate: grouped }) },
  { op: 'accumulateGradient', name: 'large', setup: randomSetup(adam, large, 9, { accumulate: grouped }) },
  { op: 'maxNorm', name: 'units', setup: randomSetup({ kind: 'sgd' }, shapes, 25, { unitNorm: 1.5 }) },
  { op: 'maxNorm', name: 'large', setup: randomSetup({ kind: 'sgd' }, large, 3, { unitNorm: 15 }) },
  { op: 'averageWeights', name: 'small', setup: randomSetup(momentum, shapes, 25, { average: 0.9 }) },
  { op: 'averageWeights', name: 'large', setup: randomSetup(adam, large, 9, { average: 0.7, accumulate: grouped }) },
)

const changedBits = (a: Trained, b: Trained): string | undefined => bitsDiffer('parameter', a.values, b.values)

describe.each(updates.map(({ op, name, setup }) => [`${op}: ${name}`, setup] as const))('%s', (_, setup) => {
  const wanted = trainExactly(setup)

  it.each(['ref', ...isas])('is the rule in float64, on %s', (where) => {
    const on = where === 'ref' ? onRef() : device('cpu', { isa: where as 'avx2' })
    const { values, norms, state } = train(setup, { device: on })
    const steps = setup.gradients.length
    values.forEach((list, p) => {
      // Each step rounds the moments and the parameter.
      const bound = (i: number): number => 8 * unit * Math.sqrt(steps) * wanted.terms[p]![i]!
      expect(worst(`parameter ${p}`, list, wanted.values[p]!, bound)).toBe(undefined)
    })
    expect(worst('norm', norms, wanted.norms, (i) => 1e-6 * wanted.norms[i]!)).toBe(undefined)
    expect(state).toMatchObject({ step: steps, updates: wanted.updates, skipped: 0 })
  })

  it('does not depend on plan, passes or threads', () => {
    const one = train(setup, { device: device('cpu', { threads: 1 }) })
    expect(changedBits(one, train(setup, { device: device('cpu', { threads: 2 }) }))).toBe(undefined)
    expect(changedBits(one, train(setup, { device: device('cpu', { threads: 3 }) }))).toBe(undefined)
    expect(changedBits(one, train(setup, { device: onCpu(), plan: 'none' }))).toBe(undefined)
    expect(changedBits(one, train(setup, { device: onCpu(), without: passNames }))).toBe(undefined)
  })
})

// ---- The table itself --------------------------------------------------------------------------------------------------

describe('the table', () => {
  it('has a row for every op', () => {
    const covered = new Set([...cases, ...updates].map(({ op }) => op))
    const missing = [...opTable().keys()].filter((name) => !covered.has(name))
    expect(missing).toEqual([])
  })

  it('has no two rows of one title', () => {
    const titles = cases.map(({ op, name }) => `${op}: ${name}`)
    expect(titles.filter((title, i) => titles.indexOf(title) !== i)).toEqual([])
  })

  it('has rows in every family that are split between threads', () => {
    for (const op of ['add', 'sum', 'matmul', 'conv2d', 'maxPool2d', 'batchNorm', 'softmax', 'gather', 'dropout']) {
      const largest = Math.max(...cases.filter((row) => row.op === op).map((row) => sizeOf(row.inputs[0]!.shape)))
      expect({ op, enough: largest > 8000 }).toEqual({ op, enough: true })
    }
  })
})
