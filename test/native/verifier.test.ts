// No program, however broken, may crash the process or read or write outside its memory: thousands of damaged programs
// are refused with an error or run. A crash ends the process of this file, which the test runner reports.
import { beforeAll, describe, expect, it } from 'vitest'
import { device } from '../../src/device.js'
import {
  chain,
  cosineRestarts,
  grad,
  ops,
  record,
  sgd,
  stepState,
  table,
  Updater,
  variable,
  warmup,
} from '../../src/index.js'
import type { NativeFailure } from '../../src/native.js'
import { Random } from '../ops/data.js'
import { adam, momentum, Optimized } from '../ops/optimizer.js'
import { type Layout, layoutOf, run, sizes, storagesFor } from './bytes.js'

const on = device('cpu', { threads: 2 })
const cpu = on.native
const ref = device('ref').native

/** Small programs that use, together, most ops, every kind of region, epilogues and segments. */
const programs: Record<string, () => Uint8Array> = {
  'a training step': () => {
    const optimized = new Optimized(adam, [[5, 7], [7], [7, 3], [3]])
    const [w1, b1, w2, b2] = optimized.variables as [never, never, never, never]
    return record(
      ({ x, t }) => {
        const h = ops.dropout(ops.relu(ops.add(ops.matmul(x, w1), b1)), 0.2)
        const loss = ops.mean(ops.softmaxCrossEntropy(ops.add(ops.matmul(h, w2), b2), t).loss)
        optimized.update(grad(loss, [...optimized.variables]), 1)
        return loss
      },
      { x: [4, 5], t: { shape: [4], dtype: 'int32' } },
      { device: on, step: optimized.step },
    ).bytes
  },
  'images from a table': () => {
    const optimized = new Optimized(momentum, [[3, 3, 2, 4], [4], [4]])
    const [w, gamma, beta] = optimized.variables as [never, never, never]
    const table = variable([9, 6, 5, 2], { dtype: 'uint8' })
    return record(
      () => {
        const x = ops.gather(table, ops.sampleRows(3, 9), { factor: 1 / 255 })
        const y = ops.batchNorm(ops.conv2d(x, w, { padding: 'same' }), gamma, beta).y
        const pooled = ops.avgPool2d(ops.maxPool2d(ops.elu(y), 2, { padding: 1 }), 2)
        const loss = ops.sum(ops.square(pooled))
        optimized.update(grad(loss, [...optimized.variables]))
        return { loss, largest: ops.max(y, { axes: [0, 1] }) }
      },
      {},
      { device: on, step: optimized.step },
    ).bytes
  },
  'a schedule': () => {
    const p = variable([5])
    const parts = [table([1, 2, 3]), warmup({ steps: 3 }), cosineRestarts({ period: 2, multiplier: 1.5 })]
    const updater = new Updater(sgd({ schedule: chain(parts) }))
    return record(
      () => {
        updater.apply([p], [ops.fill([5], 1)])
        return ops.add(p, 0)
      },
      {},
      { device: on },
    ).bytes
  },
  'elements that move': () => {
    const state = variable([4, 6])
    return record(
      ({ a, b, i }) => {
        const joined = ops.concat([ops.transpose(a), ops.slice(b, [0, 1], [6, 3])], 1)
        const picked = ops.gather(joined, i)
        const chosen = ops.select(ops.greater(picked, 0), ops.exp(picked), ops.div(picked, 3))
        const padded = ops.pad(chosen, [1, 0], [0, 2])
        const noisy = ops.add(padded, ops.randomNormal(padded.shape))
        const next = ops.add(ops.softmax(a), ops.randomUniform([4, 6]))
        const copied = ops.tanh(next)
        return [ops.argmax(noisy), ops.cast(ops.argmax(noisy), 'float32'), ops.mean(copied), ops.sub(state, next)]
      },
      { a: [4, 6], b: [6, 5], i: { shape: [3], dtype: 'int32' } },
      { device: on, step: stepState('random', { seed: 3 }) },
    ).bytes
  },
}

const limit = 32 * 1024 * 1024

/** What becomes of a program: the code of the error it was refused with, or 'ran'. Anything else fails the test. */
function outcome(bytes: Uint8Array, native = cpu): string {
  try {
    native.measure(bytes)
    const layout: Layout = layoutOf(bytes)
    if (layout.regions.reduce((total, region) => total + region.bytes, 0) > limit) return 'too large to run'
    const program = native.load(bytes, storagesFor(native, layout))
    run(program, layout, 2)
    program.release()
    return 'ran'
  } catch (error) {
    const { code, message } = error as NativeFailure
    if (!(error instanceof Error) || !code?.startsWith('GL_') || message.length < 10) throw error
    return code
  }
}

describe.each(Object.entries(programs))('%s', (_, make) => {
  let bytes: Uint8Array
  beforeAll(() => {
    bytes = make()
  })

  it('runs undamaged', () => {
    expect(outcome(bytes)).toBe('ran')
  })

  it('is refused at every other length', () => {
    for (let length = 0; length < bytes.length; length++) {
      expect(outcome(bytes.subarray(0, length))).toBe('GL_PROGRAM')
    }
    for (const extra of [1, 8, 232]) {
      const longer = new Uint8Array(bytes.length + extra)
      longer.set(bytes)
      expect(outcome(longer)).toBe('GL_PROGRAM')
    }
  })

  it('stands at any address', () => {
    const shifted = new Uint8Array(bytes.length + 1)
    shifted.set(bytes, 1)
    expect(outcome(shifted.subarray(1))).toBe('ran')
  })

  it('survives 1500 random changes of a field', () => {
    const random = new Random(11)
    const outcomes = new Map<string, number>()
    const words = [0, 1, 2, 3, 4, 5, 7, 8, 63, 64, 255, 4096, 0x7fffffff, 0x80000000, 0xffffffff]
    for (let i = 0; i < 1500; i++) {
      const damaged = bytes.slice()
      const view = new DataView(damaged.buffer)
      for (let changes = random.integer(1, 3); changes > 0; changes--) {
        const at = 4 * random.integer(0, Math.floor(bytes.length / 4) - 1)
        const old = view.getUint32(at, true)
        const near = [old + 1, old - 1, old * 2, old ^ (1 << random.integer(0, 31))]
        const choices = random.uniform() < 0.5 ? words : near
        view.setUint32(at, choices[random.integer(0, choices.length - 1)]! >>> 0, true)
      }
      const what = outcome(damaged, i % 2 ? ref : cpu)
      outcomes.set(what, (outcomes.get(what) ?? 0) + 1)
    }
    // Both sides of the verifier were reached: most damage is refused, some is harmless.
    expect(outcomes.get('GL_PROGRAM') ?? 0).toBeGreaterThan(300)
    expect(outcomes.get('ran') ?? 0).toBeGreaterThan(20)
    expect([...outcomes.keys()].sort()).toEqual(
      [...outcomes.keys()]
        .filter((k) => /^(GL_PROGRAM|GL_FAULT|GL_MEMORY|GL_BACKEND|ran|too large to run)$/.test(k))
        .sort(),
    )
  })

  it('survives 1000 changes aimed at the records of values and ops', () => {
    const random = new Random(23)
    const { at, values, ops: nodes } = layoutOf(bytes)
    let refused = 0
    for (let i = 0; i < 1000; i++) {
      const damaged = bytes.slice()
      const view = new DataView(damaged.buffer)
      if (random.uniform() < 0.5) {
        // Region, dtype, offset, rank, or a length of a value.
        const record = at.values + sizes.value * random.integer(0, values.length - 1)
        const field = random.integer(0, 9)
        const number = [0, 1, 2, 3, 7, 64, 256, 1000, 2 ** 33, 2 ** 62][random.integer(0, 9)]!
        if (field < 2) view.setUint32(record + 4 * field, random.integer(0, 9), true)
        else if (field === 2) view.setBigUint64(record + 8, BigInt(number), true)
        else if (field === 3) view.setUint32(record + 16, random.integer(0, 8), true)
        else view.setBigInt64(record + 24 + 8 * (field - 4), BigInt(number) * (random.uniform() < 0.1 ? -1n : 1n), true)
      } else {
        const record = at.ops + sizes.op * random.integer(0, nodes.length - 1)
        const kind = random.integer(0, 4)
        if (kind === 0) view.setUint32(record, random.integer(0, 70), true)
        else if (kind === 1) view.setUint32(record + 8 + 4 * random.integer(0, 2), random.integer(0, 9), true)
        else if (kind === 2) {
          const numbers = [0, 1, -1, 2, 3, 5, 0.5, 1e9, 1e300, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31]
          view.setFloat64(record + 24 + 8 * random.integer(0, 11), numbers[random.integer(0, 11)]!, true)
        } else if (kind === 3) {
          view.setUint32(record + 120 + 4 * random.integer(0, 11), random.integer(0, values.length), true)
        } else {
          const epilogue = record + 168 + 16 * random.integer(0, 3)
          view.setUint32(record + 16, random.integer(0, 5), true)
          view.setUint32(epilogue, random.integer(0, 40), true)
          view.setUint32(epilogue + 4, random.integer(0, values.length), true)
        }
      }
      if (outcome(damaged, i % 2 ? ref : cpu).startsWith('GL_')) refused++
    }
    expect(refused).toBeGreaterThan(300)
    expect(refused).toBeLessThan(1000)
  })
})

describe('storages', () => {
  const bytes = programs['a training step']!()
  const layout = layoutOf(bytes)
  const fitting = (): ReturnType<typeof storagesFor> => storagesFor(cpu, layout)
  const external = layout.regions.findIndex(({ kind }) => kind === 0)
  const internal = layout.regions.findIndex(({ kind }) => kind === 6)

  it('are needed, one entry per region', () => {
    expect(() => cpu.load(bytes, [])).toThrow(/received 0 storages, expected .* \d+ regions/)
    expect(() => cpu.load(bytes, [...fitting(), null])).toThrow(/storages, expected/)
    expect(() => cpu.load(bytes, fitting().slice(1))).toThrow(/storages, expected/)
  })

  it('must be large enough', () => {
    const storages = fitting()
    storages[external] = cpu.storage(layout.regions[external]!.bytes - 1)
    expect(() => cpu.load(bytes, storages)).toThrow(/\(param\) needs a storage of \d+ bytes, received one of/)
  })

  it('must be there for what outlives the program, and absent for what it owns', () => {
    const without = fitting()
    without[external] = null
    expect(() => cpu.load(bytes, without)).toThrow('expected a storage and received null')
    const given = fitting()
    given[internal] = cpu.storage(1 << 20)
    expect(() => cpu.load(bytes, given)).toThrow('expected null and received a storage')
  })

  it('may not be shared by two regions', () => {
    const [first, second] = layout.regions.flatMap(({ kind }, i) => (kind === 0 || kind === 1 ? [i] : []))
    const storages = fitting()
    storages[first!] = cpu.storage(1 << 20)
    storages[second!] = storages[first!]!
    expect(() => cpu.load(bytes, storages)).toThrow('received the same storage')
  })

  it('must be of the same device and not released', () => {
    const foreign = fitting()
    foreign[external] = ref.storage(layout.regions[external]!.bytes)
    expect(() => cpu.load(bytes, foreign)).toThrow('of another device')
    const gone = fitting()
    gone[external]!.release()
    expect(() => cpu.load(bytes, gone)).toThrow('released')
  })

  it('are not touched outside of the region', () => {
    const storages = fitting()
    const size = layout.regions[external]!.bytes
    storages[external] = cpu.storage(size + 4096)
    const canary = new Uint8Array(4096).fill(0xab)
    storages[external].write(size, canary)
    run(cpu.load(bytes, storages), layout, 3)
    const after = new Uint8Array(4096)
    storages[external].read(size, after)
    expect(Buffer.from(after).equals(Buffer.from(canary))).toBe(true)
  })
})
