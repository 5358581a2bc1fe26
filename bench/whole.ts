// What surrounds the kernels: the cost of a call, of loading the package, of fit() around its steps, and the package's size.

import { spawnSync } from 'node:child_process'
import type { Build, Case, Fact, Library, Work } from './measure.js'
import { timed } from './measure.js'
import { layersOf } from './peers/task.js'
import { operationsOf, smallNetwork } from './steps.js'

const seconds = async (body: () => Promise<unknown>): Promise<number> => {
  const began = performance.now()
  await body()
  return (performance.now() - began) / 1000
}

const plain = { threads: 1, unit: 'us', ceiling: 'none', amount: 0, quick: true } as const

type Empty = ReturnType<typeof emptyProgram>
const emptyProgram = ({ record, device }: Library) => record(() => ({}), {}, { device: device('cpu', { threads: 1 }) })

function call(name: string, time: (program: Empty, iterations: number) => number | Promise<number>): Case {
  return {
    name,
    ...plain,
    open: ({ lib }) => {
      const program = emptyProgram(lib)
      return { time: (iterations) => time(program, iterations), close: () => program.close() }
    },
  }
}

const calls: readonly Case[] = [
  call('empty step in runManySync', (program, steps) => timed(() => program.runManySync(steps))),
  call('runSync of an empty step', (program, count) =>
    timed(() => {
      for (let i = 0; i < count; i++) program.runSync()
    }),
  ),
  call('awaited run of an empty step', (program, count) =>
    seconds(async () => {
      for (let i = 0; i < count; i++) await program.run()
    }),
  ),
]

/** Milliseconds that a script prints, from a process of its own whose start does not count. */
function inFreshProcess(name: string, script: (entry: string) => string): Case {
  return {
    name,
    ...plain,
    unit: 'ms',
    open: ({ entry }) => {
      const text = script(JSON.stringify(entry))
      const once = (): number => {
        const child = spawnSync(process.execPath, ['--input-type=module', '--eval', text], { encoding: 'utf8' })
        if (child.status !== 0) throw new Error(`${name} failed:\n${child.stderr}`)
        return Number(child.stdout) / 1000
      }
      return {
        time: (iterations) => Array.from({ length: iterations }, once).reduce((sum, each) => sum + each, 0),
        close: () => {},
      }
    },
  }
}

/** Import of the package and opening of its device. */
const load = inFreshProcess(
  'load of the package',
  (entry) => `const began = performance.now()
    const { device } = await import(${entry})
    device('cpu', { threads: 1 })
    console.log(performance.now() - began)`,
)

/** From the import to the end of the first training step: recording, planning and compiling are in it. */
const firstStep = inFreshProcess(
  'import to the first training step',
  (entry) => `const began = performance.now()
    const { adam, crossEntropy, dataset, dense, model, relu } = await import(${entry})
    const net = model([784], [dense(128), relu(), dense(10)], { seed: 1, threads: 1 })
    const data = dataset(new Float32Array(32 * 784), new Int32Array(32), { shape: [32, 784] })
    await net.fit(data, { loss: crossEntropy(), optimizer: adam(), batchSize: 32, epochs: 1 })
    console.log(performance.now() - began)`,
)

const rows = 32_768

/** Epochs of fit() beside the same program run in one call. */
async function fitWork({ lib }: Build): Promise<Work> {
  const { batch, input, layers } = smallNetwork
  const width = input[0] as number
  const pixels = Uint8Array.from({ length: rows * width }, (_, i) => (i * 97) % 256)
  const labels = Int32Array.from({ length: rows }, (_, i) => i % 10)
  const data = lib.dataset(pixels, labels, { shape: [rows, width] })
  const net = lib.model(input, layersOf(lib, layers), { threads: 1 })
  const [loss, optimizer] = [lib.crossEntropy(), lib.adam({ lr: 1e-6 })]
  const table = lib.variable([rows, width], { name: 'pixels', dtype: 'uint8', value: pixels })
  const classes = lib.variable([rows], { name: 'labels', dtype: 'int32', value: labels })
  await net.initialize()
  const updater = new lib.Updater(lib.adam({ lr: 1e-6 }))
  const stepsPerEpoch = rows / batch
  const program = net.program(
    'bare',
    () => {
      const chosen = lib.ops.sampleRows(batch, rows, 'epoch', updater.step)
      const inputs = lib.ops.gather(table, chosen, { factor: 1 / 255 })
      const value = lib.ops.requireFinite(loss(net.apply(inputs, 'train'), lib.ops.gather(classes, chosen)))
      updater.apply(net.params, lib.grad(value, net.params))
      return { loss: value }
    },
    updater.step,
  )
  return {
    // Whole epochs, at least one, of as many steps as asked for or about so many.
    time: async (steps) => {
      const epochs = Math.ceil(steps / stepsPerEpoch)
      const { seconds } = await net.fit(data, { loss, optimizer, epochs, batchSize: batch })
      return (seconds * steps) / (epochs * stepsPerEpoch)
    },
    bare: (steps) => {
      const count = Math.ceil(steps / stepsPerEpoch) * stepsPerEpoch
      return (timed(() => program.runManySync(count)) * steps) / count
    },
    close: () => program.close(),
  }
}

const fit: Case = {
  name: `step inside fit() of ${smallNetwork.name}`,
  threads: 1,
  unit: 'us',
  ceiling: 'bare loop',
  amount: operationsOf(smallNetwork),
  quick: true,
  open: fitWork,
}

interface Packed {
  readonly size: number
  readonly unpackedSize: number
}

const packs = new Map<string, Packed>()

/** What `npm publish` would send, without the native program, which is a package of its own. */
function packed({ folder }: Build): Packed {
  let found = packs.get(folder)
  if (!found) {
    const npm = spawnSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: folder, encoding: 'utf8' })
    if (npm.status !== 0) throw new Error(`npm pack failed:\n${npm.stderr}`)
    found = (JSON.parse(npm.stdout) as [Packed])[0]
    packs.set(folder, found)
  }
  return found
}

export const whole = (): Case[] => [...calls, load, firstStep, fit]

export const sizes: readonly Fact[] = [
  { name: 'package, packed', unit: 'bytes', read: (build) => packed(build).size },
  { name: 'package, unpacked', unit: 'bytes', read: (build) => packed(build).unpackedSize },
]
