// First weights by value: standard deviations, limits and fans of every initializer, the choice of 'auto', and the
// experiments that tell a right one from a wrong one.
import { describe, expect, it } from 'vitest'
import {
  batchNorm,
  constant,
  conv2d,
  crossEntropy,
  datasets,
  dense,
  dropout,
  elu,
  flatten,
  glorotNormal,
  glorotUniform,
  heNormal,
  heUniform,
  type Initializer,
  type Layer,
  leakyRelu,
  lecunNormal,
  lecunUniform,
  maxPool2d,
  model,
  normal,
  ops,
  record,
  relu,
  sgd,
  sigmoid,
  type Tensor,
  tanh,
} from '../../src/index.js'
import { classes } from './help.js'

function moments(data: ArrayLike<number>): { mean: number; std: number } {
  let [sum, squares] = [0, 0]
  for (let i = 0; i < data.length; i++) {
    sum += data[i]!
    squares += data[i]! ** 2
  }
  const mean = sum / data.length
  return { mean, std: Math.sqrt(squares / data.length - mean * mean) }
}

const firstWeights = async (inputShape: number[], layers: Layer[], seed = 1): Promise<Float32Array> =>
  [...(await model(inputShape, layers, { seed }).weights()).values()][0]!.data

// A million draws each: dense 500 -> 2000, conv 5x5 of 100 -> 400 channels.
const denseFans = { in: 500, out: 2000 }
const convFans = { in: 2500, out: 10_000 }
const weightsOf = {
  dense: (init: Initializer) => firstWeights([500], [dense(2000, { init })]),
  conv2d: (init: Initializer) => firstWeights([5, 5, 100], [conv2d(400, 5, { init })]),
}

describe.each([
  ['dense', denseFans],
  ['conv2d', convFans],
] as const)('initializers of %s', (kind, fans) => {
  it.each([
    ['heNormal', heNormal(), Math.sqrt(2 / fans.in)],
    ['heNormal for slope 0.5', heNormal({ slope: 0.5 }), Math.sqrt(2 / (1.25 * fans.in))],
    ['glorotNormal', glorotNormal(), Math.sqrt(2 / (fans.in + fans.out))],
    ['lecunNormal', lecunNormal(), Math.sqrt(1 / fans.in)],
    ['normal', normal({ std: 0.01 }), 0.01],
  ])('%s has its standard deviation within 1 %', async (_, init, std) => {
    const data = await weightsOf[kind](init)
    expect(data.length).toBe(1_000_000)
    const found = moments(data)
    expect(Math.abs(found.std / std - 1)).toBeLessThan(0.01)
    expect(Math.abs(found.mean)).toBeLessThan(0.005 * std)
    // Normal, not uniform: 4.55 % lie beyond two standard deviations.
    const beyond = data.filter((value) => Math.abs(value) > 2 * std).length / data.length
    expect(Math.abs(beyond - 0.0455)).toBeLessThan(0.001)
  })

  it.each([
    ['heUniform', heUniform(), Math.sqrt(6 / fans.in)],
    ['glorotUniform', glorotUniform(), Math.sqrt(6 / (fans.in + fans.out))],
    ['lecunUniform', lecunUniform(), Math.sqrt(3 / fans.in)],
  ])('%s reaches to its limit and no further', async (_, init, limit) => {
    const data = await weightsOf[kind](init)
    const largest = data.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
    expect(largest).toBeLessThanOrEqual(Math.fround(limit))
    expect(largest).toBeGreaterThan(0.9999 * limit)
    expect(Math.abs(moments(data).std / (limit / Math.sqrt(3)) - 1)).toBeLessThan(0.01)
  })
})

describe('first weights', () => {
  it('are constant where asked, and biases zero', async () => {
    const net = model([3], [dense(2, { init: constant(0.25) }), dense(2, { biasInit: constant(-1) })])
    const weights = await net.weights()
    expect([...weights.get('dense1.weight')!.data]).toEqual(new Array(6).fill(0.25))
    expect([...weights.get('dense1.bias')!.data]).toEqual([0, 0])
    expect([...weights.get('dense2.bias')!.data]).toEqual([-1, -1])
  })

  it('follow the activation after the layer when chosen by themselves', async () => {
    const [he, glorot] = [Math.sqrt(2 / 300), Math.sqrt(2 / 500)]
    const cases: [string, number, ...Layer[]][] = [
      ['relu', he, relu()],
      ['leakyRelu', he, leakyRelu()],
      ['elu', he, elu()],
      ['sigmoid', glorot, sigmoid()],
      ['tanh', glorot, tanh()],
      ['nothing', glorot],
      ['another dense', glorot, dense(4), relu()],
      ['batch norm, then relu', he, batchNorm(), relu()],
      ['dropout, then relu', he, dropout(0.2), relu()],
    ]
    for (const [what, std, ...after] of cases) {
      const found = moments(await firstWeights([300], [dense(200), ...after])).std
      expect(Math.abs(found / std - 1), what).toBeLessThan(0.03)
    }
    const pooled = await firstWeights([8, 8, 40], [conv2d(60, 5), maxPool2d(2), relu(), flatten(), dense(2)])
    expect(Math.abs(moments(pooled).std / Math.sqrt(2 / 1000) - 1)).toBeLessThan(0.03)
  })

  it('differ between layers and between seeds, and repeat with a seed', async () => {
    const layers = () => [dense(50), relu(), dense(50)]
    const of = async (seed: number) =>
      [...(await model([50], layers(), { seed }).weights()).values()].filter((_, i) => i % 2 === 0)
    const [a, b] = await of(1)
    expect(moments(a!.data.map((value, i) => value / Math.SQRT2 - b!.data[i]!)).std).toBeGreaterThan(0.1)
    expect((await of(1))[0]!.data).toEqual(a!.data)
    expect((await of(2))[0]!.data).not.toEqual(a!.data)
  })

  it('of zero keep all hidden units equal', async () => {
    const layers = [dense(6, { init: constant(0) }), sigmoid(), dense(3, { init: constant(0) })]
    const net = model([4], layers)
    await net.fit(classes(60, 4, 3), { loss: crossEntropy(), optimizer: sgd({ lr: 0.5 }), epochs: 20 })
    const weights = await net.weights()
    const [first, second] = [weights.get('dense1.weight')!.data, weights.get('dense2.weight')!.data]
    expect(Math.max(...first.map(Math.abs))).toBeGreaterThan(1e-3)
    for (let unit = 1; unit < 6; unit++) {
      for (let i = 0; i < 4; i++) expect(first[i * 6 + unit]).toBeCloseTo(first[i * 6]!, 6)
      for (let k = 0; k < 3; k++) expect(second[unit * 3 + k]).toBeCloseTo(second[k]!, 6)
    }
  })
})

// 1000 standard normal samples of 100 features through five layers of 100 units. One draw of the weights moves the spread of
// the last layer by 20 %, so means over eight seeds are compared with means over 24 seeds of a float64 program.
describe('activations through five layers', () => {
  function layersOf(activation: (x: Tensor) => Tensor, init: Initializer): Float32Array[][] {
    return Array.from({ length: 8 }, (_, seed) => {
      const program = record(
        () => {
          let x = ops.randomNormal([1000, 100])
          return Array.from({ length: 5 }, () => {
            x = activation(ops.matmul(x, init([100, 100], { in: 100, out: 100 })))
            return x
          })
        },
        {},
        { seed },
      )
      return program.runSync().map(({ data }) => data as Float32Array)
    })
  }
  const saturated = (data: Float32Array): number =>
    data.filter((value) => value < 0.05 || value > 0.95).length / data.length
  const near = (values: number[], wanted: number, share: number): void => {
    expect(Math.abs(values.reduce((sum, value) => sum + value, 0) / values.length / wanted - 1)).toBeLessThan(share)
  }

  it('sigmoid: saturated with std 1, all alike with 0.01, alive with 1/sqrt(n)', () => {
    const wide = layersOf(ops.sigmoid, normal({ std: 1 }))
    near(
      wide.map((layers) => saturated(layers[0]!)),
      0.767,
      0.01,
    )
    near(
      wide.map((layers) => saturated(layers[4]!)),
      0.65,
      0.08,
    )
    const narrow = layersOf(ops.sigmoid, normal({ std: 0.01 })).map((layers) => moments(layers[4]!))
    near(
      narrow.map(({ mean }) => mean),
      0.5,
      0.01,
    )
    near(
      narrow.map(({ std }) => std),
      0.0122,
      0.1,
    )
    const lecun = layersOf(ops.sigmoid, lecunNormal()).map((layers) => layers[4]!)
    near(
      lecun.map((data) => moments(data).std),
      0.118,
      0.1,
    )
    for (const data of lecun) expect(saturated(data)).toBeLessThan(0.001)
  })

  it('relu: He keeps the spread, 1/sqrt(n) loses it, 2/sqrt(n) blows it up', () => {
    const last = (init: Initializer) => layersOf(ops.relu, init).map((layers) => moments(layers[4]!).std)
    near(last(normal({ std: 0.01 })), 1.38e-6, 0.15)
    near(last(lecunNormal()), 0.138, 0.15)
    near(last(heNormal()), 0.783, 0.15)
    near(last(normal({ std: 2 / Math.sqrt(100) })), 4.43, 0.15)
  })
})

describe('first weights on MNIST, 784-100x4-10 with ReLU and SGD', () => {
  const steps = 300
  async function lossAfter(init: Initializer): Promise<number> {
    const { train } = await datasets.mnist()
    const data = train.take(128 * steps)
    const hidden = Array.from({ length: 4 }, () => [dense(100, { init }), relu()]).flat()
    const net = model([28, 28, 1], [flatten(), ...hidden, dense(10, { init })], { seed: 1 })
    await net.fit(data, { loss: crossEntropy(), optimizer: sgd({ lr: 0.01 }), batchSize: 128 })
    return (await net.evaluate(data.take(2000), { loss: crossEntropy() })).loss
  }

  it('of std 0.01 stay at ln 10, of He fall at once', async () => {
    expect(Math.abs((await lossAfter(normal({ std: 0.01 }))) - Math.LN10)).toBeLessThan(0.01)
    expect(await lossAfter(heNormal())).toBeLessThan(0.8)
  })
})
