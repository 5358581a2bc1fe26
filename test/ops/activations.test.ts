// What activations promise: slopes, symmetry, the value and derivative at 0, and numbers that are not finite.
import { describe, expect, it } from 'vitest'
import { grad, ops, type Tensor, tensor } from '../../src/index.js'
import { compute, everyDevice } from './harness.js'

/** f and its derivative at the given places. */
function withSlope(f: (x: Tensor) => Tensor, places: number[], options: Parameters<typeof compute>[2]) {
  const [values, slopes] = compute(
    (x) => {
      const y = f(x)
      return [y, ...grad(ops.sum(y), [x])]
    },
    [tensor(places)],
    options,
  )
  return { values: Array.from(values!), slopes: Array.from(slopes!) }
}

const grid = Array.from({ length: 2001 }, (_, i) => (i - 1000) / 100)

describe.each(everyDevice())('on $name', ({ on }) => {
  const options = { device: on }

  it('sigmoid is steepest at 0, with 0.25, and 0.5 on average over symmetric input', () => {
    const { values, slopes } = withSlope(ops.sigmoid, grid, options)
    expect(slopes[1000]).toBe(0.25)
    expect(Math.max(...slopes)).toBe(0.25)
    expect(Math.min(...slopes)).toBeGreaterThan(0)
    expect(values.reduce((a, b) => a + b, 0) / grid.length).toBeCloseTo(0.5, 6)
  })

  it('tanh is 2 / (1 + e^-2x) - 1, odd, and keeps the digits of small numbers', () => {
    const { values, slopes } = withSlope(ops.tanh, grid, options)
    grid.forEach((x, i) => {
      expect(Math.abs(values[i]! - (2 / (1 + Math.exp(-2 * x)) - 1))).toBeLessThan(3e-7)
      expect(values[i]! + values[2000 - i]!).toBe(0)
    })
    expect(slopes[1000]).toBe(1)
    for (const x of [1e-3, 1e-6, 1e-10, 1e-20]) {
      const [y] = withSlope(ops.tanh, [x], options).values
      expect(Math.abs(y! / Math.tanh(x) - 1)).toBeLessThan(3e-7)
    }
  })

  it('relu has the derivative 0 at 0', () => {
    expect(withSlope(ops.relu, [-1, -0, 0, 1e-30, 2], options)).toEqual({
      values: [0, 0, 0, Math.fround(1e-30), 2].map((v) => expect.closeTo(v, 40)),
      slopes: [0, 0, 0, 1, 1],
    })
  })

  it('leakyRelu is defined by the sign: slope 0.01 by default, and right above 1', () => {
    expect(withSlope((x) => ops.leakyRelu(x), [-100, 3], options)).toEqual({
      values: [-1, 3].map((v) => expect.closeTo(v, 6)),
      slopes: [0.01, 1].map((v) => expect.closeTo(v, 8)),
    })
    // max(x, 2x) would give -4 and 6.
    expect(withSlope((x) => ops.leakyRelu(x, 2), [-4, 3], options)).toEqual({ values: [-8, 3], slopes: [2, 1] })
  })

  it('elu with alpha 1 has a continuous derivative at 0 and saturates at -1', () => {
    const { values, slopes } = withSlope((x) => ops.elu(x), [-1e-4, 1e-4, -30], options)
    expect(values[0]).toBeCloseTo(Math.expm1(-1e-4), 10)
    expect(slopes[0]).toBeCloseTo(Math.exp(-1e-4), 6)
    expect(slopes[1]).toBe(1)
    expect(values[2]).toBe(-1)
    expect(slopes[2]).toBeCloseTo(0, 6)
  })

  it('are finite far out', () => {
    const far = [-1e30, -1000, -100, 100, 1000, 1e30]
    expect(withSlope(ops.sigmoid, far, options).values.map((v) => Math.round(v))).toEqual([0, 0, 0, 1, 1, 1])
    expect(withSlope(ops.tanh, far, options).values).toEqual([-1, -1, -1, 1, 1, 1])
    expect(withSlope((x) => ops.elu(x), far, options).values.slice(0, 3)).toEqual([-1, -1, -1])
    for (const f of [ops.sigmoid, ops.tanh, (x: Tensor) => ops.elu(x)]) {
      for (const slope of withSlope(f, far, options).slopes) expect(slope).toBeLessThanOrEqual(1)
    }
  })
})
