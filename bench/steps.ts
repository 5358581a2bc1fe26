// Whole training steps of small and middle-sized networks, as fit() records them: rows drawn inside, forward, loss, gradients,
// update. The rate is tiny, so that the weights stay where they began however long the measurement lasts.

import type { Model, Program } from 'gradline'
import { numbers } from './kernels.js'
import type { Build, Case, Fact, Numerics, Work } from './measure.js'
import { suffixOf, timed } from './measure.js'
import { type LayerOf, layersOf, type NetworkTask, type Optimized, productsOf } from './peers/task.js'

export interface Network extends NetworkTask {
  readonly name: string
  readonly numerics?: Numerics
  readonly quick: boolean
}

const samples = 2048

/** Dense layers with relu between them, and batch norm before it if asked for. */
function dense(widths: readonly number[], batch: number, optimizer: Optimized, batchNorm = false): Network {
  const [inputs, ...units] = widths as [number, ...number[]]
  const hidden = units.slice(0, -1)
  const same = hidden.length > 3 && hidden.every((width) => width === hidden[0])
  const short = same ? [inputs, `${hidden.length}x${hidden[0]}`, units.at(-1)] : widths
  const between: LayerOf[] = batchNorm ? [['batchNorm'], ['relu']] : [['relu']]
  return {
    name: `${short.join('-')}${batchNorm ? ' batch norm' : ''} b${batch} ${optimizer}`,
    quick: true,
    input: [inputs],
    batch,
    classes: units.at(-1) as number,
    optimizer,
    samples,
    layers: [
      ...hidden.flatMap((width): LayerOf[] => [['dense', width], ...between]),
      ['dense', units.at(-1) as number],
    ],
  }
}

/** The network of `gradline mnist`. */
const mnist: Network = {
  name: 'MNIST network conv5x5x30-pool-100-10 b100 adam',
  quick: true,
  input: [28, 28, 1],
  batch: 100,
  classes: 10,
  optimizer: 'adam',
  samples,
  layers: [['conv', 30, 5, 'valid'], ['relu'], ['maxPool', 2], ['flatten'], ['dense', 100], ['relu'], ['dense', 10]],
}

const pairOf = (filters: number): LayerOf[] =>
  [0, 1].flatMap((): LayerOf[] => [['conv', filters, 3, 'same'], ['batchNorm'], ['relu']])

/** After Simonyan and Zisserman (2015), for small images: pairs of convolutions, a global pool instead of big dense layers. */
const vgg: Network = {
  name: 'VGG-like 64-64-128-128-256-256 batch norm 32x32x3 b64 momentum',
  quick: true,
  input: [32, 32, 3],
  batch: 64,
  classes: 10,
  optimizer: 'momentum',
  samples: 512,
  layers: [
    ...pairOf(64),
    ['maxPool', 2],
    ...pairOf(128),
    ['maxPool', 2],
    ...pairOf(256),
    ['globalAveragePool'],
    ['dense', 10],
  ],
}

const fastVgg: Network = { ...vgg, name: `${vgg.name}${suffixOf('fast')}`, numerics: 'fast' }

export const smallNetwork = dense([784, 128, 10], 32, 'adam')

const networks: readonly Network[] = [
  dense([10, 16, 2], 32, 'sgd'),
  dense([4, 32, 16, 4], 64, 'adam'),
  smallNetwork,
  dense([784, 512, 256, 10], 128, 'adam'),
  dense([784, 512, 256, 10], 128, 'momentum', true),
  dense([784, ...Array.from({ length: 8 }, () => 256), 10], 512, 'adam', true),
  dense([1024, 4096, 4096, 1024, 10], 512, 'momentum'),
  mnist,
  vgg,
  fastVgg,
]

/** Operations of a step: forward, gradients of weights, and of inputs for all layers but the first. */
export const operationsOf = ({ batch, input, layers }: Network): number =>
  2 * batch * productsOf(input, layers).reduce((sum, product, i) => sum + product * (i === 0 ? 2 : 3), 0)

const modelOf = ({ lib }: Build, { input, layers, numerics }: Network, threads: number): Model =>
  lib.model(input, layersOf(lib, layers), { threads, ...(numerics && { numerics }) })

/** The step of a network with its weights drawn. */
export async function stepOf(build: Build, network: Network, threads: number): Promise<Program> {
  const { input, batch, classes, optimizer, samples } = network
  const { lib } = build
  const net = modelOf(build, network, threads)
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

/** Prediction for one batch that lies in memory, batch norm folded into the convolutions. */
async function inferenceWork(build: Build, network: Network, batch: number, threads: number): Promise<Work> {
  const { lib } = build
  const net = modelOf(build, network, threads)
  await net.initialize()
  const folded = await lib.foldBatchNorm(net)
  const shape = [batch, ...network.input]
  const inputs = lib.variable(shape, { name: 'inputs', value: numbers(shape.reduce((size, n) => size * n, 1)) })
  const program = folded.program('inference', () => ({ y: folded.apply(inputs, 'predict') }))
  return {
    time: (iterations) => timed(() => program.runManySync(iterations)),
    close: () => program.close(),
  }
}

const plain = ({ input, layers, batch, classes, optimizer, samples }: Network): NetworkTask => ({
  ...{ input, layers, batch, classes, optimizer, samples },
})

export const steps = (threads: number): Case[] => [
  ...networks.map(
    (network): Case => ({
      name: `step ${network.name}`,
      threads,
      unit: 'us',
      ceiling: 'multiply-adds',
      amount: operationsOf(network),
      quick: network.quick,
      task: { kind: 'step', ...plain(network) },
      open: (build) => stepWork(build, network, threads),
    }),
  ),
  ...[vgg, fastVgg].flatMap((network) =>
    [1, 64].map((batch): Case => {
      const { input, layers, numerics = 'fp32' } = network
      return {
        name: `inference VGG-like 64-64-128-128-256-256 32x32x3 b${batch}${suffixOf(numerics)}`,
        threads,
        unit: 'us',
        ceiling: 'multiply-adds',
        amount: 2 * batch * productsOf(input, layers).reduce((sum, product) => sum + product, 0),
        quick: true,
        task: { kind: 'inference', input, layers, batch },
        open: (build) => inferenceWork(build, network, batch, threads),
      }
    }),
  ),
]

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
export const memory = (): Fact[] => [
  ...networks.map(
    (network): Fact => ({
      name: `memory of step ${network.name}`,
      unit: 'bytes',
      read: (build) => {
        const net = modelOf(build, network, 1)
        return net.memory({ batchSize: network.batch, optimizer: build.lib[network.optimizer]() }).total
      },
    }),
  ),
  {
    name: `activations of step ${vgg.name}`,
    unit: 'bytes',
    task: { kind: 'memory', ...plain(vgg) },
    read: (build) => activations(build, vgg, 'packed'),
    unshared: (build) => activations(build, vgg, 'none'),
  },
]

/** Bytes of the batch, of all values of a step on it and of what kernels need besides. */
function activations(build: Build, network: Network, plan: 'packed' | 'none'): number {
  const { lib } = build
  const { batch, input, optimizer } = network
  const net = modelOf(build, network, 1)
  const updater = new lib.Updater(lib[optimizer]())
  const program = lib.record(
    ({ x, labels }) => {
      updater.apply(net.params, lib.grad(lib.crossEntropy()(net.apply(x, 'train'), labels), net.params))
      return {}
    },
    { x: [batch, ...input], labels: { shape: [batch], dtype: 'int32' } },
    { device: net.device, step: updater.step, plan },
  )
  const { act, input: inputs, workspace } = program.memory()
  return act + inputs + workspace
}
