// What fit({ augment }) changes and what it leaves alone: the same bits as layers in front of the model, from data sets and
// from batches that come one by one, in training only.
import { describe, expect, it } from 'vitest'
import {
  adam,
  type Batch,
  conv2d,
  crossEntropy,
  dataset,
  dense,
  dropout,
  flatten,
  GradlineError,
  joined,
  layer,
  model,
  mse,
  ops,
  randomCrop,
  randomFlip,
  relu,
} from '../../src/index.js'

const [rows, shape] = [48, [6, 6, 2]] as const
const pixels = Uint8Array.from({ length: rows * 72 }, (_, i) => (i * 89) % 256)
const labels = Int32Array.from({ length: rows }, (_, i) => i % 3)
const data = dataset(pixels, labels, { shape: [rows, ...shape] })
function* batches(): Generator<Batch> {
  for (let at = 0; at < rows; at += 10) {
    const end = Math.min(rows, at + 10)
    yield { x: pixels.subarray(at * 72, end * 72), y: labels.subarray(at, end) }
  }
}

const body = () => [conv2d(3, 3), relu(), dropout(0.2), flatten(), dense(3)]
const options = () => ({ loss: crossEntropy(), optimizer: adam({ lr: 0.01 }), epochs: 2 })
const resident = { batchSize: 10, shuffle: 'none' } as const
const weightsOf = async (net: { weights(): Promise<Map<string, { data: Float32Array }>> }) =>
  [...(await net.weights()).values()].map((values) => [...values.data])

describe('augment', () => {
  it('has the bits of the same layers in front of the model', async () => {
    const layers = () => [randomCrop({ padding: 2 }), randomFlip({ vertical: 0.3 })]
    const inside = model([...shape], [...layers(), ...body()], { seed: 3 })
    await inside.fit(data, { ...options(), ...resident })
    const plain = model([...shape], body(), { seed: 3 })
    await plain.fit(data, { ...options(), ...resident })
    const beside = model([...shape], body(), { seed: 3 })
    await beside.fit(data, { ...options(), ...resident, augment: layers() })
    expect(await weightsOf(beside)).toEqual(await weightsOf(inside))
    expect(await weightsOf(beside)).not.toEqual(await weightsOf(plain))
    const streamed = model([...shape], body(), { seed: 3 })
    await streamed.fit(batches, { ...options(), augment: layers() })
    expect(await weightsOf(streamed)).toEqual(await weightsOf(beside))
    expect([...(await beside.weights()).keys()]).toEqual([...(await plain.weights()).keys()])
    const threaded = model([...shape], body(), { seed: 3, threads: 2 })
    await threaded.fit(data, { ...options(), ...resident, augment: layers() })
    expect(await weightsOf(threaded)).toEqual(await weightsOf(beside))
  })

  it('is a function of x and scope, and leaves evaluation and prediction alone', async () => {
    const net = model([1], [dense(1)], { seed: 1 })
    const x = Float32Array.from({ length: 40 }, (_, i) => i / 40)
    const line = dataset(x, x, { shape: [40, 1], labelShape: [40, 1] })
    const modes: string[] = []
    const { epochs } = await net.fit(line, {
      loss: mse(),
      optimizer: adam({ lr: 0 }),
      validation: line,
      augment: (x, scope) => {
        modes.push(scope.mode)
        return ops.mul(x, 0)
      },
    })
    expect(new Set(modes)).toEqual(new Set(['train']))
    // With a rate of 0 and inputs of 0 the prediction is the bias, 0: the mean of x^2.
    const zero = x.reduce((sum, value) => sum + value * value, 0) / 40
    expect(epochs[0]?.train.loss).toBeCloseTo(zero, 5)
    const [weight] = (await net.weights()).values()
    const slope = (weight as { data: Float32Array }).data[0] as number
    expect(epochs[0]?.validation?.loss).toBeCloseTo(zero * (1 - slope) ** 2, 5)
    expect((await net.predict(line)).data[39]).toBeCloseTo(slope * (39 / 40), 5)
  })

  it('changes parts of a model of named inputs by name', async () => {
    const x = Float32Array.from({ length: 20 }, (_, i) => i / 20)
    const parts = joined({ a: dataset(x, null, { shape: [20, 1] }), y: dataset(x, null, { shape: [20, 1] }) })
    const net = model({ a: [1] }, ({ a }, scope) => scope.apply(dense(1), a))
    const { epochs } = await net.fit(parts, {
      loss: (out, { y }) => ops.add(mse()(out, y as never), 0),
      optimizer: adam({ lr: 0 }),
      batchSize: 20,
      augment: ({ a, y }) => ({ a: ops.mul(a as never, 0), y: ops.fill((y as never as { shape: number[] }).shape, 3) }),
    })
    expect(epochs[0]?.train.loss).toBeCloseTo(9, 5)
  })

  it.each([
    ['a layer with parameters', [conv2d(2, 1)], ['no parameter or state', 'augment.conv2d1.']],
    ['another shape', [randomCrop({ size: 4 })], ['[n, 6, 6, 2]', '[10, 4, 4, 2]']],
    ['no tensor', [layer('odd', () => 3 as never)], ['a tensor', 'augment.odd1']],
    ['a text', 'flip', ['(x, scope) => y or a list of layers', '"flip"']],
  ])('refuses %s', async (_, augment, texts) => {
    const error = await model([...shape], body())
      .fit(data, { ...options(), ...resident, augment: augment as never })
      .then(
        () => undefined,
        (reason: unknown) => reason as Error,
      )
    expect(error).toBeInstanceOf(GradlineError)
    for (const text of texts) expect(error?.message).toContain(text)
  })
})

describe('layers of images by chance', () => {
  it('randomCrop takes the middle in prediction, and refuses what it cannot', async () => {
    const net = model([5, 6, 1], [randomCrop({ size: [3, 2] }), flatten()])
    const seen = await net.predict(Float32Array.from({ length: 30 }, (_, i) => i))
    expect([...seen.data]).toEqual([8, 9, 14, 15, 20, 21])
    expect(() => model([5, 6, 1], [randomCrop({ size: 7, padding: 2 })])).toThrow('at least [7, 7]')
    expect(() => randomCrop({ padding: -1 })).toThrow('padding of randomCrop')
    expect(() => randomCrop({ size: [1] as never })).toThrow('size of randomCrop')
    expect(() => randomFlip({ horizontal: 2 })).toThrow('horizontal of randomFlip')
    expect(() => model([4], [randomFlip()])).toThrow('randomFlip')
  })
})
