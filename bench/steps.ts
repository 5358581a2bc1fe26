// Whole training steps of small and middle-sized networks, as fit() records them: rows drawn inside, forward, loss, gradients,
// update. The rate is tiny, so that the weights stay where they began however long the measurement lasts.

import type { Layer, Program } from 'gradline'
import { numbers } from './kernels.js'
import type { Build, Case, Fact, Library, Work } from './measure.js'
import { timed } from './measure.js'

type Optimized = 'sgd' | 'momentum' | 'adam'

export interface Network {
  readonly name: string
  readonly input: readonly number[]
  readonly batch: number
  readonly classes: number
  readonly optimizer: Optimized
  /** Multiply-adds of one sample forward, by layer with weights, first to last. */
  readonly products: readonly number[]
  readonly layers: (lib: Library) => Layer[]
}

export const samples = 2048

/** Dense layers with relu between them, and batch norm before it if asked for. */
function dense(widths: readonly number[], batch: number, optimizer: Optimized, batchNorm = false): Network {
  const [inputs, ...units] = widths as [number, ...number[]]
  const hidden = units.slice(0, -1)
  const same = hidden.length > 3 && hidden.every((width) => width === hidden[0])
  const short = same ? [inputs, `${hidden.length}x${hidden[0]}`, units.at(-1)] : widths
  return {
    name: `${short.join('-')}${batchNorm ? ' batch norm' : ''} b${batch} ${optimizer}`,
    input: [inputs],
    batch,
    classes: units.at(-1) as number,
    optimizer,
    products: units.map((width, i) => width * (widths[i] as number)),
    layers: (lib) => [
      ...hidden.flatMap((width) => [lib.dense(width), ...(batchNorm ? [lib.batchNorm()] : []), lib.relu()]),
      lib.dense(units.at(-1) as number),
    ],
  }
}

/** The network of `gradline mnist`. */
const mnist: Network = {
  name: 'MNIST network conv5x5x30-pool-100-10 b100 adam',
  input: [28, 28, 1],
  batch: 100,
  classes: 10,
  optimizer: 'adam',
  products: [24 * 24 * 25 * 30, 4320 * 100, 100 * 10],
  layers: ({ conv2d, relu, maxPool2d, flatten, dense }) => [
    conv2d(30, 5),
    relu(),
    maxPool2d(2),
    flatten(),
    dense(100),
    relu(),
    dense(10),
  ],
}

export const smallNetwork = dense([784, 128, 10], 32, 'adam')

const networks: readonly Network[] = [
  dense([10, 16, 2], 32, 'sgd'),
  dense([4, 32, 16, 4], 64, 'adam'),
  smallNetwork,
  dense([784, 512, 256, 10], 128, 'adam'),
  dense([784, 512, 256, 10], 128, 'momentum', true),
  dense([784, ...Array.from({ length: 8 }, () => 256), 10], 512, 'adam', true),
  mnist,
]

/** Operations of a step: forward, gradients of weights, and of inputs for all layers but the first. */
export const operationsOf = ({ batch, products }: Network): number =>
  2 * batch * products.reduce((sum, product, i) => sum + product * (i === 0 ? 2 : 3), 0)

/** The step of a network with its weights drawn. */
export async function stepOf({ lib }: Build, network: Network, threads: number): Promise<Program> {
  const { input, batch, classes, optimizer } = network
  const net = lib.model(input, network.layers(lib), { device: lib.device('cpu', { threads }) })
  await net.initialize()
  const size = input.reduce((product, n) => product * n, 1)
  const inputs = lib.variable([samples, ...input], { name: 'inputs', value: numbers(samples * size) })
  const labels = lib.variable([samples], {
    name: 'labels',
    dtype: 'int32',
    value: Int32Array.from({ length: samples }, (_, i) => i % classes),
  })
  const updater = new lib.Updater(lib[optimizer]({ lr: 1e-6 }))
  const loss = lib.crossEntropy()
  return net.program(
    'step',
    () => {
      const rows = lib.ops.sampleRows(batch, samples, 'epoch', updater.step)
      const value = loss(net.apply(lib.ops.gather(inputs, rows), 'train'), lib.ops.gather(labels, rows))
      updater.apply(net.params, lib.grad(value, net.params))
      return { loss: value }
    },
    updater.step,
  ) as unknown as Program
}

async function stepWork(build: Build, network: Network, threads: number): Promise<Work> {
  const program = await stepOf(build, network, threads)
  return {
    time: (iterations) => timed(() => program.runManySync(iterations)),
    close: () => program.close(),
  }
}

export const steps = (threads: number): Case[] =>
  networks.map((network) => ({
    name: `step ${network.name}`,
    threads,
    unit: 'us',
    ceiling: 'multiply-adds',
    amount: operationsOf(network),
    quick: true,
    open: (build) => stepWork(build, network, threads),
  }))

export interface Profiled {
  readonly name: string
  readonly threads: number
  readonly network: Network
}

/** The steps whose ops can be profiled, by the names of their entries. */
export const profiled = (threads: number): Profiled[] =>
  networks.map((network) => ({ name: `step ${network.name}`, threads, network }))

/** The printed step with time and share of every op: medians over as many steps as fit a second, 1000 at most. */
export async function profileOf(build: Build, { network, threads }: Profiled): Promise<string> {
  const program = await stepOf(build, network, threads)
  program.runManySync(10)
  const once = timed(() => program.runManySync(10)) / 10
  const profile = await program.profile(Math.max(20, Math.min(1000, Math.round(1 / once))))
  const text = program.print({ profile })
  program.close()
  return text
}

/** Bytes of a step, planned before anything is allocated, without the data set of the benchmark. */
export const memory = (): Fact[] =>
  networks.map((network) => ({
    name: `memory of step ${network.name}`,
    unit: 'bytes',
    read: ({ lib }) => {
      const net = lib.model(network.input, network.layers(lib), { threads: 1 })
      return net.memory({ batchSize: network.batch, optimizer: lib[network.optimizer]() }).total
    },
  }))
