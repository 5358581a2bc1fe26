// The planner: no value overwrites another that is still needed, memory is counted exactly, and any program gives the same
// bits with and without it. Random programs find what no list of cases would.
import { describe, expect, it } from 'vitest'
import { device, grad, ops, type Program, record, type Tensor, variable } from '../../src/index.js'
import { passNames } from '../../src/passes/index.js'
import { externalKinds, inputsFor, layoutOf, storagesFor } from '../native/bytes.js'
import { Random } from '../ops/data.js'
import { adam, Optimized } from '../ops/optimizer.js'

/** A program of random ops over matrices [4, 4] and what follows from them: results, their loss and its gradients. */
function randomProgram(seed: number): (inputs: Record<string, Tensor>) => Tensor[] {
  return ({ a, b, c }) => {
    const random = new Random(seed)
    const made: Tensor[] = [a!, b!, c!]
    const any = (): Tensor => made[random.integer(Math.max(0, made.length - 6), made.length - 1)]!
    const choices: (() => Tensor)[] = [
      () => ops.add(any(), any()),
      () => ops.sub(any(), any()),
      () => ops.mul(any(), any()),
      () => ops.matmul(any(), any()),
      () => ops.relu(any()),
      () => ops.tanh(any()),
      () => ops.sigmoid(any()),
      () => ops.neg(any()),
      () => ops.transpose(any()),
      () => ops.softmax(any()),
      () => ops.maximum(any(), any()),
      () => ops.add(any(), ops.sum(any(), { axes: 0 })),
      () => ops.relu(ops.add(ops.matmul(any(), any()), ops.mean(any(), { axes: 0 }))),
      () =>
        ops.tanh(
          ops.reshape(ops.concat([ops.slice(any(), [0, 1], [4, 2]), ops.slice(any(), [0, 0], [4, 2])], 1), [4, 4]),
        ),
      () => ops.reshape(ops.scale(ops.reshape(any(), [2, 8]), 0.5), [4, 4]),
    ]
    const count = random.integer(5, 40)
    for (let i = 0; i < count; i++) made.push(choices[random.integer(0, choices.length - 1)]!())
    const kept = [made.at(-1)!, any(), any()]
    const loss = ops.mean(ops.tanh(kept.reduce((x, y) => ops.add(x, y))))
    return [...kept, loss, ...grad(loss, [a!, b!, c!])]
  }
}

const matrix = (seed: number): Float32Array => {
  const random = new Random(seed)
  return Float32Array.from({ length: 16 }, () => random.normal())
}
const inputs = { a: matrix(1), b: matrix(2), c: matrix(3) }
const specs = { a: [4, 4], b: [4, 4], c: [4, 4] }

describe('random programs', () => {
  it.each(Array.from({ length: 60 }, (_, seed) => seed))('number %i needs neither plan nor passes', (seed) => {
    const fn = randomProgram(seed)
    const run = (options: Parameters<typeof record>[2]): number[][] => {
      const program = record(fn as never, specs, options) as unknown as Program<typeof specs, Tensor[]>
      // Twice, so that what a first step leaves behind would show.
      program.runSync(inputs)
      const results = program.runSync(inputs).map(({ data }) => Array.from(data))
      program.close()
      return results
    }
    const packed = run({})
    expect(packed.flat().every(Number.isFinite)).toBe(true)
    expect(run({ plan: 'none' })).toEqual(packed)
    expect(run({ plan: 'apart' })).toEqual(packed)
    expect(run({ without: passNames })).toEqual(packed)
    expect(run({ plan: 'none', without: passNames })).toEqual(packed)
    const oracle = run({ device: 'ref', plan: 'none', without: passNames })
    packed.forEach((list, i) => {
      const largest = Math.max(1, ...oracle[i]!.map(Math.abs))
      const differences = list.map((v, j) => Math.abs(v - oracle[i]![j]!))
      expect(Math.max(...differences)).toBeLessThan(2e-4 * largest)
    })
    expect(run({ device: 'ref' })).toEqual(oracle)
  })
})

describe('memory()', () => {
  const optimized = new Optimized(adam, [[20, 30], [30], [30, 5]])
  const step = (options: Parameters<typeof record>[2] = {}): Program<{ x: number[] }, Tensor> => {
    const [w, b, v] = optimized.variables as [never, never, never]
    return record(
      ({ x }) => {
        const loss = ops.mean(ops.square(ops.matmul(ops.relu(ops.add(ops.matmul(x, w), b)), v)))
        optimized.update(grad(loss, [...optimized.variables]))
        return loss
      },
      { x: [40, 20] },
      { step: optimized.step, ...options },
    )
  }

  it('is exact: what native code allocates and holds', () => {
    for (const on of [device('cpu'), device('ref')]) {
      const program = step({ device: on })
      const { param, opt, state, step: stepBytes, data, grad, act, input, metric, workspace, total } = program.memory()
      const layout = layoutOf(program.bytes)
      const native = on.native.load(program.bytes, storagesFor(on.native, layout))
      expect(native.bytes).toBe(grad + act + input + metric + workspace)
      expect(native.resultBytes).toBe(metric)
      const outside = layout.regions.filter(({ kind }) => kind < externalKinds)
      expect(outside.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(param + opt + state + stepBytes + data)
      expect(total).toBe(native.bytes + param + opt + state + stepBytes + data)
      // Known sizes, each rounded up to 64 bytes: 2400, 120 and 600; the moments twice as many.
      expect({ param, opt, grad, step: stepBytes }).toEqual({ param: 3200, opt: 6400, grad: 3200, step: 256 })
      expect([input, metric]).toEqual([3200, 64])
      expect(native.runSync(1, inputsFor(layout)).results.length).toBe(metric)
    }
  })

  it('the plan needs less than no plan, and says so', () => {
    const [packed, apart] = [step(), step({ plan: 'none' })]
    expect(packed.memory().act).toBeLessThan(apart.memory().act)
    expect(packed.print()).toMatch(/act [\d.]+ KiB \([\d.]+ KiB unshared\)/)
    expect(apart.print()).not.toContain('unshared')
  })

  it('of values apart is between the two, and no more than the packed one where there is much of it', () => {
    const [packed, apart, none] = (['packed', 'apart', 'none'] as const).map((plan) => step({ plan }).memory().act)
    expect(packed).toBeLessThan(apart as number)
    expect(apart).toBeLessThan(none as number) // what is made in place stays so
    const large = (plan: 'packed' | 'apart'): number =>
      record(({ x }) => ops.sum(ops.matmul(ops.matmul(ops.matmul(x, x), x), x)), { x: [1200, 1200] }, { plan }).memory()
        .act
    expect(large('apart')).toBe(large('packed'))
  })

  it('of a program in double precision counts eight bytes', () => {
    const [narrow, wide] = (['fp32', 'fp64'] as const).map((numerics) =>
      record(({ x }) => ops.softmax(ops.exp(x)), { x: [64] }, { device: 'ref', numerics }).memory(),
    )
    expect([wide!.input, wide!.metric]).toEqual([2 * narrow!.input, 2 * narrow!.metric])
    expect([narrow!.input, narrow!.metric]).toEqual([256, 256])
  })
})

describe('places', () => {
  it('of values alive at the same time never overlap', () => {
    // From the bytes alone: each op's outputs against every value that is read later and was written before.
    for (let seed = 0; seed < 40; seed++) {
      const { bytes } = record(randomProgram(seed) as never, specs)
      const view = new DataView(bytes.buffer)
      const { at, ops: nodes, values, regions, outputs } = layoutOf(bytes)
      const place = (id: number) => {
        const begin = Number(view.getBigUint64(at.values + 72 * id + 8, true))
        const { region, dims } = values[id]!
        return { region, begin, end: begin + 4 * dims.reduce((a, b) => a * b, 1) }
      }
      const ids = (record: number, first: number, count: number): number[] =>
        Array.from({ length: count }, (_, i) => view.getUint32(record + first + 4 * i, true))
      const reads = nodes.map(({ inputs: count, epilogues }, i) => {
        const record = at.ops + 232 * i
        const operands = epilogues.map((_, e) => view.getUint32(record + 168 + 16 * e + 4, true))
        return [...ids(record, 120, count), ...operands.filter((id) => id !== 0xffffffff)]
      })
      const writes = nodes.map(({ outputs: count }, i) => ids(at.ops + 232 * i, 152, count))
      // What no op writes is a view: reading it reads the value that was written to its place last.
      const written = new Map<string, number>()
      const lastRead = new Map<number, number>()
      const key = (id: number): string => `${place(id).region}+${place(id).begin}`
      const own = new Set(writes.flat())
      const shown = (id: number): number => (own.has(id) ? id : (written.get(key(id)) ?? id))
      nodes.forEach((_, i) => {
        for (const id of reads[i]!) lastRead.set(shown(id), i)
        for (const id of writes[i]!) written.set(key(id), id)
      })
      for (const id of outputs) lastRead.set(shown(id), nodes.length)
      const overlaps: object[] = []
      const alive = new Set<number>()
      writes.forEach((list, i) => {
        for (const id of list) {
          const mine = place(id)
          expect(mine.begin % 64).toBe(0)
          expect(mine.end).toBeLessThanOrEqual(regions[mine.region]!.bytes)
          for (const other of alive) {
            const its = place(other)
            if (lastRead.get(other)! <= i || its.region !== mine.region) continue
            if (its.begin < mine.end && mine.begin < its.end) overlaps.push({ seed, id, other })
          }
        }
        for (const id of list) alive.add(id)
      })
      expect(overlaps).toEqual([])
    }
  })
})

it('a variable lives on one device', () => {
  const v = variable([1])
  record(() => ops.neg(v), {}, { device: 'ref' }).runSync()
  expect(() => record(() => ops.neg(v)).runSync()).toThrow(/variable lives on ref.* cannot be used on cpu/)
})

it('fp64 runs on the oracle only, and without float variables', () => {
  expect(() => record(() => ops.fill([1], 1), {}, { numerics: 'fp64' })).toThrow("the device 'ref'")
  const v = variable([1])
  expect(() => record(() => ops.neg(v), {}, { device: 'ref', numerics: 'fp64' }).runSync()).toThrow(
    'cannot use the float variable variable',
  )
})
