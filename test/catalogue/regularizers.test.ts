// Penalties, constraints, noise, groups of micro-batches and averaged weights, as a model uses them.
import { describe, expect, it } from 'vitest'
import {
  adam,
  conv2d,
  dataset,
  dense,
  type FitOptions,
  flatten,
  type Layer,
  l1,
  l1l2,
  l2,
  type Model,
  maxNorm,
  model,
  momentum,
  mse,
  muon,
  type Optimizer,
  read,
  readStep,
  sgd,
  tanh,
} from '../../src/index.js'
import { fingerprint, numbers } from '../api/help.js'

const rows = 77
const inputs = Float32Array.from(numbers(rows * 6, 3))
const targets = Float32Array.from(numbers(rows * 3, 5))
const data = dataset(inputs, targets, { shape: [rows, 6] })

const small = (layers: readonly Layer[] = [dense(5), tanh(), dense(3)]): Model => model([6], layers, { seed: 4 })
const weightsOf = async (net: Model, path = 'dense1.weight'): Promise<Float32Array> =>
  (await net.weights()).get(path)!.data
const fitted = async (net: Model, optimizer: Optimizer, rest: Partial<FitOptions> = {}): Promise<Model> => {
  await net.fit(data, { loss: mse(), optimizer, batchSize: rows, shuffle: 'none', ...rest })
  return net
}
const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.max(...Array.from(a, (v, i) => Math.abs(v - b[i]!)))

describe('penalties', () => {
  // One step of sgd with and without: the difference is the gradient of the penalty, times the rate.
  const effect = async (regularizer: ReturnType<typeof l1>): Promise<{ w: Float32Array; change: number[] }> => {
    const [plain, penalized] = [small([dense(3)]), small([dense(3, { regularizer })])]
    const w = await weightsOf(plain)
    await fitted(plain, sgd({ lr: 1 }))
    await fitted(penalized, sgd({ lr: 1 }))
    const [a, b] = [await weightsOf(plain), await weightsOf(penalized)]
    expect(await weightsOf(plain, 'dense1.bias')).toEqual(await weightsOf(penalized, 'dense1.bias'))
    return { w, change: Array.from(a, (v, i) => v - b[i]!) }
  }

  it('l1 is lambda sum |w|, l2 is lambda / 2 sum w^2, and not the other way round', async () => {
    const one = await effect(l1(0.5))
    const two = await effect(l2(0.5))
    const signs = Array.from(one.w, (w) => 0.5 * Math.sign(w))
    const shares = Array.from(two.w, (w) => 0.5 * w)
    expect(distance(one.change, signs)).toBeLessThan(1e-6)
    expect(distance(two.change, shares)).toBeLessThan(1e-6)
    expect(distance(one.change, shares)).toBeGreaterThan(0.05)
    expect(distance(two.change, signs)).toBeGreaterThan(0.05)
    // lambda sum w^2 would have twice the gradient.
    expect(
      distance(
        two.change,
        shares.map((s) => 2 * s),
      ),
    ).toBeGreaterThan(0.05)
  })

  it('l1l2 has a lambda of its own for each', async () => {
    const { w, change } = await effect(l1l2({ l1: 0.2, l2: 0.7 }))
    const wanted = Array.from(w, (v) => 0.2 * Math.sign(v) + 0.7 * v)
    expect(distance(change, wanted)).toBeLessThan(1e-6)
  })

  it('l1 drives weights without use below 0.001, l2 does not', async () => {
    // The target needs the first feature only; the last three are noise of which a little is learned.
    const wanted = Float32Array.from({ length: rows }, (_, i) => inputs[6 * i]! + 0.05 * numbers(rows, 8)[i]!)
    const simple = dataset(inputs, wanted, { shape: [rows, 6] })
    const train = async (regularizer: ReturnType<typeof l1>): Promise<number[]> => {
      const net = model([6], [dense(1, { regularizer })], { seed: 1 })
      await net.fit(simple, {
        loss: mse(),
        optimizer: sgd({ lr: 0.05 }),
        batchSize: rows,
        shuffle: 'none',
        epochs: 600,
      })
      const w = (await net.weights()).get('dense1.weight')!.data
      return Array.from(w, Math.abs)
    }
    const [used, ...useless] = await train(l1(0.02))
    expect(used).toBeGreaterThan(0.8)
    expect(Math.max(...useless)).toBeLessThan(1e-3)
    const [, ...left] = await train(l2(0.02))
    expect(Math.max(...left)).toBeGreaterThan(1e-3)
  })

  it('a group of the optimizer replaces the penalty of the layer', async () => {
    const groups = [{ match: 'dense1.*', l2: 0 }]
    const [plain, replaced] = [small([dense(3)]), small([dense(3, { regularizer: l2(0.5) })])]
    await fitted(plain, sgd({ lr: 1 }))
    await fitted(replaced, sgd({ lr: 1, groups }))
    expect(await weightsOf(replaced)).toEqual(await weightsOf(plain))
  })
})

describe('maxNorm', () => {
  const unitNorms = (w: ArrayLike<number>, units: number): number[] =>
    Array.from({ length: units }, (_, unit) => {
      let squares = 0
      for (let i = unit; i < w.length; i += units) squares += w[i]! * w[i]!
      return Math.sqrt(squares)
    })

  it('scales the incoming weights of each unit by their l2 norm, and only when they exceed it', async () => {
    const free = await fitted(small([dense(3)]), sgd({ lr: 0.3 }))
    const before = await weightsOf(free)
    const norms = unitNorms(before, 3)
    const limit = (Math.min(...norms) + Math.max(...norms)) / 2
    const bound = await fitted(small([dense(3, { constraint: maxNorm(limit) })]), sgd({ lr: 0.3 }))
    ;(await weightsOf(bound)).forEach((w, i) => {
      const norm = norms[i % 3]!
      if (norm <= limit) expect(w).toBe(before[i])
      else expect(w).toBeCloseTo((before[i]! * limit) / norm, 6)
    })
    // By the sums of sizes all units would shrink, and further.
    const sums = [0, 1, 2].map((unit) => before.reduce((s, w, i) => (i % 3 === unit ? s + Math.abs(w) : s), 0))
    expect(sums.every((s) => s > limit)).toBe(true)
  })

  it('holds the filters of a convolution, as one unit each', async () => {
    const image = dataset(inputs.slice(0, 72), targets.slice(0, 4), { shape: [2, 6, 6, 1] })
    const layers = [conv2d(4, 3, { constraint: maxNorm(0.1), regularizer: l2(0.1) }), tanh(), flatten(), dense(2)]
    const net = model([6, 6, 1], layers, { seed: 2 })
    await net.fit(image, { loss: mse(), optimizer: adam({ lr: 0.1 }), epochs: 3, batchSize: 2 })
    for (const norm of unitNorms(await weightsOf(net, 'conv2d1.weight'), 4)) expect(norm).toBeCloseTo(0.1, 6)
  })
})

describe('weightNoise', () => {
  it('is added where the layer reads its weight while training, and nowhere else', async () => {
    const [plain, noisy] = [small([dense(3)]), small([dense(3, { weightNoise: 0.1 })])]
    const same = numbers(6, 1)
    expect((await noisy.predict(same)).data).toEqual((await plain.predict(same)).data)
    const losses: number[] = []
    for (const net of [plain, noisy]) {
      const history = await net.fit(data, { loss: mse(), optimizer: sgd({ lr: 1e-9 }), batchSize: rows, epochs: 2 })
      losses.push(...history.epochs.map(({ train }) => train.loss!))
    }
    const [a, b, c, d] = losses as [number, number, number, number]
    expect(Math.abs(a - b)).toBeLessThan(1e-6)
    expect(Math.abs(c - a)).toBeGreaterThan(1e-4)
    expect(Math.abs(c - d)).toBeGreaterThan(1e-4)
  })
})

describe('accumulate', () => {
  const clipped = { clipNorm: 0.05 }
  it.each<[string, () => Optimizer]>([
    ['momentum', () => momentum({ lr: 0.1 })],
    ['adam', () => adam({ lr: 0.01, eps: 1e-3 })],
    ['clipped by tensor', () => adam({ lr: 0.01, eps: 1e-3, clipTensorNorm: 0.02 })],
    ['clipped by norm', () => momentum({ lr: 0.1, ...clipped })],
    ['muon', () => muon({ lr: 0.01, adam: { eps: 1e-3 } })],
  ])('4 of 8 rows are 32 rows, the smaller last group too, with %s', async (_, make) => {
    const [once, parts] = [make(), make()]
    // 77 = 32 + 32 + 13: the last group has 8 + 5 rows.
    const whole = await fitted(small(), once, { batchSize: 32, epochs: 3 })
    const split = await fitted(small(), parts, { batchSize: 8, accumulate: 4, epochs: 3 })
    const [a, b] = [await whole.snapshot(), await split.snapshot()]
    expect(distance(a.params, b.params)).toBeLessThan(_ === 'muon' ? 1e-5 : 1e-6)
    const [c, d] = [readStep(whole.updaterOf(once).step), readStep(split.updaterOf(parts).step)]
    expect(c).toMatchObject({ updates: 9, step: 9, skipped: 0 })
    expect(d).toMatchObject({ updates: 9, step: 30, skipped: 0, pending: 0 })
    // Without the true sizes of the last group the mean would be another one.
    const plain = await fitted(small(), make(), { batchSize: 8, epochs: 3 })
    expect(distance(a.params, (await plain.snapshot()).params)).toBeGreaterThan(1e-4)
  })

  it('1 is no accumulation, bit for bit', async () => {
    const [a, b] = [small(), small()]
    await fitted(a, adam(), { batchSize: 8 })
    await fitted(b, adam(), { batchSize: 8, accumulate: 1 })
    expect(fingerprint(await b.snapshot())).toBe(fingerprint(await a.snapshot()))
  })

  it('must be a positive integer', async () => {
    await expect(fitted(small(), adam(), { accumulate: 0 })).rejects.toThrow('positive integer for accumulate')
  })
})

describe('averaged weights', () => {
  it('are those of the formula, are used by useAverage, and the own come back bit for bit', async () => {
    const optimizer = sgd({ lr: 0.1, ema: { decay: 0.5 } })
    const net = small()
    let average: Float64Array | undefined
    for (let epoch = 0; epoch < 4; epoch++) {
      await fitted(net, optimizer)
      const { params } = await net.snapshot()
      const before = average
      average = Float64Array.from(params, (w, i) => (before ? 0.5 * before[i]! + 0.5 * w : w))
    }
    const own = await net.snapshot()
    const kept = net.averagedWeights(optimizer)
    expect([...kept.keys()]).toEqual(net.params.map(({ name }) => name))
    expect(kept.get('dense2.weight')!.shape).toEqual([5, 3])
    const used = await net.useAverage(optimizer, () => net.snapshot())
    expect(distance(used.params, average!)).toBeLessThan(1e-6)
    expect(fingerprint(await net.snapshot())).toBe(fingerprint(own))
    await expect(
      net.useAverage(optimizer, () => {
        throw new Error('mine')
      }),
    ).rejects.toThrow('mine')
    expect(fingerprint(await net.snapshot())).toBe(fingerprint(own))
    expect(kept.get('dense1.weight')!.data).toEqual(used.params.slice(0, 30))
  })

  it('are an error where none are kept', async () => {
    const net = small()
    expect(() => net.averagedWeights(sgd())).toThrow(/no averaged weights .* option ema/)
    const optimizer = sgd({ ema: { decay: 0.9 } })
    await expect(net.useAverage(optimizer, () => 1)).rejects.toThrow('no averaged weights')
  })
})

describe('frozen parameters', () => {
  it('keep their bits through training, and the memory of a program knows of it', async () => {
    const net = small()
    const before = await weightsOf(net)
    const optimizer = adam({ lr: 0.1, groups: [{ match: 'dense1.*', lr: 0 }] })
    await fitted(net, optimizer, { batchSize: 8, epochs: 2 })
    expect(await weightsOf(net)).toEqual(before)
    const bias = net.params.find(({ name }) => name === 'dense2.bias')!
    expect(Array.from(read(bias)).every((v) => v !== 0)).toBe(true)
  })
})

describe('options of layers', () => {
  it.each<[string, () => unknown, RegExp]>([
    ['a negative lambda', () => l1(-1), /lambda of l1 but received -1/],
    ['a limit of 0', () => maxNorm(0), /above 0 for limit of maxNorm/],
    ['a number as regularizer', () => dense(3, { regularizer: 0.1 as never }), /l1\(\), l2\(\) or l1l2\(\)/],
    ['a number as constraint', () => dense(3, { constraint: 3 as never }), /maxNorm\(\)/],
    ['negative noise', () => conv2d(3, 3, { weightNoise: -1 }), /weightNoise of conv2d but received -1/],
    ['a misspelt option', () => dense(3, { regulariser: l1() } as never), /Did you mean "regularizer"/],
    ['a misspelt lambda', () => l1l2({ l3: 1 } as never), /Did you mean "l1"|Did you mean "l2"/],
  ])('refuses %s', (_, call, text) => {
    expect(call).toThrow(text)
  })
})
