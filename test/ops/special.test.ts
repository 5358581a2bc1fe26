// Numbers that are not finite, signs of zero and ties: what each op says of them, in the middle of a vector and at its
// ragged end, on every device.
import { describe, expect, it } from 'vitest'
import { assign, grad, ops, read, record, type Tensor, tensor, variable } from '../../src/index.js'
import { compute, everyDevice } from './harness.js'

const [inf, nan] = [Number.POSITIVE_INFINITY, Number.NaN]
const length = 37

type Values = readonly number[]
const unary: [string, (x: Tensor) => Tensor, Values, Values][] = [
  ['neg', ops.neg, [inf, -inf, nan, 0], [-inf, inf, nan, -0]],
  ['abs', ops.abs, [inf, -inf, nan, -0], [inf, inf, nan, 0]],
  ['sign', ops.sign, [inf, -inf, nan, -3], [1, -1, nan, -1]],
  ['exp', ops.exp, [inf, -inf, nan, 0, 1000, -1000], [inf, 0, nan, 1, inf, 0]],
  ['log', ops.log, [inf, 0, nan, -1, 1, -inf], [inf, -inf, nan, nan, 0, nan]],
  ['sqrt', ops.sqrt, [inf, 0, nan, -1, 4], [inf, 0, nan, nan, 2]],
  ['relu', ops.relu, [inf, -inf, nan, -0], [inf, 0, nan, 0]],
  ['leakyRelu', (x) => ops.leakyRelu(x, 0.5), [inf, -inf, nan], [inf, -inf, nan]],
  ['elu', (x) => ops.elu(x), [inf, -inf, nan], [inf, -1, nan]],
  ['sigmoid', ops.sigmoid, [inf, -inf, nan, 0], [1, 0, nan, 0.5]],
  ['tanh', ops.tanh, [inf, -inf, nan, 0], [1, -1, nan, 0]],
]

const binary: [string, (a: Tensor, b: Tensor) => Tensor, Values, Values, Values][] = [
  ['maximum', ops.maximum, [nan, 1, 2, inf], [1, nan, 5, 3], [nan, nan, 5, inf]],
  ['minimum', ops.minimum, [nan, 1, 2, -inf], [1, nan, 5, 3], [nan, nan, 2, -inf]],
  ['greater', ops.greater, [nan, 1, 2, 2], [1, nan, 2, 1], [0, 0, 0, 1]],
  ['equal', ops.equal, [nan, 1, inf, 0], [nan, nan, inf, -0], [0, 0, 1, 1]],
  ['div', ops.div, [1, -1, 0, inf], [0, 0, 0, inf], [inf, -inf, nan, nan]],
]

const repeated = (values: Values): number[] => Array.from({ length }, (_, i) => values[i % values.length]!)

describe.each(everyDevice())('on $name', ({ on }) => {
  const options = { device: on }
  // 0 and -0 count as equal here; NaN as NaN.
  const same = (got: ArrayLike<number>, wanted: Values): void => {
    expect(Array.from(got, (v) => v + 0)).toEqual(wanted.map((v) => v + 0))
  }

  it.each(unary)('%s', (_, call, given, wanted) => {
    const [got] = compute(call, [tensor(repeated(given))], options)
    same(got!, repeated(wanted))
  })

  it.each(binary)('%s', (_, call, a, b, wanted) => {
    const [got] = compute(call, [tensor(repeated(a)), tensor(repeated(b))], options)
    same(got!, repeated(wanted))
  })

  it('select takes NaN for true and lets nothing leak from the other side', () => {
    const [got] = compute(
      (c, a, b) => ops.select(c, a, b),
      [tensor(repeated([1, 0, nan])), tensor(repeated([5, nan, 7])), tensor(repeated([inf, 6, nan]))],
      options,
    )
    same(got!, repeated([5, 6, 7]))
  })

  it.each([0, 3, 16, length - 1])('max, argmax and maxPool2d let NaN win at %i, and ties go to the first', (place) => {
    const row = Array.from({ length }, (_, i) => (i === place ? nan : i))
    const tied = Array.from({ length }, (_, i) => (i >= place ? 9 : -i))
    const image = { shape: [1, length, 1, 1] }
    const results = compute(
      (x, y, z) => [ops.max(x), ops.argmax(x), ops.maxPool2d(z, [length, 1]), ops.max(y), ops.argmax(y)],
      [tensor(row), tensor(tied), tensor(row, image)],
      options,
    )
    expect(results.map((data) => data[0])).toEqual([nan, place, nan, 9, place])
  })

  it('max over rows of -Infinity is -Infinity', () => {
    const [whole, columns] = compute(
      (x) => [ops.max(x), ops.max(x, { axes: 0 })],
      [tensor(repeated([-inf]), { shape: [1, length] })],
      options,
    )
    same(whole!, [-inf])
    same(columns!, repeated([-inf]))
  })

  it('the gradient of a maximum is shared by equal elements, that of a pool goes to the first', () => {
    const [shared] = compute((x) => grad(ops.max(x), [x]), [tensor([1, 3, 3, 2, 3, 0])], options)
    expect(Array.from(shared!)).toEqual([0, 1 / 3, 1 / 3, 0, 1 / 3, 0].map((v) => Math.fround(v)))
    const pooled = compute(
      (x) => grad(ops.sum(ops.maxPool2d(x, 2, { stride: 1 })), [x]),
      [tensor([4, 4, 4, 4, 4, 4], { shape: [1, 2, 3, 1] })],
      options,
    )
    expect(Array.from(pooled[0]!)).toEqual([1, 1, 0, 0, 0, 0])
  })

  it('where both operands are equal, the gradient of maximum and minimum goes to the first', () => {
    for (const op of [ops.maximum, ops.minimum]) {
      const [ga, gb] = compute((a, b) => grad(ops.sum(op(a, b)), [a, b]), [tensor([2, 5]), tensor([2, 5])], options)
      expect([Array.from(ga!), Array.from(gb!)]).toEqual([
        [1, 1],
        [0, 0],
      ])
    }
  })

  it.each([nan, inf, -inf])('requireFinite fails the step on %f, before anything is changed', (bad) => {
    const v = variable([1], { value: 4 })
    const program = record(
      ({ x }) => {
        assign(v, ops.scale(v, 2))
        return ops.requireFinite(x)
      },
      { x: [length] },
      options,
    )
    for (const place of [0, 17, length - 1]) {
      const x = new Float32Array(length).fill(1)
      x[place] = bad
      expect(() => program.runSync({ x })).toThrow(/requireFinite/)
      expect(read(v)[0]).toBe(4)
    }
    program.runSync({ x: new Float32Array(length).fill(3.4e38) })
    expect(read(v)[0]).toBe(8)
  })

  it('float to int32 truncates and saturates', () => {
    const [got] = compute((x) => ops.cast(x, 'int32'), [tensor([1.9, -1.9, 3e9, -3e9, nan, inf, -inf])], options)
    expect(Array.from(got!)).toEqual([1, -1, 2147483647, -2147483648, 0, 2147483647, -2147483648])
  })
})
