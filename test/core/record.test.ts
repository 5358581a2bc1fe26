// Recording: what may not be done while no data exists, the order of effects, and what comes back.
import { describe, expect, it } from 'vitest'
import { currentGraph } from '../../src/graph.js'
import {
  assign,
  GradlineError,
  ops,
  read,
  record,
  stepState,
  type Tensor,
  tensor,
  variable,
  write,
  writeStep,
} from '../../src/index.js'
import { Optimized } from '../ops/optimizer.js'

function failure(body: () => unknown): GradlineError {
  try {
    body()
  } catch (error) {
    expect(error).toBeInstanceOf(GradlineError)
    return error as GradlineError
  }
  throw new Error('expected an error')
}

/** The line of this file that calls. */
const lineHere = (): string => /record\.test\.ts:(\d+)/.exec(new Error().stack?.split('\n')[2] ?? '')?.[1] ?? ''

describe('a value read while recording', () => {
  it.each<[string, (t: Tensor) => unknown]>([
    ['data', (t) => t.data],
    ['item', (t) => t.item()],
    ['a comparison', (t) => (t as unknown as number) > 0],
    ['arithmetic', (t) => (t as unknown as number) * 2],
    ['JSON', (t) => JSON.stringify(t)],
  ])('throws: %s', (_, use) => {
    let line = ''
    const error = failure(() =>
      record(
        ({ x }) => {
          const made = [ops.relu(x), lineHere()] as const
          line = made[1]
          use(made[0])
          return made[0]
        },
        { x: [3] },
      ),
    )
    expect(error.code).toBe('recording')
    // The line of the user that made the value.
    expect(error.message).toContain(
      `The value of Tensor float32 [3] made at record.test.ts:${line} was read while its program is recorded`,
    )
  })

  it('throws with the path of the layer', () => {
    const inside = (x: Tensor): Tensor => {
      const layers = currentGraph('test')
      return layers.inLayer('encoder', () => layers.inLayer('dense1', () => ops.relu(x)))
    }
    expect(() => record(({ x }) => ops.fill([1], inside(x).item()), { x: [1] })).toThrow(
      /^The value of Tensor float32 \[1\] made at encoder\.dense1, record\.test\.ts:\d+ was read/,
    )
  })

  it('throws for an input and a variable too', () => {
    expect(() => record(({ x }) => ops.fill([1], x.data[0] as number), { x: [1] })).toThrow(
      'was read while its program',
    )
    const v = variable([1], { value: 3 })
    expect(() => record(() => ops.fill([1], v.data[0] as number))).toThrow('was read while its program')
  })
})

describe('what a program may use', () => {
  it('is no eager tensor', () => {
    const constant = tensor([1, 2])
    const error = failure(() => record(({ x }) => ops.add(x, constant), { x: [2] }))
    expect(error.code).toBe('recording')
    expect(error.message).toMatch(
      /for add but received an eager tensor, whose numbers would be frozen.*Pass it as an input/,
    )
  })

  it('is no tensor of another recording, not even of an outer one', () => {
    const kept: Tensor[] = []
    record(
      ({ x }) => {
        kept.push(ops.relu(x))
        return x
      },
      { x: [2] },
    )
    expect(() => record(({ y }) => ops.add(y, kept[0]!), { y: [2] })).toThrow(
      /given to add belongs to another recording/,
    )
    expect(() =>
      record(
        ({ x }) => {
          record(() => ops.neg(x))
          return x
        },
        { x: [2] },
      ),
    ).toThrow('belongs to another recording')
  })

  it('is whatever a failed recording left usable', () => {
    expect(() => record(() => ops.fill([-1], 0))).toThrow('shape of fill[0]')
    expect(Array.from(ops.neg(tensor([1, 2])).data)).toEqual([-1, -2])
  })
})

describe('the order of effects', () => {
  it('reads before an assignment see the old value, reads after it the new one', () => {
    const v = variable([2], { value: [1, 2] })
    const program = record(
      ({ x }) => {
        const before = ops.scale(v, 10)
        assign(v, x)
        const after = ops.scale(v, 10)
        assign(v, ops.add(after, v))
        return { before, after, last: ops.scale(v, 1) }
      },
      { x: [2] },
    )
    const { before, after, last } = program.runSync({ x: [5, 6] })
    expect([before, after, last].map(({ data }) => Array.from(data))).toEqual([
      [10, 20],
      [50, 60],
      [55, 66],
    ])
    expect(Array.from(read(v))).toEqual([55, 66])
  })

  it('two variables can change places', () => {
    const [a, b] = [1, 2].map((value) => variable([3], { value })) as [
      ReturnType<typeof variable>,
      ReturnType<typeof variable>,
    ]
    const program = record(() => {
      const old = ops.scale(a, 1)
      assign(a, b)
      assign(b, old)
      return []
    })
    program.runSync()
    expect([Array.from(read(a)), Array.from(read(b))]).toEqual([
      [2, 2, 2],
      [1, 1, 1],
    ])
    program.runManySync(3)
    expect(Array.from(read(a))).toEqual([1, 1, 1])
  })

  it('a returned variable has the value it had where it was returned, after all effects', () => {
    const v = variable([1], { value: 1 })
    const program = record(() => {
      assign(v, ops.scale(v, 2))
      return v
    })
    expect(program.runSync().item()).toBe(2)
    expect(program.runSync().item()).toBe(4)
  })

  it('a copy of a parameter taken before its update is the old one', () => {
    const optimized = new Optimized({ kind: 'sgd' }, [[2]])
    const [w] = optimized.variables
    const [before, after] = [variable([2]), variable([2])]
    const program = record(
      ({ g }) => {
        assign(before, w!)
        optimized.update([g])
        assign(after, w!)
        return []
      },
      { g: [2] },
      { step: optimized.step },
    )
    write(w!, [1, 2])
    writeStep(optimized.step, { rate: 1 })
    program.runSync({ g: [10, 20] })
    expect([before, w!, after].map((v) => Array.from(read(v)))).toEqual([
      [1, 2],
      [-9, -18],
      [-9, -18],
    ])
  })

  it('many steps in one call carry variables from step to step', () => {
    const v = variable([1])
    const program = record(() => {
      assign(v, ops.scale(v, 1, 1))
      return { count: ops.scale(v, 1) }
    })
    const results = program.runManySync(5)
    expect([...results].map(({ count }) => count.item())).toEqual([1, 2, 3, 4, 5])
    expect([results.steps, results.at(-1).count.item(), results.at(0).count.item()]).toEqual([5, 5, 1])
    expect(() => results.at(5)).toThrow('step')
    expect(read(v)[0]).toBe(5)
  })

  it('a step that fails on its data changes nothing', () => {
    const v = variable([3], { value: 7 })
    const program = record(
      ({ t, i }) => {
        assign(v, ops.scale(v, 2))
        return ops.gather(t, i)
      },
      { t: [3], i: { shape: [3], dtype: 'int32' } },
    )
    expect(() => program.runSync({ t: [1, 2, 3], i: [0, 1, 3] })).toThrow('3')
    expect(Array.from(read(v))).toEqual([7, 7, 7])
    program.runSync({ t: [1, 2, 3], i: [0, 1, 2] })
    expect(Array.from(read(v))).toEqual([14, 14, 14])
  })

  it('refuses to assign what does not fit or may not change', () => {
    const v = variable([2])
    expect(() => record(() => assign(v, ops.fill([3], 0)) ?? [])).toThrow('Expected a value like variable float32 [2]')
    expect(() => record(() => assign(stepState(), ops.fill([1], 0)) ?? [])).toThrow('programs may change')
    expect(() => assign(v, tensor([1, 2]))).toThrow('assign() is only possible inside record()')
  })
})

describe('results', () => {
  it('have the structure of what was returned', () => {
    const program = record(({ x }) => ({ loss: ops.sum(x), parts: [x, { deep: ops.neg(x), again: x }], none: [] }), {
      x: [2],
    })
    const { loss, parts, none } = program.runSync({ x: [1, 2] })
    const [first, second] = parts as [Tensor, { deep: Tensor; again: Tensor }]
    expect(loss.item()).toBe(3)
    expect([first, second.deep, second.again].map((t) => Array.from(t.data))).toEqual([
      [1, 2],
      [-1, -2],
      [1, 2],
    ])
    expect(none).toEqual([])
  })

  it('do not change with later steps', () => {
    const program = record(({ x }) => ops.neg(x), { x: [2] })
    const first = program.runSync({ x: [1, 2] })
    program.runSync({ x: [3, 4] })
    expect(Array.from(first.data)).toEqual([-1, -2])
  })

  it('are tensors at once: no promises, no other values', () => {
    expect(() => record((async () => ops.fill([1], 0)) as never)).toThrow('returns its tensors at once')
    expect(() => record((() => ({ loss: 3 })) as never)).toThrow(/loss.*received 3/)
  })

  it('may be nothing', () => {
    expect(record(() => []).runSync()).toEqual([])
  })
})

describe('running', () => {
  const program = record(
    ({ x, i }) => ops.gather(x, i),
    { x: [3], i: { shape: [2], dtype: 'int32' } },
    { name: 'look-up' },
  )

  it('checks inputs by name and size', () => {
    expect(() => program.runSync({ x: [1, 2, 3] } as never)).toThrow('Expected 2 elements [2] for input i of look-up')
    expect(() => program.runSync({ x: [1, 2], i: [0, 1] })).toThrow(
      'Expected 3 elements [3] for input x of look-up but received 2',
    )
    expect(() => program.runSync({ x: [1, 2, 3], i: [0, 1], j: [] } as never)).toThrow('"j"')
    expect(() => program.runSync({ x: 5, i: [0, 1] } as never)).toThrow('input x of look-up')
  })

  it('gives the same later and at once', async () => {
    const inputs = { x: [1, 2, 3], i: [2, 0] }
    const [now, later, many] = [program.runSync(inputs), await program.run(inputs), await program.runMany(2, inputs)]
    for (const result of [now, later, many.at(0), many.at(1)]) expect(Array.from(result.data)).toEqual([3, 1])
  })

  it('a failing run rejects with layer and line, and the next runs', async () => {
    const inputs = { x: [1, 2, 3], i: [9, 0] }
    await expect(program.run(inputs)).rejects.toThrow(
      /gather.*record\.test\.ts:\d+: index 9 in row 0 is outside 0\.\.2/,
    )
    await expect(program.runMany(4, inputs)).rejects.toBeInstanceOf(GradlineError)
    expect(Array.from((await program.run({ ...inputs, i: [1, 1] })).data)).toEqual([2, 2])
  })

  it('runs as many steps as asked, none for 0', async () => {
    const inputs = { x: [1, 2, 3], i: [0, 0] }
    for (const steps of [0, 1, 3]) {
      expect(program.runManySync(steps, inputs).steps).toBe(steps)
      expect((await program.runMany(steps, inputs)).steps).toBe(steps)
    }
    for (const steps of [-1, 1.5, Number.NaN, 2 ** 32]) {
      expect(() => program.runManySync(steps, inputs)).toThrow(`for steps but received ${steps}`)
      await expect(program.runMany(steps, inputs)).rejects.toThrow(`for steps but received ${steps}`)
    }
  })

  it('stop() ends a long run at a step boundary', async () => {
    const v = variable([1])
    const counting = record(() => {
      assign(v, ops.scale(v, 1, 1))
      return []
    })
    const running = counting.runMany(2 ** 31 - 1)
    await new Promise((resolve) => setTimeout(resolve, 30))
    counting.stop()
    const { steps } = await running
    expect(steps).toBeGreaterThan(0)
    expect(steps).toBeLessThan(2 ** 31 - 1)
    // Whole steps only: the variable counted each of them (floats count exactly up to 2^24).
    expect(read(v)[0]).toBe(Math.min(steps, 2 ** 24))
    expect((await counting.runMany(3)).steps).toBe(3)
  })

  it('stop() ends queued runs of the program too', async () => {
    const counting = record(() => ops.fill([1], 1))
    const queued = [counting.runMany(2 ** 22), counting.runMany(2 ** 22), counting.runMany(2 ** 22)]
    counting.stop()
    const done = await Promise.all(queued)
    expect(done[2]!.steps).toBeLessThan(2 ** 22)
    expect(done.map(({ steps }) => steps).reduce((a, b) => a + b)).toBeLessThan(2 ** 22)
  })

  it('a busy variable can be neither read nor written', async () => {
    const v = variable([1])
    const counting = record(() => {
      assign(v, ops.scale(v, 1, 1))
      return []
    })
    const running = counting.runMany(2 ** 31 - 1)
    expect(failure(() => read(v)).code).toBe('busy')
    expect(failure(() => write(v, [0])).code).toBe('busy')
    counting.stop()
    await running
    write(v, [5])
    expect(read(v)[0]).toBe(5)
  })

  it('a closed program refuses to run, its variables stay', () => {
    const v = variable([1], { value: 2 })
    const once = record(() => {
      assign(v, ops.scale(v, 3))
      return []
    })
    once.runSync()
    once.close()
    once.close()
    expect(failure(() => once.runSync()).message).toBe('The program program was closed')
    expect(read(v)[0]).toBe(6)
  })
})
