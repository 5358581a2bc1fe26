// The low level: record, grad, assign, variables, updaters, programs that run many steps.
import { describe, expect, it } from 'vitest'
import {
  adam,
  assign,
  grad,
  type Optimizer,
  ops,
  read,
  readStep,
  record,
  sgd,
  stepState,
  tensor,
  Updater,
  variable,
  write,
  writeStep,
} from '../../src/index.js'

describe('record', () => {
  it('gives back what the function returns, in its structure', async () => {
    const program = record(
      ({ a, b }) => ({ sum: ops.add(a, b), parts: [ops.neg(a), { twice: ops.scale(b, 2) }] as const }),
      {
        a: [2, 2],
        b: [2],
      },
    )
    const given = { a: [1, 2, 3, 4], b: [10, 20] }
    for (const { sum, parts } of [program.runSync(given), await program.run(given)]) {
      expect([...sum.data]).toEqual([11, 22, 13, 24])
      expect(sum.shape).toEqual([2, 2])
      expect([...parts[0].data]).toEqual([-1, -2, -3, -4])
      expect([...parts[1].twice.data]).toEqual([20, 40])
    }
  })

  it('runs many steps over one state', async () => {
    const x = variable([1], { value: 1 })
    const program = record(() => {
      const twice = ops.scale(x, 2)
      assign(x, twice)
      return twice
    })
    const results = await program.runMany(10)
    expect(results.steps).toBe(10)
    expect([...results].map((y) => y.item())).toEqual([2, 4, 8, 16, 32, 64, 128, 256, 512, 1024])
    expect(results.at(-1).item()).toBe(1024)
    expect(results.at(2).item()).toBe(8)
    expect([...program.runManySync(2)].map((y) => y.item())).toEqual([2048, 4096])
    expect([...read(x)]).toEqual([4096])
    write(x, [3])
    expect(program.runSync().item()).toBe(6)
  })

  it('reads a variable as it stands at that line', () => {
    const x = variable([1], { value: 5 })
    const program = record(() => {
      const before = ops.scale(x, 1)
      assign(x, ops.add(x, 1))
      const between = ops.scale(x, 1)
      assign(x, ops.mul(x, 10))
      return [before, between, x]
    })
    expect(program.runSync().map((t) => t.item())).toEqual([5, 6, 60])
    expect(program.runSync().map((t) => t.item())).toEqual([60, 61, 610])
  })

  it('can run no step at all', async () => {
    const program = record(() => ops.fill([1], 1))
    expect((await program.runMany(0)).steps).toBe(0)
    expect(program.runManySync(0).steps).toBe(0)
  })
})

describe('grad', () => {
  it('is the derivative, for inputs and variables alike', () => {
    const w = variable([2], { value: [3, -2] })
    const program = record(
      ({ x }) => {
        const loss = ops.sum(ops.mul(ops.square(w), x))
        return { loss, grads: grad(loss, [w, x]) }
      },
      { x: [2] },
    )
    const { loss, grads } = program.runSync({ x: [5, 7] })
    expect(loss.item()).toBe(9 * 5 + 4 * 7)
    expect([...grads[0]!.data]).toEqual([30, -28])
    expect([...grads[1]!.data]).toEqual([9, 4])
  })

  it('of a gradient is the second derivative', () => {
    const x = variable([3], { value: [1, 2, -3] })
    const program = record(() => {
      const [first] = grad(ops.sum(ops.mul(ops.square(x), x)), [x]) as [ReturnType<typeof ops.sum>]
      return { first, second: grad(ops.sum(first), [x])[0]! }
    })
    const { first, second } = program.runSync()
    expect([...first.data]).toEqual([3, 12, 27])
    expect([...second.data]).toEqual([6, 12, -18])
  })

  it('is zero for what the loss does not depend on', () => {
    const [a, b] = [variable([2], { value: 1 }), variable([3], { value: 1 })]
    const program = record(() => grad(ops.sum(a), [a, b]))
    expect(program.runSync().map(({ data }) => [...data])).toEqual([
      [1, 1],
      [0, 0, 0],
    ])
  })
})

// f = x^2 / 20 + y^2 from (-7, 2), 30 updates: positions, since a wrong Adam reaches a lower loss than the right one.
// Expected positions were computed in float64.
describe('an updater', () => {
  const descend = (optimizer: Optimizer): number[] => {
    const p = variable([2], { value: [-7, 2] })
    const updater = new Updater(optimizer)
    const program = record(
      ({ curve }) => {
        const loss = ops.sum(ops.mul(ops.square(p), curve))
        updater.apply([p], grad(loss, [p]))
        return loss
      },
      { curve: [2] },
      { step: updater.step },
    )
    program.runManySync(30, { curve: [1 / 20, 1] })
    return [...read(p)]
  }

  it.each([
    ['sgd', () => sgd({ lr: 0.95 }), [-0.350393, 0.084782]],
    ['adam', () => adam({ lr: 0.3 }), [0.136015, 0.318245]],
  ] as const)('of %s ends where the formula does', (_, make, [x, y]) => {
    const [fx, fy] = descend(make()) as [number, number]
    expect(fx).toBeCloseTo(x, 5)
    expect(fy).toBeCloseTo(y, 5)
  })

  it('counts its updates in its step state, whose rate may be changed between runs', () => {
    const p = variable([1], { value: 1 })
    const updater = new Updater(sgd({ lr: 0.5 }))
    const program = record(
      () => {
        updater.apply([p], grad(ops.sum(p), [p]))
        return {}
      },
      {},
      { step: updater.step },
    )
    program.runSync()
    expect(readStep(updater.step)).toMatchObject({ step: 1, updates: 1, skipped: 0, rate: 0.5, gradNorm: 1 })
    writeStep(updater.step, { rate: 0.25 })
    program.runManySync(2)
    expect([...read(p)]).toEqual([0])
    expect(readStep(updater.step).updates).toBe(3)
  })

  it('leaves out a step whose gradient is not finite, and counts it', () => {
    const p = variable([2], { value: 1 })
    const updater = new Updater(adam())
    const program = record(
      ({ x }) => {
        updater.apply([p], grad(ops.sum(ops.mul(p, x)), [p]))
        return {}
      },
      { x: [2] },
      { step: updater.step },
    )
    program.runSync({ x: [1, Number.NaN] })
    expect([...read(p)]).toEqual([1, 1])
    expect(readStep(updater.step)).toMatchObject({ step: 1, updates: 0, skipped: 1 })
    program.runSync({ x: [1, 1] })
    // The first real step of Adam has the size of the rate, whatever was skipped before.
    expect(read(p)[0]).toBeCloseTo(1 - 0.001, 6)
  })

  it('works on two nets in turn, each program with its own updater', () => {
    const [a, b] = [variable([1], { value: 4 }), variable([1], { value: 1 })]
    const [ua, ub] = [new Updater(sgd({ lr: 0.1 })), new Updater(sgd({ lr: 0.1 }))]
    const game = (mine: typeof a, other: typeof a, updater: Updater, sign: number) =>
      record(
        () => {
          updater.apply([mine], grad(ops.sum(ops.scale(ops.mul(mine, other), sign)), [mine]))
          return {}
        },
        {},
        { step: updater.step },
      )
    const [pa, pb] = [game(a, b, ua, 1), game(b, a, ub, -1)]
    let [x, y] = [4, 1]
    for (let i = 0; i < 10; i++) {
      pa.runSync()
      pb.runSync()
      x = Math.fround(x - 0.1 * y)
      y = Math.fround(y + 0.1 * x)
    }
    expect(read(a)[0]).toBeCloseTo(x, 5)
    expect(read(b)[0]).toBeCloseTo(y, 5)
  })
})

describe('a batch', () => {
  const rowsOf = (samples: number, batch: number, steps: number, shuffle: 'none' | 'epoch' | 'replacement', seed = 1) =>
    [
      ...record(() => ops.sampleRows(batch, samples, shuffle), {}, { step: stepState('step', { seed }) }).runManySync(
        steps,
      ),
    ].flatMap(({ data }) => [...data])
  const all = (samples: number) => Array.from({ length: samples }, (_, i) => i)
  const sorted = (rows: number[]) => rows.toSorted((a, b) => a - b)

  it.each([
    [1, 1],
    [7, 7],
    [12, 4],
    [1000, 50],
    [4097, 17],
  ])('of %i samples by %i takes each once per epoch, in a new order', (samples, batch) => {
    const rows = rowsOf(samples, batch, (3 * samples) / batch, 'epoch')
    const epochs = [0, 1, 2].map((e) => rows.slice(e * samples, (e + 1) * samples))
    for (const epoch of epochs) expect(sorted(epoch)).toEqual(all(samples))
    if (samples > 5) {
      expect(epochs[0]).not.toEqual(epochs[1])
      expect(epochs[1]).not.toEqual(epochs[2])
      expect(epochs[0]).not.toEqual(all(samples))
      expect(rowsOf(samples, batch, samples / batch, 'epoch', 2)).not.toEqual(epochs[0])
    }
    expect(rowsOf(samples, batch, samples / batch, 'epoch')).toEqual(epochs[0])
  })

  it('comes in order, or with replacement, where asked', () => {
    expect(rowsOf(6, 3, 4, 'none')).toEqual([...all(6), ...all(6)])
    const drawn = rowsOf(1000, 100, 10, 'replacement')
    expect(Math.min(...drawn)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...drawn)).toBeLessThan(1000)
    // Of 1000 draws with replacement about 632 are different; the standard deviation is 9.7.
    expect(Math.abs(new Set(drawn).size - 632)).toBeLessThan(50)
  })
})

describe('an eager tensor', () => {
  it('is computed at once by the same ops', () => {
    const x = tensor([
      [1, -2],
      [3, 4],
    ])
    expect([...ops.relu(x).data]).toEqual([1, 0, 3, 4])
    expect([...ops.matmul(x, x).data]).toEqual([-5, -10, 15, 10])
    expect(ops.mean(x).item()).toBe(1.5)
    expect(JSON.parse(JSON.stringify(x))).toEqual({ shape: [2, 2], dtype: 'float32', data: [1, -2, 3, 4] })
  })
})

describe('a program', () => {
  it('tells its bytes before it runs and the same afterwards, and prints its ops', () => {
    const w = variable([32, 16], { name: 'w', value: 0.5 })
    const program = record(({ x }) => ops.relu(ops.matmul(x, w)), { x: [8, 32] }, { name: 'half' })
    const before = program.memory()
    expect(before.param).toBe(32 * 16 * 4)
    expect(before.input).toBe(8 * 32 * 4)
    expect(before.metric).toBe(8 * 16 * 4)
    expect(program.runSync({ x: new Float32Array(256).fill(1) }).data[0]).toBe(16)
    expect(program.memory()).toEqual(before)
    expect(program.print()).toMatch(/^half .*\n(.*\n)*.*matmul/)
  })
})
