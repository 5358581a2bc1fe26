// What fit() costs beside the steps, without a clock: calls into native code, bytes handed over, and JavaScript memory. Its
// chunks follow the speed of the machine, so calls are counted per chunk and per epoch.

import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Library } from '../measure.js'
import { watch } from '../pack.js'
import type { Table } from './table.js'

const rows = 4096
const batch = 4
const stepsPerEpoch = rows / batch

function training(lib: Library, threads: number) {
  const data = lib.dataset(new Float32Array(rows * 10).fill(0.5), new Int32Array(rows), { shape: [rows, 10] })
  const device = lib.device('cpu', { threads })
  const net = lib.model([10], [lib.dense(16), lib.relu(), lib.dense(2)], { device })
  const [loss, optimizer] = [lib.crossEntropy(), lib.sgd({ lr: 0.01 })]
  let chunks = 0
  const callbacks = [{ onProgress: () => void chunks++ }]
  const train = (epochs: number) => net.fit(data, { loss, optimizer, epochs, batchSize: batch, callbacks })
  return { device, train, chunks: () => chunks }
}

/** Calls and bytes, exact. */
export async function callsOfFit(lib: Library): Promise<Table> {
  const { device, train, chunks } = training(lib, 1)
  await train(1)
  const watched = watch(device)
  let inputBytes = 0
  watched.onRun = ({ inputs }) => {
    inputBytes += inputs.reduce((total, { byteLength }) => total + byteLength, 0)
  }
  const calls = async (epochs: number): Promise<{ other: number; perChunk: number }> => {
    watched.calls.clear()
    const before = chunks()
    await train(epochs)
    const runs = watched.calls.get('run') ?? 0
    const all = [...watched.calls.values()].reduce((total, count) => total + count, 0)
    return { other: all - runs, perChunk: runs / (chunks() - before) }
  }
  const [two, five] = [await calls(2), await calls(5)]
  return {
    'native calls of a chunk of fit()': five.perChunk,
    'other native calls of an epoch of fit()': (five.other - two.other) / 3,
    'other native calls of fit() beside its epochs': two.other - (2 * (five.other - two.other)) / 3,
    'input bytes copied by fit()': inputBytes,
  }
}

/** Bytes of JavaScript memory that a step allocates, rounded up. */
export async function memoryOfFit(lib: Library): Promise<Table> {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const { train } = training(lib, 1)
  await train(3)
  const fitted = await growth(collect, 4 * stepsPerEpoch, () => train(4))
  const program = lib.record(() => ({ x: lib.ops.fill([1], 1) }), {}, { device: lib.device('cpu', { threads: 1 }) })
  program.runManySync(1)
  const bare = await growth(collect, 20_000, () => program.runManySync(20_000))
  program.close()
  return { 'JavaScript bytes of a step in fit()': fitted, 'JavaScript bytes of a step in runManySync': bare }
}

// The middle one of several tries: a collection in between hides what was allocated, something else may add to it.
async function growth(collect: () => void, steps: number, body: () => unknown): Promise<number> {
  const grown: number[] = []
  for (let i = 0; i < 7; i++) {
    collect()
    const before = process.memoryUsage().heapUsed
    await body()
    grown.push(process.memoryUsage().heapUsed - before)
  }
  grown.sort((a, b) => a - b)
  return Math.max(0, Math.ceil((grown[3] as number) / steps))
}
