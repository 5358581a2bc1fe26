// What the gates count: kernels and training steps of the suite, chosen by name, and small versions of what is only large there.
// Each is recorded as it crosses into native code and runs there without Node.

import type { Device, Tensor } from 'gradline'
import { kernels, numbers } from '../kernels.js'
import type { Build, Case, Library } from '../measure.js'
import { Pack, watch } from '../pack.js'
import { steps } from '../steps.js'

/** Entries of the suite by the beginning of their name, and how many steps are counted. */
const chosen: readonly (readonly [name: string, steps: number])[] = [
  ['matmul 256x256x256 NN', 1],
  ['matmul 256x256x256 NT', 1],
  ['matmul 256x256x256 TN', 1],
  ['matmul 128x784x512 NN', 1],
  ['matmul 128x512x784 NT', 1],
  ['matmul 784x128x512 TN', 1],
  ['matmul 128x256x10 NN', 1],
  ['conv 3x3 64->64 32x32 b16 forward', 1],
  ['conv 3x3 64->64 32x32 b16 image gradient', 1],
  ['conv 3x3 64->64 32x32 b16 filter gradient', 1],
  ['conv 5x5 1->30 28x28 b100 forward', 1],
  ['conv 5x5 1->30 28x28 b100 filter gradient', 1],
  ['batch norm + relu 512x1024', 1],
  ['softmax cross-entropy 512x10 ', 1],
  ['softmax cross-entropy 512x1000 ', 1],
  ['step 10-16-2 b32 sgd', 8],
  ['step 784-128-10 b32 adam', 4],
  ['step 784-512-256-10 batch norm b128 momentum', 2],
  ['step MNIST network', 1],
]

type Small = (lib: Library) => Tensor[]

function update(kind: 'adam' | 'momentum'): Small {
  return ({ ops, stepState, variable }) => {
    const size = 100_000
    const step = stepState(kind, { rate: 1e-4 })
    const param = variable([size], { name: 'param', value: 1 })
    const flat = param.region.flat()
    const [m, v] = [0, 1].map(() => variable([size], { name: 'slot' }).region.flat()) as [typeof flat, typeof flat]
    const gradient = ops.collectGradients(param.region, [{ variable: param, gradient: ops.fill([size], 1e-2) }])
    ops.prepareUpdate(step, [gradient])
    if (kind === 'adam') ops.adamUpdate(flat, m, v, gradient, step, { beta1: 0.9, beta2: 0.999, eps: 1e-8 })
    else ops.momentumUpdate(flat, m, gradient, step, { beta: 0.9, nesterov: false, rateOutside: false })
    return []
  }
}

function pool(which: 'maxPool2d' | 'avgPool2d'): Small {
  return (lib) => {
    const { ops, grad, variable } = lib
    const x = variable([16, 24, 24, 30], { name: 'x', value: numbers(16 * 24 * 24 * 30) })
    return [ops.sum(grad(ops.sum(ops.square(ops[which](x, 2))), [x])[0] as Tensor)]
  }
}

const gather: Small = ({ ops, variable }) => {
  const table = variable([2048, 784], { name: 'table', dtype: 'uint8', value: new Uint8Array(2048 * 784).fill(7) })
  return [ops.sum(ops.gather(table, ops.sampleRows(128, 2048), { factor: 1 / 255 }))]
}

const own: readonly (readonly [name: string, body: Small])[] = [
  ['adam 100 000 parameters', update('adam')],
  ['momentum 100 000 parameters', update('momentum')],
  ['max pooling 16x24x24x30 by 2, forward and backward', pool('maxPool2d')],
  ['average pooling 16x24x24x30 by 2, forward and backward', pool('avgPool2d')],
  ['gather of 128 x 784 bytes', gather],
]

/** All cases as a pack. Which instruction set and how many threads run it is up to who runs it. */
export async function record(build: Build): Promise<Pack> {
  const { lib } = build
  // A number of threads that nobody else asks for: a device of its own to be watched.
  const device: Device = lib.device('cpu', { threads: 1, isa: 'base' })
  const watched = watch(device)
  const here: Build = { ...build, lib: { ...lib, device: () => device } }
  const pack = new Pack()
  const keep = async (name: string, count: number, body: () => unknown): Promise<void> => {
    let kept = false
    watched.onRun = (run) => {
      if (!kept) pack.add(name, run, count, [])
      kept = true
    }
    await body()
    watched.onRun = undefined
  }
  const suite: Case[] = [...kernels(1), ...steps(1)]
  for (const [beginning, count] of chosen) {
    const item = suite.find(({ name }) => name.startsWith(beginning))
    if (!item) throw new Error(`the suite has no entry that begins with "${beginning}"`)
    const work = await item.open(here)
    await keep(item.name, count, () => work.time(1))
    work.close()
  }
  for (const [name, body] of own) {
    const program = lib.record(() => body(lib), {}, { device })
    await keep(name, 1, () => program.runSync())
    program.close()
  }
  return pack
}
