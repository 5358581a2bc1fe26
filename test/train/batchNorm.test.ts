// Batch norm inside a model: what it does while training, what it remembers, and that prediction looks at one sample only.
import { describe, expect, it } from 'vitest'
import {
  batchNorm,
  conv2d,
  crossEntropy,
  type Dataset,
  dataset,
  dense,
  flatten,
  maxPool2d,
  model,
  record,
  relu,
  sgd,
} from '../../src/index.js'
import { numbers } from '../api/help.js'

const samples = 10
const features = 3
const inputs = Float32Array.from(numbers(samples * features), (value, i) => 4 * value + (i % features))
const data = dataset(
  inputs,
  Int32Array.from({ length: samples }, (_, i) => i % 2),
  { shape: [samples, features] },
)

function momentsOf(rows: number[], f: number): { mean: number; unbiased: number } {
  const values = rows.map((row) => inputs[row * features + f]!)
  const mean = values.reduce((a, b) => a + b) / values.length
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  return { mean, unbiased: squares / Math.max(1, values.length - 1) }
}

describe('batch norm', () => {
  it.each([
    ['by default', undefined, 0.9],
    ['of momentum 0.99', 0.99, 0.99],
    ['of momentum 0', 0, 0],
  ])('%s keeps running statistics: that share of the old ones, unbiased variances', async (_, momentum, keep) => {
    const net = model([features], [batchNorm(momentum === undefined ? {} : { momentum }), dense(2)], { seed: 1 })
    // Batches of 4, 4 and 2 in order, three times.
    await net.fit(data, { loss: crossEntropy(), optimizer: sgd(), epochs: 3, batchSize: 4, shuffle: 'none' })
    const batches = [
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9],
    ]
    const weights = await net.weights()
    for (let f = 0; f < features; f++) {
      let [mean, variance] = [0, 1]
      for (let epoch = 0; epoch < 3; epoch++) {
        for (const rows of batches) {
          const now = momentsOf(rows, f)
          mean = keep * mean + (1 - keep) * now.mean
          variance = keep * variance + (1 - keep) * now.unbiased
        }
      }
      expect(weights.get('batchNorm1.mean')!.data[f]).toBeCloseTo(mean, 5)
      expect(Math.abs(weights.get('batchNorm1.variance')!.data[f]! / variance - 1)).toBeLessThan(1e-5)
    }
  })

  it('gives a batch mean 0 and biased variance 1 while training, per channel', async () => {
    const net = model([4, 4, features], [batchNorm()])
    await net.initialize()
    const x = numbers(6 * 16 * features).map((value, i) => 3 * value + 5 * (i % features))
    const y = record(({ x }) => net.apply(x, 'train'), { x: [6, 4, 4, features] }).runSync({ x }).data
    for (let f = 0; f < features; f++) {
      const values = Array.from(y).filter((_, i) => i % features === f)
      const mean = values.reduce((a, b) => a + b) / values.length
      expect(Math.abs(mean)).toBeLessThan(1e-5)
      const variance = values.reduce((sum, value) => sum + value * value, 0) / values.length
      expect(Math.abs(variance - 1)).toBeLessThan(2e-5)
    }
  })

  it('predicts by what it remembers', async () => {
    const net = model([features], [batchNorm({ eps: 1e-3 })], { seed: 1 })
    const targets = dataset(inputs, new Float32Array(inputs.length), { shape: [samples, features] })
    const { mse } = await import('../../src/index.js')
    await net.fit(targets, { loss: mse(), optimizer: sgd({ lr: 0.1 }), epochs: 3, batchSize: 5 })
    const [gamma, beta, mean, variance] = [...(await net.weights()).values()].map(({ data }) => data)
    const y = (await net.predict(data)).data
    inputs.forEach((x, i) => {
      const f = i % features
      const wanted = (gamma![f]! * (x - mean![f]!)) / Math.sqrt(variance![f]! + 1e-3) + beta![f]!
      expect(y[i]).toBeCloseTo(wanted, 5)
    })
  })

  it('and everything else predicts a sample the same bits alone or in any batch', async () => {
    const count = 37
    const images = (rows: number, from = 0): Dataset =>
      dataset(Float32Array.from(numbers(count * 36 * 2)).slice(from * 72, (from + rows) * 72), null, {
        shape: [rows, 6, 6, 2],
      })
    const net = model(
      [6, 6, 2],
      [conv2d(5, 3), batchNorm(), relu(), maxPool2d(2), flatten(), dense(17), batchNorm(), relu(), dense(10)],
      { seed: 1 },
    )
    const labeled = dataset(
      Float32Array.from(numbers(count * 36 * 2)),
      Int32Array.from({ length: count }, (_, i) => i % 10),
      { shape: [count, 6, 6, 2] },
    )
    await net.fit(labeled, { loss: crossEntropy(), optimizer: sgd({ lr: 0.1 }), epochs: 2, batchSize: 8 })
    const whole = (await net.predict(images(count))).data
    for (const batchSize of [1, 2, 3, 5, 8, 16, 36]) {
      expect((await net.predict(images(count), { batchSize })).data, `batches of ${batchSize}`).toEqual(whole)
    }
    for (const row of [0, 17, 36]) {
      expect((await net.predict(images(1, row))).data).toEqual(whole.slice(row * 10, row * 10 + 10))
    }
  })
})
