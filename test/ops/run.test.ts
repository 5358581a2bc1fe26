// Every question of every row of the table (cases.ts). `npm test -- -t softmax` asks all of them of one op.
import { describe, expect, it } from 'vitest'
import { device } from '../../src/device.js'
import { power, table } from '../../src/index.js'
import { opTable } from '../../src/op.js'
import { passNames } from '../../src/passes/index.js'
import { sizeOf } from '../../src/shape.js'
import { cases } from './cases.js'
import { bitsDiffer, onCpu, onRef, unit, worst } from './harness.js'
import { adam, everyRule, momentum, randomSetup, type Setup, type Trained, train, trainExactly } from './optimizer.js'
import { askEverything, isas } from './questions.js'

askEverything(cases)

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
  {
    op: 'scheduleRate',
    name: 'power',
    setup: randomSetup(momentum, shapes, 25, { rate: (i) => 0.1 / (1 + i / 5), schedule: power({ r: 5 }) }),
  },
  {
    op: 'scheduleRate',
    name: 'table',
    setup: randomSetup(adam, shapes, 25, {
      rate: (i) => [0.5, 0.25, 0.125][i] ?? 0.125,
      schedule: table([0.5, 0.25, 0.125]),
    }),
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
