// Batches that come beside the steps on the emulated card, as a user has them: the bits of a data set that is there as a
// whole, in each graph mode; and a data set for which the card has no room.
import { existsSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { device } from '../../src/device.js'
import {
  adam,
  type Batch,
  crossEntropy,
  dataset,
  dense,
  flatten,
  model,
  ops,
  randomCrop,
  randomFlip,
  record,
  relu,
} from '../../src/index.js'
import { library } from './networks.js'

const [rows, size] = [50, 16]
const pixels = Uint8Array.from({ length: rows * 25 }, (_, i) => (i * 89) % 256)
const labels = Int32Array.from({ length: rows }, (_, i) => i % 3)
const data = dataset(pixels, labels, { shape: [rows, 5, 5, 1] })
async function* batches(): AsyncGenerator<Batch> {
  for (let at = 0; at < rows; at += size) {
    const end = Math.min(rows, at + size)
    if (at === 2 * size) await new Promise((resolve) => setTimeout(resolve, 2))
    yield { x: pixels.subarray(at * 25, end * 25), y: labels.subarray(at, end) }
  }
}

describe.skipIf(!existsSync(library)).each([true, false, 'check', 'unmerged'] as const)('with graph: %s', (graph) => {
  const net = () =>
    model([5, 5, 1], [flatten(), dense(8), relu(), dense(3)], { seed: 3, device: device('cuda', { library, graph }) })
  const options = () => ({
    loss: crossEntropy(),
    optimizer: adam({ lr: 0.01 }),
    epochs: 2,
    augment: [randomCrop({ padding: 1 }), randomFlip()],
  })
  const weightsOf = async (one: ReturnType<typeof net>) =>
    [...(await one.weights()).values()].map(({ data }) => [...data])

  it('trains to the bits of a data set', async () => {
    const [resident, streamed] = [net(), net()]
    const whole = await resident.fit(data, { ...options(), batchSize: size, shuffle: 'none', validation: data })
    const beside = await streamed.fit(batches, { ...options(), validation: batches })
    expect(await weightsOf(streamed)).toEqual(await weightsOf(resident))
    expect(beside.epochs.map(({ train }) => train)).toEqual(whole.epochs.map(({ train }) => train))
  })

  it('keeps the steps before one that fails', async () => {
    const trained = net()
    async function* bad(): AsyncGenerator<Batch> {
      yield { x: pixels.subarray(0, 100), y: [0, 1, 2, 0] }
      yield { x: pixels.subarray(0, 100), y: [0, 1, 2, 9] }
      for (;;) yield { x: pixels.subarray(0, 100), y: [0, 1, 2, 0] }
    }
    await expect(trained.fit(bad, options())).rejects.toThrow(/label 9 in row 3.*step 2 of epoch 1/)
    const one = net()
    await one.fit([{ x: pixels.subarray(0, 100), y: [0, 1, 2, 0] }], { ...options(), epochs: 1 })
    expect(await weightsOf(trained)).toEqual(await weightsOf(one))
  })
})

describe.skipIf(!existsSync(library))('a data set larger than the card', () => {
  it('is refused with sizes and what to do, and trains as batches', async () => {
    const on = device('cuda', { library })
    const count = 300 // of 1 MiB each, on a card of 256 MiB
    const large = new Uint8Array(count * 2 ** 20)
    const classes = Int32Array.from({ length: count }, (_, i) => i % 2)
    const net = model([1024, 1024, 1], [layerOf(), dense(2)], { seed: 1, device: on })
    const options = { loss: crossEntropy(), optimizer: adam() }
    const whole = dataset(large, classes, { shape: [count, 1024, 1024, 1], name: 'scans' })
    const error = await net.fit(whole, { ...options, batchSize: 4 }).then(
      () => undefined,
      (reason: unknown) => reason as Error,
    )
    for (const text of ['scans.inputs of 300.0 MiB', 'emulated card', '268435456 bytes', 'are free', 'Stream it']) {
      expect(error?.message).toContain(text)
    }
    const { epochs } = await net.fit(
      () =>
        [0, 1, 2].map((at) => ({
          x: large.subarray(at * 2 ** 20, (at + 1) * 2 ** 20),
          y: classes.subarray(at, at + 1),
        })),
      options,
    )
    expect(epochs[0]?.train.loss).toBeCloseTo(Math.log(2), 4)
    // What was given back is there for others.
    const program = record(({ x }) => ({ sum: ops.sum(x) }), { x: [2 ** 24] }, { device: on })
    program.runSync({ x: new Float32Array(2 ** 24) })
    program.close()
  })
  const layerOf = () => (x: Parameters<typeof ops.mean>[0]) =>
    ops.reshape(ops.mean(x, { axes: [1, 2, 3] }), [x.shape[0] as number, 1])
})
