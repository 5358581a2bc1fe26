// The reverse walk: what it gives, what it refuses, and derivatives of derivatives.
import { describe, expect, it } from 'vitest'
import { assign, GradlineError, grad, ops, record, type Tensor, tensor, variable } from '../../src/index.js'
import { compute } from '../ops/harness.js'

const numbers = (fn: (...x: Tensor[]) => Tensor | Tensor[], ...inputs: number[][]): number[][] =>
  compute(
    fn,
    inputs.map((list) => tensor(list)),
  ).map((data) => Array.from(data))

function failure(body: () => unknown): GradlineError {
  try {
    body()
  } catch (error) {
    expect(error).toBeInstanceOf(GradlineError)
    return error as GradlineError
  }
  throw new Error('expected an error')
}

describe('grad', () => {
  it('adds up what comes by several paths', () => {
    // f = sum(x * x + 3 x + x): f' = 2 x + 4
    const [g] = numbers((x) => grad(ops.sum(ops.add(ops.mul(x, x), ops.add(ops.mul(x, 3), x))), [x]), [1, -2, 5])
    expect(g).toEqual([6, 0, 14])
  })

  it('gives one gradient per tensor asked for, in that order, also for what lies on the way', () => {
    const [gb, ga, gc] = numbers(
      (a, b) => {
        const c = ops.mul(a, b)
        return grad(ops.sum(ops.square(c)), [b, a, c])
      },
      [2, 3],
      [5, -1],
    )
    expect({ ga, gb, gc }).toEqual({ gc: [20, -6], ga: [100, 6], gb: [40, -18] })
  })

  it('gives zeros for what has no influence', () => {
    const [g, h] = numbers((x, y) => grad(ops.sum(ops.greater(x, y)), [x, y]), [1, 2], [0, 3])
    expect([g, h]).toEqual([
      [0, 0],
      [0, 0],
    ])
    expect(numbers((x, y) => grad(ops.sum(x), [y]), [1, 2], [0, 3, 4])).toEqual([[0, 0, 0]])
  })

  it('of the loss by itself is 1', () => {
    expect(numbers((x) => grad(x, [x]), [7])).toEqual([[1]])
  })

  it('of a gradient is the second derivative, and so on', () => {
    // x^3: 3 x^2, 6 x, 6
    const derivatives = (x: Tensor): Tensor[] => {
      const list = [ops.mul(x, ops.square(x))]
      for (let i = 0; i < 3; i++) list.push(grad(ops.sum(list.at(-1)!), [x])[0]!)
      return list
    }
    expect(numbers(derivatives, [1, -2, 3])).toEqual([
      [1, -8, 27],
      [3, 12, 27],
      [6, -12, 18],
      [6, 6, 6],
    ])
    // tanh'' = -2 tanh (1 - tanh^2)
    const [second] = numbers((x) => grad(ops.sum(grad(ops.sum(ops.tanh(x)), [x])[0]!), [x]), [0.5, -1])
    const wanted = [0.5, -1].map((x) => -2 * Math.tanh(x) * (1 - Math.tanh(x) ** 2))
    expect(second).toEqual(wanted.map((v) => expect.closeTo(v, 6)))
  })

  it('of variables and inputs alike', () => {
    const w = variable([2], { value: [3, 4] })
    const program = record(({ x }) => grad(ops.sum(ops.mul(ops.square(w), x)), [w, x]), { x: [2] })
    const [gw, gx] = program.runSync({ x: [10, 100] })
    expect([Array.from(gw!.data), Array.from(gx!.data)]).toEqual([
      [60, 800],
      [9, 16],
    ])
  })

  it('refuses a loss that is no scalar, and names a way out', () => {
    const error = failure(() => record(({ x }) => grad(x, [x]), { x: [2, 3] }))
    expect(error.code).toBe('shape')
    expect(error.message).toMatch(
      /Expected a float scalar for the loss in grad\(\) but received float32 \[2, 3\].*ops.mean/,
    )
    expect(() => record(({ x }) => grad(ops.argmax(x), [x]), { x: [3] })).toThrow('received int32 []')
  })

  it('accepts a loss of one element whatever its rank', () => {
    const program = record(({ x }) => grad(ops.sum(x, { keepAxes: true }), [x]), { x: [2, 2] })
    expect(Array.from(program.runSync({ x: [1, 2, 3, 4] })[0]!.data)).toEqual([1, 1, 1, 1])
  })

  it('refuses an op without derivative only where the loss depends on it', () => {
    const pooledTwice = (x: Tensor): Tensor => {
      const [g] = grad(ops.sum(ops.maxPool2d(x, 2)), [x])
      return grad(ops.sum(g!), [x])[0]!
    }
    const error = failure(() => record(({ x }) => pooledTwice(x), { x: [1, 2, 2, 1] }))
    expect(error.code).toBe('recording')
    expect(error.message).toMatch(
      /^The op maxPool2dGrad \(.*grad\.test\.ts:\d+\) has no derivative, but the loss depends/,
    )
    expect(() =>
      record(({ x, y }) => [ops.maxPool2d(x, 2), ...grad(ops.sum(y), [x, y])], { x: [1, 2, 2, 1], y: [3] }),
    ).not.toThrow()
  })

  it('refuses a variable that was assigned before the derivative needs its old value', () => {
    const w = variable([2], { name: 'w', value: [1, 2] })
    const late = (): unknown =>
      record(
        ({ x }) => {
          const loss = ops.sum(ops.mul(w, x))
          assign(w, x)
          return grad(loss, [x])
        },
        { x: [2] },
      )
    const error = failure(late)
    expect(error.code).toBe('recording')
    expect(error.message).toBe(
      'The derivative of mul needs the value that w had before it was assigned. Call grad() before assign()',
    )
    // In the other order it is fine.
    const program = record(
      ({ x }) => {
        const [g] = grad(ops.sum(ops.mul(w, x)), [x])
        assign(w, x)
        return g!
      },
      { x: [2] },
    )
    expect(Array.from(program.runSync({ x: [5, 6] }).data)).toEqual([1, 2])
    expect(Array.from(program.runSync({ x: [0, 0] }).data)).toEqual([5, 6])
  })

  it('is possible inside record() only', () => {
    expect(() => grad(tensor([1]), [])).toThrow('grad() is only possible inside record()')
  })

  it('refuses statistics of batch norm as a way for gradients', () => {
    expect(() =>
      record(({ x }) => grad(ops.sum(ops.batchNorm(x, ops.fill([3], 1), ops.fill([3], 0)).mean), [x]), { x: [4, 3] }),
    ).toThrow('statistics returned by batchNorm carry no gradient')
  })
})
