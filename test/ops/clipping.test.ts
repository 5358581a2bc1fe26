// Clipping by global norm and by value, and gradients that are not finite.
import { describe, expect, it } from 'vitest'
import { ops, read, readStep, record, stepState, write, writeStep } from '../../src/index.js'
import { Region } from '../../src/tensor.js'
import { everyDevice } from './harness.js'
import { adam, randomSetup, type Setup, train } from './optimizer.js'

const norm = (lists: readonly ArrayLike<number>[]): number =>
  Math.sqrt(lists.reduce((total, list) => total + Array.from(list).reduce((s, x) => s + x * x, 0), 0))

// With rate 1 and a start at 0, one step of sgd leaves the negative of the gradient that was applied.
const once = (gradients: readonly ArrayLike<number>[], rest: Partial<Setup>): Setup => ({
  rule: { kind: 'sgd' },
  shapes: gradients.map((g) => [g.length]),
  rate: () => 1,
  start: gradients.map((g) => new Float32Array(g.length)),
  gradients: [gradients],
  ...rest,
})

const random = randomSetup({ kind: 'sgd' }, [[1000], [33], [1]], 1).gradients[0]!

describe.each(everyDevice())('on $name', ({ on }) => {
  const options = { device: on }

  it.each([0.5, 5, 30])('clips the global norm to %f and reports the norm before', (limit) => {
    const { values, state } = train(once(random, { maxNorm: limit }), options)
    expect(norm(values)).toBeLessThanOrEqual(limit * (1 + 1e-6))
    expect(norm(values)).toBeGreaterThan(limit * (1 - 1e-5))
    expect(Math.abs(state.gradNorm / norm(random) - 1)).toBeLessThan(1e-6)
    // The direction stays.
    const factor = limit / norm(random)
    values.forEach((list, p) => {
      list.forEach((v, i) => {
        expect(Math.abs(v + factor * random[p]![i]!)).toBeLessThan(1e-6)
      })
    })
  })

  it('leaves a gradient below the limit as it is, bit for bit', () => {
    const plain = train(once(random, {}), options)
    const limited = train(once(random, { maxNorm: 1000 }), options)
    expect(limited.values).toEqual(plain.values)
    expect(limited.state.gradNorm).toBe(plain.state.gradNorm)
    expect(plain.state.gradNorm).toBeGreaterThan(30)
  })

  it('a gradient of zeros has norm 0 and is no division by 0', () => {
    const { values, state } = train(once([[0, 0, 0]], { maxNorm: 1 }), options)
    expect([...values[0]!, state.gradNorm, state.skipped]).toEqual([0, 0, 0, 0, 0])
  })

  it('takes one norm over the gradients of several regions', () => {
    const step = stepState('step')
    const regions = ['a', 'b'].map((name) => new Region('param', name))
    const variables = regions.map((region) => region.add('w', [2], 'float32'))
    const program = record(
      ({ g, h }) => {
        const flats = [g, h].map((gradient, i) =>
          ops.collectGradients(regions[i]!, [{ variable: variables[i]!, gradient }]),
        )
        ops.prepareUpdate(step, flats, 1)
        flats.forEach((flat, i) => {
          ops.sgdUpdate(regions[i]!.flat(), flat, step)
        })
        return []
      },
      { g: [2], h: [2] },
      options,
    )
    for (const variable of variables) write(variable, [0, 0], on)
    writeStep(step, { rate: 1 }, on)
    program.runSync({ g: [1, 2], h: [4, 2] })
    expect(readStep(step).gradNorm).toBe(5)
    const wanted = [-1, -2, -4, -2].map((v) => expect.closeTo(v / 5, 6))
    expect(variables.flatMap((v) => Array.from(read(v)))).toEqual(wanted)
  })

  it('clips by value', () => {
    const { values } = train(once([[-3, -0.5, 0, 0.25, 7]], { clipValue: 0.5 }), options)
    expect(Array.from(values[0]!)).toEqual([0.5, 0.5, 0, -0.25, -0.5].map((v) => v + 0))
  })

  it('clips by norm first, then by value', () => {
    // Norm 5 becomes 1: [0.6, 0.8]; then 0.8 becomes 0.7.
    const { values } = train(once([[3, 4]], { maxNorm: 1, clipValue: 0.7 }), options)
    expect(Array.from(values[0]!)).toEqual([-0.6, -0.7].map((v) => expect.closeTo(v, 6)))
  })

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    'leaves out the update where a gradient is %f, and counts it',
    (bad) => {
      const good = randomSetup(adam, [[17], [5]], 3)
      const spoiled = [good.gradients[0]!, [new Float32Array(17), Float32Array.of(0, 0, 0, bad, 0)]]
      // Two good steps with a spoiled one between them are two good steps.
      const clean = train({ ...good, gradients: good.gradients.slice(0, 2) }, options)
      const { values, state, norms } = train(
        { ...good, gradients: [spoiled[0]!, spoiled[1]!, good.gradients[1]!] },
        options,
      )
      expect(values).toEqual(clean.values)
      expect(state).toMatchObject({ step: 3, updates: 2, skipped: 1 })
      expect(Number.isFinite(norms[1])).toBe(false)
      expect(Number.isFinite(norms[2])).toBe(true)
    },
  )
})
