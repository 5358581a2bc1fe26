// What networks can and cannot do: a ReLU net fits a curve piecewise linearly, equal weights stay equal, and what a summary
// tells of parameters that are trained and of state that is not.
import { describe, expect, it } from 'vitest'
import {
  adam,
  batchNorm,
  constant,
  crossEntropy,
  dataset,
  dense,
  model,
  mse,
  relu,
  tanh,
  writeStep,
} from '../../src/index.js'
import { classes } from '../api/help.js'

describe('a net 1-64-1 of ReLU units', () => {
  it('fits a sine on [-pi, pi] within 0.02, by pieces that are straight', async () => {
    const points = 512
    const xs = Float32Array.from({ length: points }, (_, i) => -Math.PI + (2 * Math.PI * i) / (points - 1))
    const data = dataset(xs, xs.map(Math.sin), { shape: [points, 1], labelShape: [points, 1] })
    const net = model([1], [dense(64), relu(), dense(1)], { seed: 1 })
    const optimizer = adam({ lr: 0.01 })
    for (const lr of [0.01, 0.003, 0.001, 0.0002]) {
      writeStep(net.updaterOf(optimizer).step, { rate: lr }, net.device)
      await net.fit(data, { loss: mse(), optimizer, epochs: 150, batchSize: 64 })
    }
    const fine = Float32Array.from({ length: 4001 }, (_, i) => -Math.PI + (2 * Math.PI * i) / 4000)
    const y = (await net.predict(fine)).data
    expect(Math.max(...fine.map((x, i) => Math.abs(y[i]! - Math.sin(x))))).toBeLessThan(0.02)

    // Between the kinks -b/w of its units the second difference is zero.
    const weights = await net.weights()
    const [w, b] = [weights.get('dense1.weight')!.data, weights.get('dense1.bias')!.data]
    const kinks = Array.from(w, (slope, i) => -b[i]! / slope)
    let straight = 0
    for (let i = 1; i < 4000; i++) {
      if (kinks.some((kink) => kink >= fine[i - 1]! - 1e-4 && kink <= fine[i + 1]! + 1e-4)) continue
      straight++
      expect(Math.abs(y[i - 1]! - 2 * y[i]! + y[i + 1]!)).toBeLessThan(3e-6)
    }
    expect(straight).toBeGreaterThan(3500)
  })
})

describe('first weights that are all equal', () => {
  const data = classes(90, 6, 3)
  it.each([0, 0.3])('of %d leave all hidden units identical for ever', async (value) => {
    const init = constant(value)
    const net = model([6], [dense(5, { init }), tanh(), dense(3, { init })])
    await net.fit(data, { loss: crossEntropy(), optimizer: adam({ lr: 0.05 }), epochs: 5, batchSize: 16 })
    const weights = await net.weights()
    const [first, second] = [weights.get('dense1.weight')!.data, weights.get('dense2.weight')!.data]
    for (let unit = 1; unit < 5; unit++) {
      for (let i = 0; i < 6; i++) expect(first[i * 5 + unit]).toBe(first[i * 5])
      for (let c = 0; c < 3; c++) expect(second[unit * 3 + c]).toBe(second[c])
    }
  })
  it('of 0 learn no more than how frequent the classes are', async () => {
    const init = constant(0)
    const net = model([6], [dense(5, { init }), relu(), dense(3, { init })])
    await net.fit(data, { loss: crossEntropy(), optimizer: adam({ lr: 0.05 }), epochs: 20, batchSize: 16 })
    const counts = [0, 1, 2].map((k) => data.labels!.data.filter((label) => label === k).length)
    const { accuracy } = await net.evaluate(data, { loss: crossEntropy(), metrics: ['accuracy'] })
    expect(accuracy).toBe(Math.max(...counts) / 90)
    const drawn = model([6], [dense(5), relu(), dense(3)])
    await drawn.fit(data, { loss: crossEntropy(), optimizer: adam({ lr: 0.05 }), epochs: 20, batchSize: 16 })
    expect((await drawn.evaluate(data, { loss: crossEntropy(), metrics: ['accuracy'] })).accuracy).toBeGreaterThan(0.8)
  })
})

describe('a summary', () => {
  it('lists what is trained (gamma, beta) and what is not (mean, variance) apart', () => {
    const lines = model([6], [dense(8), batchNorm(), relu(), dense(3)])
      .summary()
      .split('\n')
    expect(lines.find((line) => line.includes('batchNorm1'))).toMatch(/16 \(\+16 state\)$/)
    expect(lines.at(-1)).toBe('  91 parameters, 16 numbers of state that no optimizer changes')
  })
})
