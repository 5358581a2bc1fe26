// The numbers of training: losses and weights of a small network against a float64 program, with every optimizer.
import { describe, expect, it } from 'vitest'
import {
  adam,
  crossEntropy,
  type Dataset,
  dataset,
  dense,
  type Model,
  model,
  momentum,
  mse,
  nesterov,
  type Optimizer,
  sgd,
  tanh,
} from '../../src/index.js'
import { numbers } from '../api/help.js'
import { adamRule, type Layer64, momentumRule, Net64, nesterovRule, type Rule, sgdRule } from './oracle.js'

const samples = 14
const inputs = Float32Array.from(numbers(samples * 5, 3))
const labels = Int32Array.from({ length: samples }, (_, i) => (i * 7) % 3)
const targets = Float32Array.from(numbers(samples * 3, 5))
const classified = dataset(inputs, labels, { shape: [samples, 5] })
const measured = dataset(inputs, targets, { shape: [samples, 5] })

const small = (): Model => model([5], [dense(4), tanh(), dense(3)], { seed: 11 })

async function copyOf(net: Model): Promise<Net64> {
  const weights = await net.weights()
  const layer = (name: string, inputs: number, units: number): Layer64 => ({
    weight: Float64Array.from(weights.get(`${name}.weight`)!.data),
    bias: Float64Array.from(weights.get(`${name}.bias`)!.data),
    inputs,
    units,
  })
  return new Net64(layer('dense1', 5, 4), layer('dense2', 4, 3))
}

const row = (data: Float32Array, width: number, i: number) => data.subarray(i * width, (i + 1) * width)
const sample = (kind: string, i: number) => ({
  x: row(inputs, 5, i),
  lossOf: (output: number[]) =>
    kind === 'mse' ? Net64.mse(output, row(targets, 3, i)) : Net64.crossEntropy(output, labels[i]!),
})

// Means of the losses of each epoch in order, the last batch smaller.
function train64(net: Net64, kind: string, rule: Rule, epochs: number, batch: number, clipNorm = 0): number[] {
  return Array.from({ length: epochs }, () => {
    let total = 0
    for (let at = 0; at < samples; at += batch) {
      const rows = Array.from({ length: Math.min(batch, samples - at) }, (_, i) => sample(kind, at + i))
      total += net.step(rows, rule, clipNorm) * rows.length
    }
    return total / samples
  })
}

async function expectSameWeights(net: Model, wanted: Net64): Promise<void> {
  const weights = await net.weights()
  wanted.layers.forEach((layer, i) => {
    for (const part of ['weight', 'bias'] as const) {
      const found = weights.get(`dense${i + 1}.${part}`)!.data
      const size = Math.max(...layer[part].map(Math.abs))
      layer[part].forEach((value, j) => {
        expect(Math.abs(found[j]! - value), `dense${i + 1}.${part}[${j}]`).toBeLessThan(1e-5 * size)
      })
    }
  })
}

const data: Record<string, { set: Dataset; loss: typeof crossEntropy }> = {
  crossEntropy: { set: classified, loss: crossEntropy },
  mse: { set: measured, loss: mse },
}

describe.each(['crossEntropy', 'mse'])('ten steps on %s are those of the float64 program', (kind) => {
  const { set, loss } = data[kind]!
  it.each<[string, Optimizer, Rule, number]>([
    ['sgd', sgd({ lr: 0.3 }), sgdRule(0.3), 0],
    ['sgd by its default rate', sgd(), sgdRule(0.01), 0],
    ['momentum', momentum({ lr: 0.1, beta: 0.8 }), momentumRule(0.1, 0.8), 0],
    ['momentum by its defaults', momentum(), momentumRule(0.01, 0.9), 0],
    ['momentum with the rate outside', momentum({ lr: 0.1, rateOutside: true }), momentumRule(0.1, 0.9), 0],
    ['nesterov', nesterov({ lr: 0.1 }), nesterovRule(0.1, 0.9), 0],
    ['nesterov with the rate outside', nesterov({ lr: 0.1, rateOutside: true }), nesterovRule(0.1, 0.9), 0],
    ['adam', adam({ lr: 0.02 }), adamRule(0.02), 0],
    ['adam by its default rate', adam(), adamRule(0.001), 0],
    [
      'adam with other settings',
      adam({ lr: 0.05, beta1: 0.5, beta2: 0.9, eps: 1e-3 }),
      adamRule(0.05, 0.5, 0.9, 1e-3),
      0,
    ],
    ['sgd, clipped', sgd({ lr: 0.3, clipNorm: 0.1 }), sgdRule(0.3), 0.1],
    ['adam, clipped', adam({ lr: 0.02, clipNorm: 0.05 }), adamRule(0.02), 0.05],
  ])('with %s', async (_, optimizer, rule, clipNorm) => {
    const net = small()
    const wanted = await copyOf(net)
    // Batches of 3, 3, 3, 3 and 2: two epochs are ten steps, the smaller batch averaged by its true size.
    const losses = train64(wanted, kind, rule, 2, 3, clipNorm)
    const history = await net.fit(set, { loss: loss(), optimizer, epochs: 2, batchSize: 3, shuffle: 'none' })
    history.epochs.forEach(({ train }, epoch) => {
      expect(Math.abs(train.loss / losses[epoch]! - 1)).toBeLessThan(1e-5)
    })
    await expectSameWeights(net, wanted)
  })
})

describe('a run', () => {
  it('that clips by value clamps each element', async () => {
    const net = small()
    const wanted = await copyOf(net)
    const limit = 0.02
    const clamped: Rule = (theta, g, slot, t) =>
      sgdRule(0.3)(
        theta,
        g.map((value) => Math.max(-limit, Math.min(limit, value))),
        slot,
        t,
      )
    train64(wanted, 'crossEntropy', clamped, 2, 3)
    const optimizer = sgd({ lr: 0.3, clipValue: limit })
    await net.fit(classified, { loss: crossEntropy(), optimizer, epochs: 2, batchSize: 3, shuffle: 'none' })
    await expectSameWeights(net, wanted)
  })

  it('measures the whole data set, by every size of batch alike', async () => {
    const net = small()
    const wanted = await copyOf(net)
    let [loss, right] = [0, 0]
    for (let i = 0; i < samples; i++) {
      const { output } = wanted.forward(row(inputs, 5, i))
      loss += Net64.crossEntropy(output, labels[i]!).loss / samples
      if (output.indexOf(Math.max(...output)) === labels[i]) right++
    }
    for (const batchSize of [1, 3, 5, 13, 14, 100]) {
      const found = await net.evaluate(classified, { loss: crossEntropy(), metrics: ['accuracy'], batchSize })
      expect(Math.abs(found.loss / loss - 1)).toBeLessThan(1e-6)
      expect(found.accuracy).toBeCloseTo(right / samples, 6)
    }
    const tree = await net.predict(classified, { batchSize: 4 })
    expect(tree.shape).toEqual([samples, 3])
    for (let i = 0; i < samples; i++) {
      wanted.forward(row(inputs, 5, i)).output.forEach((value, k) => {
        expect(tree.data[i * 3 + k]).toBeCloseTo(value, 5)
      })
    }
    expect((await net.predict(Array.from(inputs))).data).toEqual(tree.data)
  })

  it('with soft labels equals one with the same labels as integers', async () => {
    const hard = small()
    const soft = small()
    const oneHot = Float32Array.from({ length: samples * 3 }, (_, i) => (labels[Math.floor(i / 3)] === i % 3 ? 1 : 0))
    const options = () => ({
      loss: crossEntropy(),
      optimizer: sgd({ lr: 0.3 }),
      metrics: ['accuracy'] as const,
      batchSize: 5,
      epochs: 3,
    })
    const a = await hard.fit(classified, options())
    const b = await soft.fit(dataset(inputs, oneHot, { shape: [samples, 5], classes: 3 }), options())
    a.epochs.forEach(({ train }, i) => {
      expect(b.epochs[i]!.train.loss).toBeCloseTo(train.loss, 6)
      expect(b.epochs[i]!.train.accuracy).toBe(train.accuracy)
    })
  })

  it('counts each sample once per epoch, the last smaller batch included', async () => {
    // The prediction is 0 and the target of sample i is 2^i: the mean of squares tells exactly which samples took part.
    const count = 11
    const powers = dataset(
      Float32Array.from({ length: count }, () => 1),
      Float32Array.from({ length: count }, (_, i) => 2 ** i),
      { shape: [count, 1] },
    )
    const { constant } = await import('../../src/index.js')
    const total = Array.from({ length: count }, (_, i) => 4 ** i).reduce((a, b) => a + b)
    for (const batchSize of [1, 2, 4, 11]) {
      const net = model([1], [dense(1, { init: constant(0) })])
      const { epochs } = await net.fit(powers, { loss: mse(), optimizer: sgd({ lr: 0 }), epochs: 4, batchSize })
      for (const { train } of epochs) expect(Math.round(train.loss * count)).toBe(total)
    }
  })

  it('with a data set of bytes sees them scaled to 0..1', async () => {
    const bytes = Uint8Array.from({ length: samples * 5 }, (_, i) => (i * 37) % 256)
    const floats = Float32Array.from(bytes, (value) => value / 255)
    const losses: number[][] = []
    for (const data of [
      dataset(bytes, labels, { shape: [samples, 5] }),
      dataset(floats, labels, { shape: [samples, 5] }),
    ]) {
      const net = small()
      const { epochs } = await net.fit(data, {
        loss: crossEntropy(),
        optimizer: sgd({ lr: 0.1 }),
        epochs: 3,
        batchSize: 4,
      })
      losses.push([...epochs.map(({ train }) => train.loss), ...(await net.predict(data)).data])
    }
    losses[0]!.forEach((value, i) => {
      expect(losses[1]![i]).toBeCloseTo(value, 5)
    })
  })
})

describe('an optimizer', () => {
  const fitted = async (parts: [optimizer: Optimizer, epochs: number][], shuffle: 'none' | 'epoch' = 'none') => {
    const net = small()
    for (const [optimizer, epochs] of parts) {
      await net.fit(classified, { loss: crossEntropy(), optimizer, epochs, batchSize: 4, shuffle })
    }
    return (await net.snapshot()).params
  }
  it.each<[string, () => Optimizer]>([
    ['momentum', () => momentum({ lr: 0.1 })],
    ['adam', () => adam({ lr: 0.02 })],
  ])('%s goes on with its moments in a second fit, a new one begins anew', async (_, make) => {
    const optimizer = make()
    const whole = await fitted([[make(), 4]])
    expect(
      await fitted([
        [optimizer, 1],
        [optimizer, 3],
      ]),
    ).toEqual(whole)
    expect(
      await fitted([
        [make(), 1],
        [make(), 3],
      ]),
    ).not.toEqual(whole)
  })

  it('that goes on sees new orders of the samples, as in one run', async () => {
    const optimizer = adam({ lr: 0.02 })
    const whole = await fitted([[adam({ lr: 0.02 }), 4]], 'epoch')
    expect(
      await fitted(
        [
          [optimizer, 1],
          [optimizer, 2],
          [optimizer, 1],
        ],
        'epoch',
      ),
    ).toEqual(whole)
  })

  it('shared by two models keeps their moments apart', async () => {
    const optimizer = adam({ lr: 0.02 })
    const alone = await fitted([[adam({ lr: 0.02 }), 3]])
    expect(await fitted([[optimizer, 3]])).toEqual(alone)
    expect(await fitted([[optimizer, 3]])).toEqual(alone)
  })
})
