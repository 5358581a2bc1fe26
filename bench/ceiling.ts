// What the machine can do at the moment of a measurement: multiply-adds of all threads at once, and bytes copied. The other
// threads are workers of their own that sleep between measurements, so that they do not disturb the work.

import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { device, ops, record, variable } from 'gradline'

/** A ceiling: the best rate seen, and the mean one, which falls when something else runs on the machine. */
export interface Ceiling {
  readonly best: number
  readonly mean: number
  /**
   * What the mean is when nothing else runs: of multiply-adds the highest seen in this run of the suite. Bandwidth moves
   * within minutes by itself, so that only rounds of one entry can be held against each other.
   */
  readonly undisturbed: number
  /** Share of its undisturbed multiply-adds that the machine gave just then; 1 where only these were measured. */
  readonly share?: number
}

/** What moves bytes: y = x, or x += y, which writes only what it has read and so spares the memory a read. */
export type Traffic = 'copy' | 'update'

type Rates = Omit<Ceiling, 'undisturbed' | 'share'>

export interface Ceilings {
  /** Operations per second of so many threads together. */
  compute(threads: number): Ceiling
  /** Bytes per second, read and written, of `work` on tensors of 64 MB, which no cache near a core holds. */
  bandwidth(work: Traffic, threads: number): Ceiling
  close(): Promise<void>
}

// A slot lasts as long as asked for and at most half as long again; what goes beyond, the thread did not run.
const slots = 4
const slotMilliseconds = 1
const idle = 0
const go = 1
const done = 2
const stop = 3

function burn(): Rates {
  const { native } = device('cpu', { threads: 1 })
  let best = 0
  let time = 0
  let lost = 0
  for (let i = 0; i < slots; i++) {
    const began = performance.now()
    const rate = native.peak(slotMilliseconds)
    lost += Math.max(0, performance.now() - began - 1.5 * slotMilliseconds)
    best = Math.max(best, rate)
    time += 1 / rate
  }
  const running = slots * slotMilliseconds
  return { best, mean: ((slots / time) * running) / (running + lost) }
}

interface Shared {
  readonly flags: Int32Array
  readonly rates: Float64Array
}

function serve({ flags, rates }: Shared): void {
  for (;;) {
    Atomics.wait(flags, 0, idle)
    if (Atomics.load(flags, 0) === stop) return
    if (Atomics.load(flags, 0) === go) {
      const { best, mean } = burn()
      rates.set([best, mean])
      Atomics.store(flags, 0, done)
      Atomics.notify(flags, 0)
    }
    Atomics.wait(flags, 0, done)
  }
}

if (!isMainThread && (workerData as { ceiling?: Shared } | null)?.ceiling) serve(workerData.ceiling as Shared)

/** `threads`: the most that will be asked for. */
export function openCeilings(threads: number): Ceilings {
  const helpers = Array.from({ length: threads - 1 }, () => {
    const shared = {
      flags: new Int32Array(new SharedArrayBuffer(4)),
      rates: new Float64Array(new SharedArrayBuffer(16)),
    }
    return { shared, worker: new Worker(new URL(import.meta.url), { workerData: { ceiling: shared } }) }
  })
  const signal = ({ flags }: Shared, state: number): void => {
    Atomics.store(flags, 0, state)
    Atomics.notify(flags, 0)
  }

  function compute(count: number): Rates {
    const others = helpers.slice(0, count - 1)
    for (const { shared } of others) signal(shared, go)
    const total = { ...burn() }
    for (const { shared } of others) {
      while (Atomics.load(shared.flags, 0) !== done) Atomics.wait(shared.flags, 0, go, 100)
      total.best += shared.rates[0] as number
      total.mean += shared.rates[1] as number
      signal(shared, idle)
    }
    return total
  }

  const size = 2 ** 24
  const bytesOf: Record<Traffic, number> = { copy: 8 * size, update: 12 * size }
  const programs = new Map<string, { runManySync(steps: number): unknown }>()
  function bandwidth(work: Traffic, count: number): Rates {
    const key = `${work} ${count}`
    let program = programs.get(key)
    if (!program) {
      const [x, y] = [variable([size], { name: 'x' }), variable([size], { name: 'y', value: 1 })]
      const body = (): Record<string, never> => {
        ops.assign(x, work === 'copy' ? y : ops.add(x, y))
        return {}
      }
      program = record(body, {}, { device: device('cpu', { threads: count }) })
      programs.set(key, program)
      program.runManySync(1)
    }
    const rates = [0, 1].map(() => {
      const began = performance.now()
      program.runManySync(1)
      return (bytesOf[work] * 1000) / (performance.now() - began)
    })
    return { best: Math.max(...rates), mean: 2 / rates.reduce((time, rate) => time + 1 / rate, 0) }
  }

  const seen = new Map<number, number>()
  return {
    compute: (count) => {
      const rates = compute(count)
      const undisturbed = Math.max(rates.mean, seen.get(count) ?? 0)
      seen.set(count, undisturbed)
      return { ...rates, undisturbed }
    },
    bandwidth: (work, count) => {
      const rates = bandwidth(work, count)
      return { ...rates, undisturbed: rates.mean }
    },
    close: async () => {
      for (const { shared } of helpers) signal(shared, stop)
      await Promise.all(helpers.map(({ worker }) => worker.terminate()))
    },
  }
}
