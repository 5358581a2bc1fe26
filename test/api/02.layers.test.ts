// Layers of one's own: a function (x, scope) => y with parameters and state, and its gradient.
import { describe, expect, it } from 'vitest'
import {
  assign,
  constant,
  crossEntropy,
  dense,
  dropout,
  grad,
  heNormal,
  type Layer,
  layer,
  model,
  normal,
  ops,
  read,
  record,
  relu,
  type Scope,
  sgd,
  type Tensor,
  variable,
} from '../../src/index.js'
import { classes, numbers } from './help.js'

// Ten lines: a dense layer whose output is scaled by a learned gain and squashed.
const gated: Layer = (x: Tensor, scope: Scope): Tensor => {
  const weight = scope.param('weight', [x.shape[1]!, 3], normal({ std: 0.5 }))
  const gain = scope.param('gain', [3], constant(1.5))
  return ops.mul(ops.tanh(ops.matmul(x, weight)), gain)
}

describe('a layer of ten lines', () => {
  it('has named parameters and trains', async () => {
    const net = model([4], [gated, dense(3)], { seed: 3 })
    expect([...(await net.weights()).keys()]).toEqual(['gated1.weight', 'gated1.gain', 'dense1.weight', 'dense1.bias'])
    const data = classes(60, 4, 3)
    const before = (await net.weights()).get('gated1.gain')?.data
    const { epochs } = await net.fit(data, { loss: crossEntropy(), optimizer: sgd({ lr: 0.5 }), epochs: 30 })
    expect(epochs.at(-1)!.train.loss).toBeLessThan(0.5 * epochs[0]!.train.loss)
    expect((await net.weights()).get('gated1.gain')?.data).not.toEqual(before)
  })

  it('has the gradient of its formula', async () => {
    const net = model([4], [gated], { seed: 3 })
    await net.initialize()
    const [weight, gain] = net.params as [(typeof net.params)[0], (typeof net.params)[0]]
    const x = numbers(8)
    const program = record(
      ({ x }) => {
        const y = net.apply(x, 'train')
        return { y, grads: grad(ops.sum(ops.square(y)), [weight, gain]) }
      },
      { x: [2, 4] },
    )
    const { grads } = program.runSync({ x })
    const [w, g] = [read(weight), read(gain)]
    const dw = new Float64Array(12)
    const dg = new Float64Array(3)
    for (let n = 0; n < 2; n++) {
      for (let k = 0; k < 3; k++) {
        let z = 0
        for (let i = 0; i < 4; i++) z += x[n * 4 + i]! * w[i * 3 + k]!
        const t = Math.tanh(z)
        dg[k]! += 2 * g[k]! * t * t
        for (let i = 0; i < 4; i++) dw[i * 3 + k]! += 2 * g[k]! ** 2 * t * (1 - t * t) * x[n * 4 + i]!
      }
    }
    dw.forEach((value, i) => {
      expect(grads[0]!.data[i]).toBeCloseTo(value, 5)
    })
    dg.forEach((value, i) => {
      expect(grads[1]!.data[i]).toBeCloseTo(value, 5)
    })
  })

  it('may keep state of its own, changed in training only and saved with the model', async () => {
    const counted = layer('counted', (x, scope) => {
      const count = scope.state('count', [1], constant(0))
      if (scope.mode === 'train') assign(count, ops.add(count, 1))
      return x
    })
    const net = model([4], [counted, dense(3)])
    const data = classes(40, 4, 3)
    await net.fit(data, { loss: crossEntropy(), optimizer: sgd(), batchSize: 10, epochs: 2 })
    await net.evaluate(data, { loss: crossEntropy() })
    await net.predict(data)
    expect([...(await net.weights()).get('counted1.count')!.data]).toEqual([8])
  })

  it('is told apart by mode', async () => {
    const modes: string[] = []
    const spy: Layer = (x, scope) => {
      modes.push(scope.mode)
      return x
    }
    const net = model([4], [spy, dense(3)])
    const data = classes(12, 4, 3)
    await net.predict(data)
    expect(modes.every((mode) => mode === 'predict')).toBe(true)
    await net.fit(data, { loss: crossEntropy(), optimizer: sgd(), batchSize: 12 })
    expect(modes.filter((mode) => mode === 'train')).toHaveLength(1)
  })
})

describe('dropout', () => {
  it('drops while training only, and scales what it keeps', () => {
    const net = model([1000], [dropout(0.3)])
    const ones = new Float32Array(20_000).fill(1)
    const trained = record(({ x }) => net.apply(x, 'train'), { x: [20, 1000] }, { seed: 5 })
    const y = trained.runSync({ x: ones }).data
    const kept = y.filter((value) => value !== 0)
    expect(kept.every((value) => Math.abs(value - 1 / 0.7) < 1e-6)).toBe(true)
    const sigma = Math.sqrt((0.3 * 0.7) / y.length)
    expect(Math.abs(kept.length / y.length - 0.7)).toBeLessThan(3 * sigma)
    expect(trained.runSync({ x: ones }).data).not.toEqual(y)
    const predicted = record(({ x }) => net.apply(x, 'predict'), { x: [20, 1000] }, { seed: 5 })
    expect(predicted.runSync({ x: ones }).data).toEqual(ones)
  })

  it('passes the gradient through the mask of its step', () => {
    const w = variable([50], { value: 1 })
    const program = record(() => {
      const y = ops.dropout(ops.scale(w, 2), 0.5)
      return { y, g: grad(ops.sum(y), [w])[0]! }
    })
    for (const { y, g } of program.runManySync(3)) expect(g.data).toEqual(y.data)
  })

  it('does nothing at rate 0 and leaves prediction as it is without it', async () => {
    const layers = (rate: number) => [dense(8), relu(), dropout(rate), dense(3)]
    const data = classes(30, 4, 3)
    const results = []
    for (const rate of [0, 0.5]) {
      const net = model([4], layers(rate), { seed: 2 })
      const output = (await net.predict(data)).data
      const history = await net.fit(data, { loss: crossEntropy(), optimizer: sgd({ lr: 0 }), batchSize: 30 })
      const { loss } = await net.evaluate(data, { loss: crossEntropy(), batchSize: 30 })
      results.push({ output, trained: history.epochs[0]!.train.loss, loss })
    }
    const [without, with_] = results as [(typeof results)[0], (typeof results)[0]]
    expect(with_.output).toEqual(without.output)
    expect(with_.loss).toBe(without.loss)
    expect(without.trained).toBeCloseTo(without.loss, 6)
    expect(Math.abs(with_.trained - with_.loss)).toBeGreaterThan(1e-4)
  })
})

describe('a layer made with layer()', () => {
  it('can be told its name and takes part in the choice of first weights', async () => {
    const swish = layer('relu', (x) => ops.mul(x, ops.sigmoid(x)), 'swish')
    const net = model([200], [dense(200), swish, dense(1)], { seed: 4 })
    expect(net.summary()).toContain('swish')
    const { data } = (await net.weights()).get('dense1.weight')!
    const std = Math.sqrt(data.reduce((sum, value) => sum + value * value, 0) / data.length)
    expect(Math.abs(std / Math.sqrt(2 / 200) - 1)).toBeLessThan(0.02)
    expect(heNormal).toBeTypeOf('function')
  })
})
