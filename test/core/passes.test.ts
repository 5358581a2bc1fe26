// The passes: what each does to a program and where it must not, and the cut of what nobody reads.
import { describe, expect, it } from 'vitest'
import { assign, grad, ops, read, record, type Tensor, type Variable, variable } from '../../src/index.js'
import { addon } from '../../src/native.js'
import { type PassName, passNames } from '../../src/passes/index.js'
import { layoutOf } from '../native/bytes.js'

type Fn = (inputs: Record<string, Tensor>) => Tensor | Tensor[]

/** Names of the ops of a program in order, epilogues after a bar: `matmul|add|relu`. */
function opsOf(fn: Fn, inputs: Record<string, number[]>, without: readonly PassName[] = []): string[] {
  const table = addon().ops()
  const { bytes } = record(fn as never, inputs, { without })
  const view = new DataView(bytes.buffer)
  const { at, ops: nodes } = layoutOf(bytes)
  return nodes.map(({ opcode, epilogues }, i) => {
    expect(epilogues.length).toBe(view.getUint32(at.ops + 232 * i + 16, true))
    return [opcode, ...epilogues].map((code) => table[code]!.name).join('|')
  })
}

const shapes = { x: [4, 3], w: [3, 5], b: [5] }
const dense: Fn = ({ x, w, b }) => ops.relu(ops.add(ops.matmul(x!, w!), b!))

describe('fusion', () => {
  it('moves bias and activation onto the product', () => {
    expect(opsOf(dense, shapes)).toEqual(['matmul|add|relu'])
    expect(opsOf(dense, shapes, ['fuseActivation'])).toEqual(['matmul|add', 'relu'])
    expect(opsOf(dense, shapes, ['fuseBias', 'fuseActivation'])).toEqual(['matmul', 'add', 'relu'])
    expect(opsOf(({ x, w, b }) => ops.relu(ops.add(b!, ops.matmul(x!, w!))), shapes)).toEqual(['matmul|add|relu'])
  })

  it('moves the derivative of an activation onto the product before it', () => {
    const net: Fn = ({ x, w, v }) => grad(ops.sum(ops.matmul(ops.tanh(ops.matmul(x!, w!)), v!)), [w!])
    const sizes = { x: [4, 3], w: [3, 5], v: [5, 2] }
    expect(opsOf(net, sizes)).toContain('matmul|tanhGrad')
    expect(opsOf(net, sizes, ['fuseActivationGrad'])).toContain('tanhGrad')
  })

  it('moves the derivative of an activation onto the derivative of the pool behind it', () => {
    for (const pool of ['maxPool2d', 'avgPool2d'] as const) {
      const net: Fn = ({ x }) => grad(ops.sum(ops[pool](ops.relu(x!), 2)), [x!])
      expect(opsOf(net, { x: [1, 4, 4, 3] })).toContain(`${pool}Grad|reluGrad`)
      expect(opsOf(net, { x: [1, 4, 4, 3] }, ['fuseActivationGrad'])).toContain('reluGrad')
    }
  })

  it('makes the gradient of a bias beside that of its weights', () => {
    const both = (twoOutputs: boolean, without: readonly PassName[] = []) => {
      const layer: Fn = ({ x, w, b }) => grad(ops.sum(ops.tanh(ops.add(ops.matmul(x!, w!), b!))), [w!, b!])
      const program = record(layer as never, shapes, { without }) as unknown as {
        bytes: Uint8Array
        runSync: (inputs: object) => Tensor[]
      }
      expect(layoutOf(program.bytes).ops.some(({ outputs }) => outputs === 2)).toBe(twoOutputs)
      expect(opsOf(layer, shapes, without).includes('sum')).toBe(!twoOutputs)
      const ramp = (size: number): Float32Array => Float32Array.from({ length: size }, (_, i) => i / 16)
      return program.runSync({ x: ramp(12), w: ramp(15), b: ramp(5) }).map(({ data }) => Array.from(data))
    }
    both(true).forEach((gradient, i) => {
      const apart = both(false, ['fuseBiasGrad'])[i]!
      for (const [j, g] of gradient.entries()) expect(g).toBeCloseTo(apart[j]!, 6)
    })
  })

  it('sums apart what is another value, other axes, read transposed, or changed in between', () => {
    const sizes = { x: [4, 3], dy: [4, 5], other: [4, 5] }
    const apart = (fn: Fn, more: Record<string, number[]> = {}) =>
      expect(opsOf(fn, { ...sizes, ...more }).filter((op) => op === 'sum').length)
    const dw = (x: Tensor, dy: Tensor) => ops.matmul(x, dy, { transposeA: true })
    apart(({ x, dy }) => [dw(x!, dy!), ops.sum(dy!, { axes: 0 })]).toBe(0)
    apart(({ x, dy }) => [dw(x!, dy!), ops.sum(dy!, { axes: 0 }), ops.sum(dy!, { axes: 0 })]).toBe(1)
    apart(({ x, dy, other }) => [dw(x!, dy!), ops.sum(other!, { axes: 0 })]).toBe(1)
    apart(({ x, dy }) => [dw(x!, dy!), ops.sum(dy!, { axes: 1 })]).toBe(1)
    apart(({ x, dy }) => [dw(x!, dy!), ops.sum(ops.reshape(dy!, [5, 4]), { axes: 0 })]).toBe(1)
    apart(({ x, dy }) => [dw(x!, dy!), ops.sum(ops.reshape(dy!, [2, 2, 5]), { axes: [0, 1] })]).toBe(0)
    apart(({ a, dy }) => [ops.matmul(a!, dy!, { transposeB: true }), ops.sum(dy!, { axes: 0 })], { a: [3, 5] }).toBe(1)
    // The product needs the sum: neither can be made at the place of the other.
    apart(({ x, dy }) => {
      const db = ops.sum(dy!, { axes: 0, keepAxes: true })
      return dw(ops.mul(x!, ops.slice(db, [0, 0], [1, 3])), dy!)
    }).toBe(1)
    const v = variable([4, 5], { value: 1 })
    apart(({ x }) => {
      const before = ops.sum(v, { axes: 0 })
      assign(v, ops.scale(v, 2))
      return [before, dw(x!, v)]
    }).toBe(1)
  })

  it('leaves a product alone that is read twice, returned, or not fit by the operand', () => {
    const twice: Fn = ({ x, w }) => {
      const y = ops.matmul(x!, w!)
      return [ops.add(ops.relu(y), y)]
    }
    expect(opsOf(twice, shapes)[0]).toBe('matmul')
    const returned: Fn = ({ x, w }) => {
      const y = ops.matmul(x!, w!)
      return [y, ops.relu(y)]
    }
    expect(opsOf(returned, shapes)).toEqual(['matmul', 'relu'])
    const column: Fn = ({ x, w, c }) => ops.add(ops.matmul(x!, w!), c!)
    expect(opsOf(column, { ...shapes, c: [4, 1] })).toEqual(['matmul', 'add'])
    const wider: Fn = ({ x, w, c }) => ops.add(ops.matmul(x!, w!), c!)
    expect(opsOf(wider, { ...shapes, c: [2, 4, 5] })).toEqual(['matmul', 'add'])
  })

  it('leaves a product alone when an effect stands between it and its epilogue', () => {
    const v = variable([5], { value: 1 })
    const between: Fn = ({ x, w }) => {
      const y = ops.matmul(x!, w!)
      assign(v, ops.scale(v, 2))
      return [ops.add(y, v)]
    }
    const program = record(between as never, { x: [4, 3], w: [3, 5] }) as unknown as {
      runSync: (inputs: object) => Tensor[]
    }
    expect(opsOf(between, { x: [4, 3], w: [3, 5] })[0]).toBe('matmul')
    const ones = { x: new Float32Array(12).fill(1), w: new Float32Array(15).fill(1) }
    expect(program.runSync(ones)[0]!.data[0]).toBe(5)
  })

  it('stops at four epilogues', () => {
    const long: Fn = ({ x, w, b }) => {
      let y = ops.matmul(x!, w!)
      for (let i = 0; i < 6; i++) y = ops.add(y, b!)
      return y
    }
    expect(opsOf(long, shapes)).toEqual(['matmul|add|add|add|add', 'add', 'add'])
  })
})

describe('folding', () => {
  it('computes constants while recording', () => {
    const constant: Fn = () => ops.scale(ops.broadcast(ops.reshape(ops.scale(ops.fill([1], 2), 3, 1), []), [4]), 0.5)
    expect(opsOf(constant, {})).toEqual(['fill'])
    expect(opsOf(constant, {}, ['foldConstants'])).toEqual(['fill', 'scale', 'broadcast', 'scale'])
    for (const without of [[], ['foldConstants' as const]]) {
      expect(Array.from(record(() => constant({}) as Tensor, {}, { without }).runSync().data)).toEqual([
        3.5, 3.5, 3.5, 3.5,
      ])
    }
  })

  it('the gradient of a mean is one number', () => {
    expect(opsOf(({ x }) => grad(ops.mean(x!), [x!]), { x: [4, 3] })).toEqual(['fill'])
  })
})

describe('assignment', () => {
  /** Values of the variables after three steps, the same with and without the pass, and the ops with it. */
  function assigned(make: () => [Variable[], () => void], steps = 3): { ops: string[]; values: number[][] } {
    const [inPlace, copied] = [[], ['assignInPlace' as const]].map((without) => {
      const [variables, body] = make()
      const fn: Fn = () => {
        body()
        return []
      }
      const names = opsOf(fn, {}, without)
      record(fn as never, {}, { without }).runManySync(steps)
      return { ops: names, values: variables.map((v) => Array.from(read(v))) }
    })
    expect(inPlace!.values).toEqual(copied!.values)
    return inPlace!
  }
  const two = (): Variable[] => [variable([3], { value: 1 }), variable([3], { value: 2 })]

  it('is made by the op that computes the value, also from the variable itself', () => {
    const sum = () => {
      const [x, y] = two() as [Variable, Variable]
      return [[x], () => assign(x, ops.weightedSum(x, y, 0.5, 1))] as [Variable[], () => void]
    }
    expect(assigned(sum)).toEqual({ ops: ['weightedSum'], values: [[3.625, 3.625, 3.625]] })
  })

  it('waits for what is written in between and gives what was read before', () => {
    const swapped = () => {
      const [x, y] = two() as [Variable, Variable]
      const swap = (): void => {
        const [a, b] = [ops.scale(x, 2), ops.scale(y, 3)]
        assign(x, b)
        assign(y, a)
      }
      return [[x, y], swap] as [Variable[], () => void]
    }
    expect(assigned(swapped, 1)).toEqual({
      ops: ['scale', 'scale', 'copy'],
      values: [
        [6, 6, 6],
        [2, 2, 2],
      ],
    })
  })

  it('sees the variable behind another view of it', () => {
    const swapped = () => {
      const [x, y] = two() as [Variable, Variable]
      const swap = (): void => {
        const [a, b] = [ops.reshape(ops.scale(ops.reshape(x, [3, 1]), 2), [3]), ops.scale(y, 3)]
        const c = ops.add(ops.reshape(x, [3]), ops.reshape(ops.scale(ops.reshape(x, [1, 3]), 4), [3]))
        assign(x, b)
        assign(y, ops.add(a, c))
      }
      return [[x, y], swap] as [Variable[], () => void]
    }
    expect(assigned(swapped, 1).values).toEqual([
      [6, 6, 6],
      [7, 7, 7],
    ])
    const late = () => {
      const [x, y] = [variable([1, 3], { value: 1 }), variable([3], { value: 2 })]
      const body = (): void => {
        const doubled = ops.scale(ops.reshape(x, [3]), 2)
        assign(x, ops.reshape(ops.scale(y, 3), [1, 3]))
        assign(y, doubled)
      }
      return [[x, y], body] as [Variable[], () => void]
    }
    expect(assigned(late, 1).values).toEqual([
      [6, 6, 6],
      [2, 2, 2],
    ])
    const overlapping = () => {
      const x = variable([64], { value: 1 })
      return [[x], () => assign(x, ops.add(x, ops.reshape(x.region.flat(), [64])))] as [Variable[], () => void]
    }
    expect(assigned(overlapping).ops).toEqual(['add', 'copy'])
  })

  it('is a copy where the value is read again, or made from other elements of the variable', () => {
    const twice = () => {
      const [x, y] = two() as [Variable, Variable]
      const body = (): void => {
        const value = ops.add(x, y)
        assign(x, value)
        assign(y, ops.neg(value))
      }
      return [[x, y], body] as [Variable[], () => void]
    }
    expect(assigned(twice).ops).toEqual(['add', 'copy', 'neg'])
    const flat = () => {
      const x = variable([64], { value: 1 })
      return [[x], () => assign(x, ops.add(x, x.region.flat()))] as [Variable[], () => void]
    }
    expect(assigned(flat).ops).toEqual(['add', 'copy'])
  })
})

describe('what nobody reads', () => {
  it('is not computed', () => {
    const wasteful: Fn = ({ x }) => {
      ops.exp(ops.neg(x!))
      const [, used] = [ops.tanh(x!), ops.relu(x!)]
      return used!
    }
    for (const without of [[], passNames]) expect(opsOf(wasteful, { x: [3] }, without)).toEqual(['relu'])
  })

  it('is computed all the same where it has an effect', () => {
    const v = variable([3])
    const effect: Fn = ({ x }) => {
      assign(v, ops.exp(x!))
      return []
    }
    expect(opsOf(effect, { x: [3] })).toEqual(['exp'])
    expect(opsOf(effect, { x: [3] }, ['assignInPlace'])).toEqual(['exp', 'copy'])
  })
})

it('a pass that does not exist is an error', () => {
  expect(() => opsOf(dense, shapes, ['fuseAll' as PassName])).toThrow(/one of foldConstants.*received "fuseAll"/)
})
