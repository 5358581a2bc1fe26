// The perceptron learns what a line separates and never XOR; a hidden layer does.
import { describe, expect, it } from 'vitest'
import {
  adam,
  crossEntropy,
  type Dataset,
  dataset,
  dense,
  model,
  mse,
  Perceptron,
  relu,
  sigmoid,
  tanh,
} from '../../src/index.js'
import { expectError } from '../api/help.js'

const corners = [0, 0, 0, 1, 1, 0, 1, 1]
const gate = (...labels: number[]): Dataset =>
  dataset(Float32Array.from(corners), Int32Array.from(labels), { shape: [4, 2], classes: 2 })
const right = (predicted: ArrayLike<number>, labels: number[]) =>
  labels.filter((label, i) => predicted[i] === label).length

const seeds = Array.from({ length: 20 }, (_, i) => i)

describe('a perceptron', () => {
  it.each([
    ['AND', [0, 0, 0, 1]],
    ['OR', [0, 1, 1, 1]],
  ])('learns %s from any seed in less than 100 passes', async (_, labels) => {
    for (const seed of seeds) {
      const unit = new Perceptron(2, { seed })
      const { passes, separated, errors } = await unit.fit(gate(...labels))
      expect(separated).toBe(true)
      expect(passes).toBeLessThan(100)
      expect(errors).toHaveLength(passes)
      expect(right(await unit.predict(corners), labels)).toBe(4)
    }
  })
  it('never gets more than three of four of XOR right', async () => {
    for (const seed of seeds) {
      const unit = new Perceptron(2, { seed })
      for (let round = 0; round < 10; round++) {
        const { separated } = await unit.fit(gate(0, 1, 1, 0), { passes: 3 })
        expect(separated).toBe(false)
        expect(right(await unit.predict(corners), [0, 1, 1, 0])).toBeLessThanOrEqual(3)
      }
    }
  })
  it('follows the rule: no error changes nothing, an error adds lr (target - y) x', async () => {
    const unit = new Perceptron(2, { seed: 3, lr: 0.5 })
    const { weight, bias } = await unit.weights()
    const x = Float32Array.of(0.25, -2)
    const y = (await unit.predict(x))[0]!
    const one = (label: number) => dataset(x, Int32Array.of(label), { shape: [1, 2], classes: 2 })
    await unit.fit(one(y), { passes: 1 })
    expect(await unit.weights()).toEqual({ weight, bias })
    await unit.fit(one(1 - y), { passes: 1 })
    const change = 0.5 * (1 - 2 * y)
    const now = await unit.weights()
    expect(now.weight[0]).toBeCloseTo(weight[0]! + change * 0.25, 6)
    expect(now.weight[1]).toBeCloseTo(weight[1]! - change * 2, 6)
    expect(now.bias).toBeCloseTo(bias + change, 6)
  })
  it('refuses labels that are not 0 and 1, and samples of another size', async () => {
    const three = dataset(Float32Array.from(corners), Int32Array.of(0, 1, 2, 0), { shape: [4, 2] })
    await expectError('data', ['0 or 1'], () => new Perceptron(2).fit(three))
    await expectError('shape', ['3 numbers'], () => new Perceptron(3).fit(gate(0, 1, 1, 0)))
    await expectError('argument', ['lr of Perceptron'], () => new Perceptron(2, { lr: 0 }))
    await expectError('argument', ['multiple of 2'], () => new Perceptron(2).predict([1, 2, 3]))
  })
})

describe('a hidden layer solves XOR', () => {
  const labels = [0, 1, 1, 0]
  it('2-4-1 with Adam, from 20 of 20 seeds', async () => {
    const targets = dataset(Float32Array.from(corners), Float32Array.from(labels), {
      shape: [4, 2],
      labelShape: [4, 1],
    })
    for (const seed of seeds) {
      const net = model([2], [dense(4), tanh(), dense(1), sigmoid()], { seed })
      await net.fit(targets, { loss: mse(), optimizer: adam({ lr: 0.05 }), epochs: 800, batchSize: 4 })
      expect((await net.evaluate(targets, { loss: mse() })).loss, `seed ${seed}`).toBeLessThan(0.01)
      const { data } = await net.predict(corners)
      expect(right(data.map(Math.round), labels), `seed ${seed}`).toBe(4)
    }
  })
  it('with scores for two classes and ReLU', async () => {
    const net = model([2], [dense(8), relu(), dense(2)], { seed: 1 })
    await net.fit(gate(...labels), { loss: crossEntropy(), optimizer: adam({ lr: 0.05 }), epochs: 300, batchSize: 4 })
    expect((await net.evaluate(gate(...labels), { loss: crossEntropy(), metrics: ['accuracy'] })).accuracy).toBe(1)
  })
})
