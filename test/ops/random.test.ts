// Random numbers: known answers of the generator, its distributions, dropout, and what may and may not repeat.
import { describe, expect, it } from 'vitest'
import { grad, ops, readStep, record, stepState, type Tensor } from '../../src/index.js'
import { everyDevice } from './harness.js'
import { fraction, philox, randomBits } from './oracle.js'

// The known answers published with Philox4x32-10 (Random123, kat_vectors).
it.each([
  [
    [0, 0, 0, 0],
    [0, 0],
    [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
  ],
  [
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    [0xffffffff, 0xffffffff],
    [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  ],
  [
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    [0xa4093822, 0x299f31d0],
    [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  ],
])('philox of %j under key %j is %j', (counter, key, wanted) => {
  expect(philox(counter, key)).toEqual(wanted)
})

const count = 40_000
const mean = (list: ArrayLike<number>): number => Array.from(list).reduce((a, b) => a + b, 0) / list.length
/** Share of elements for which f holds. */
const share = (list: ArrayLike<number>, f: (v: number, i: number) => boolean): number =>
  Array.from(list).filter(f).length / list.length
/** Three standard deviations of a share p of n. */
const spread = (p: number, n = count): number => 3 * Math.sqrt((p * (1 - p)) / n)

describe.each(everyDevice())('on $name', ({ on }) => {
  const draw = (fn: () => Tensor, seed = 1, steps = 1): Float32Array[] => {
    const program = record(() => ({ y: fn() }), {}, { device: on, seed })
    const results = [...program.runManySync(steps)].map(({ y }) => y.data as Float32Array)
    program.close()
    return results
  }
  const uniform = (): Tensor => ops.randomUniform([count])

  it('draws the numbers of the generator, step by step', () => {
    const program = record(() => [ops.randomUniform([9]), ops.randomUniform([9])], {}, { device: on, seed: 77 })
    for (let step = 1; step <= 3; step++) {
      const got = program.runSync().map(({ data }) => Array.from(data))
      const wanted = [0, 1].map((stream) => randomBits({ seed: 77, step }, stream, 'uniform', 9).map(fraction))
      expect(got).toEqual(wanted)
    }
    expect(readStep(program.step)).toMatchObject({ seed: 77, step: 3 })
  })

  it('uniform numbers fill [low, high) evenly', () => {
    const [x] = draw(() => ops.randomUniform([count], -3, 5))
    expect(Math.min(...x!)).toBeGreaterThanOrEqual(-3)
    expect(share(x!, (v) => v >= -3 && v < 5)).toBe(1)
    for (const p of [0.01, 0.25, 0.5, 0.9])
      expect(Math.abs(share(x!, (v) => v < -3 + 8 * p) - p)).toBeLessThan(spread(p))
  })

  it('uniform numbers never reach the upper end by rounding', () => {
    const [x] = draw(() => ops.randomUniform([count], 1, 1 + 2 ** -22))
    const [low, high] = [1, 1 + 2 ** -22]
    expect(share(x!, (v) => v >= low && v < high)).toBe(1)
  })

  it('normal numbers are normal', () => {
    const [x] = draw(() => ops.randomNormal([count], 2, 0.5))
    const z = x!.map((v) => (v - 2) / 0.5)
    expect(Math.abs(mean(z))).toBeLessThan(3 / Math.sqrt(count))
    expect(Math.abs(mean(z.map((v) => v * v)) - 1)).toBeLessThan(3 * Math.sqrt(2 / count))
    expect(Math.abs(mean(z.map((v) => v ** 4)) - 3)).toBeLessThan(3 * Math.sqrt(96 / count))
    // The distribution at 0, 1, 2 and 3 deviations.
    const below: [number, number][] = [
      [0, 0.5],
      [1, 0.841345],
      [2, 0.97725],
      [-3, 0.00135],
    ]
    for (const [at, p] of below) expect(Math.abs(share(z, (v) => v < at) - p)).toBeLessThan(spread(p))
    // Neighbours share a radius but nothing else.
    expect(Math.abs(mean(z.map((v, i) => (i % 2 === 0 ? v * z[i + 1]! : 0))))).toBeLessThan(3 / Math.sqrt(count))
  })

  it('same seed, same numbers; another seed, step or stream, others', () => {
    const [[a], [b], [c]] = [draw(uniform, 5), draw(uniform, 5), draw(uniform, 6)] as [
      Float32Array[],
      Float32Array[],
      Float32Array[],
    ]
    expect(a).toEqual(b)
    const [first, second] = draw(uniform, 5, 2)
    expect(first).toEqual(a)
    const program = record(() => [uniform(), uniform()], {}, { device: on, seed: 5 })
    const [, stream] = program.runSync().map(({ data }) => data)
    for (const other of [c!, second!, stream!]) {
      expect(share(a!, (v, i) => v === other[i])).toBeLessThan(0.001)
      // Uncorrelated: the product of two centred uniform numbers has variance 1/144.
      const product = mean(a!.map((v, i) => (v - 0.5) * (other[i]! - 0.5)))
      expect(Math.abs(product)).toBeLessThan(3 / 12 / Math.sqrt(count))
    }
  })

  it('a step state shared by two programs goes on counting', () => {
    const step = stepState('shared', { seed: 9 })
    const programs = [1, 2].map(() => record(() => ops.randomUniform([5]), {}, { device: on, step }))
    const drawn = [programs[0]!, programs[1]!, programs[0]!].map((program) => Array.from(program.runSync().data))
    for (let i = 0; i < 3; i++) {
      expect(drawn[i]).toEqual(randomBits({ seed: 9, step: i + 1 }, 0, 'uniform', 5).map(fraction))
    }
  })

  describe('dropout', () => {
    const rate = 0.3
    const dropped = (seed = 1, steps = 1): Float32Array[] =>
      draw(() => ops.dropout(ops.fill([count], 2), rate, {}), seed, steps)

    it('keeps its share, scales what it keeps, and keeps the expectation', () => {
      const [y] = dropped()
      const kept = Math.fround(2 / (1 - rate))
      expect(share(y!, (v) => v === 0 || Math.abs(v - kept) < 1e-6)).toBe(1)
      expect(Math.abs(share(y!, (v) => v !== 0) - (1 - rate))).toBeLessThan(spread(rate))
      expect(Math.abs(mean(y!) - 2)).toBeLessThan((2 / (1 - rate)) * spread(rate))
    })

    it('draws a new mask in each step, the same for the same seed', () => {
      const [first, second] = dropped(3, 2)
      expect(dropped(3)[0]).toEqual(first)
      const agreement = (1 - rate) ** 2 + rate ** 2
      const agreeing = share(first!, (v, i) => (v === 0) === (second![i] === 0))
      expect(Math.abs(agreeing - agreement)).toBeLessThan(spread(agreement))
      const [another] = dropped(4)
      const other = share(first!, (v, i) => (v === 0) === (another![i] === 0))
      expect(Math.abs(other - agreement)).toBeLessThan(spread(agreement))
    })

    it('uses the mask of the forward pass in its derivative', () => {
      const program = record(
        ({ x }) => {
          const y = ops.dropout(ops.dropout(x, rate), 0.5)
          return [y, ...grad(ops.sum(y), [x])]
        },
        { x: [count] },
        { device: on, seed: 8 },
      )
      const [y, g] = program.runSync({ x: new Float32Array(count).fill(1) }).map(({ data }) => data)
      expect(g).toEqual(y)
      expect(Math.abs(share(y!, (v) => v !== 0) - 0.35)).toBeLessThan(spread(0.35))
    })

    it('does nothing at rate 0 and refuses rate 1', () => {
      const program = record(({ x }) => ops.dropout(x, 0), { x: [3] }, { device: on })
      expect(Array.from(program.runSync({ x: [1, 2, 3] }).data)).toEqual([1, 2, 3])
      expect(() => record(({ x }) => ops.dropout(x, 1), { x: [3] })).toThrow('rate of dropout but received 1')
    })
  })
})
