// Models made of models: folded batch norms, fused linear layers, new heads, recalibrated statistics.
import { describe, expect, it } from 'vitest'
import {
  adam,
  batchNorm,
  conv2d,
  crossEntropy,
  dataset,
  dense,
  embedding,
  flatten,
  foldBatchNorm,
  fuseLinear,
  type Layer,
  type Model,
  maxPool2d,
  model,
  recalibrate,
  relu,
  replaceHead,
  sequential,
  softmax,
  tanh,
} from '../../src/index.js'
import { classes, expectError, fingerprintOf, numbers } from '../api/help.js'

const outputs = async (net: Model, samples: ArrayLike<number>) => (await net.predict(samples)).data as Float32Array

async function farthest(a: Model, b: Model, samples: ArrayLike<number>): Promise<number> {
  const [one, other] = [await outputs(a, samples), await outputs(b, samples)]
  return Math.max(...one.map((value, i) => Math.abs(value - other[i]!)))
}

/** Weights and statistics as after some training: nothing is 0 or 1. */
async function stir(net: Model): Promise<void> {
  const values = [...(await net.weights())].map(([path, { data }], i) => {
    const random = numbers(data.length, 17 + i)
    return [path, { data: path.endsWith('variance') ? random.map((r) => 0.2 + r * r) : random }] as const
  })
  await net.setWeights(new Map(values))
}

describe('foldBatchNorm', () => {
  const nets: Record<string, { shape: number[]; layers: Layer[]; norms: number }> = {
    'dense, bias left out': { shape: [7], layers: [dense(9), batchNorm(), relu(), dense(3)], norms: 0 },
    'dense with a bias': { shape: [7], layers: [dense(9, { bias: true }), batchNorm(), dense(3)], norms: 0 },
    'conv2d with stride, padding and groups': {
      shape: [6, 5, 2],
      layers: [
        conv2d(4, 3, { padding: 'same', stride: 2, groups: 2 }),
        batchNorm({ eps: 1e-2 }),
        relu(),
        conv2d(3, 2),
        batchNorm({ name: 'norm' }),
        flatten(),
        dense(2),
      ],
      norms: 0,
    },
    'blocks of blocks': {
      shape: [6, 5, 2],
      layers: [
        sequential([conv2d(3, 2), batchNorm(), sequential([conv2d(2, 2), batchNorm(), relu()])]),
        flatten(),
        dense(2),
      ],
      norms: 0,
    },
    'norms with nothing to go into': {
      shape: [7],
      layers: [batchNorm(), dense(4), relu(), batchNorm(), dense(4), batchNorm()],
      norms: 2,
    },
  }
  it.each(Object.keys(nets))('keeps the outputs within 1e-5: %s', async (name) => {
    const { shape, layers, norms } = nets[name]!
    const net = model(shape, layers, { seed: 4 })
    await stir(net)
    const before = await fingerprintOf(net)
    const folded = await foldBatchNorm(net)
    const samples = numbers(11 * shape.reduce((a, b) => a * b, 1), 5)
    const size = Math.max(1, ...(await outputs(net, samples)).map(Math.abs))
    expect((await farthest(net, folded, samples)) / size).toBeLessThan(1e-5)
    expect([...(await folded.weights()).keys()].filter((path) => path.endsWith('gamma'))).toHaveLength(norms)
    expect(await fingerprintOf(net)).toBe(before)
  })
  it('keeps names, so that the other weights are found under them', async () => {
    const folded = await foldBatchNorm(model([7], [batchNorm(), dense(9), batchNorm(), relu(), dense(3)]))
    expect([...(await folded.weights()).keys()].sort()).toEqual(
      ['batchNorm1.beta', 'batchNorm1.gamma', 'batchNorm1.mean', 'batchNorm1.variance']
        .concat(['dense1.bias', 'dense1.weight', 'dense2.bias', 'dense2.weight'])
        .sort(),
    )
  })
})

describe('fuseLinear', () => {
  const wide = [dense(20), dense(30, { bias: false }), dense(9), dense(4)]
  it('a stack of linear layers collapses to one of the same outputs', async () => {
    const net = model([6], wide, { seed: 2 })
    await stir(net)
    const fused = await fuseLinear(net)
    expect([...(await fused.weights())].map(([path, { shape }]) => [path, shape])).toEqual([
      ['dense4.weight', [6, 4]],
      ['dense4.bias', [4]],
    ])
    const samples = numbers(60, 8)
    const size = Math.max(...(await outputs(net, samples)).map(Math.abs))
    expect((await farthest(net, fused, samples)) / size).toBeLessThan(1e-5)
    expect(fused.parameterCount).toBe(28)
  })
  it('stops at an activation, inside blocks too, and needs no bias where none was', async () => {
    const bare = { bias: false }
    const net = model([6], [sequential([dense(5, bare), dense(4, bare)]), tanh(), dense(3), relu(), dense(2), dense(2)])
    await stir(net)
    const fused = await fuseLinear(net)
    expect([...(await fused.weights()).keys()]).toEqual([
      'sequential1.dense2.weight',
      'dense1.weight',
      'dense1.bias',
      'dense3.weight',
      'dense3.bias',
    ])
    expect(await farthest(net, fused, numbers(60, 8))).toBeLessThan(1e-5)
  })

  // f(a x + b y) = a f(x) + b f(y) for linear layers without bias.
  const nonLinearity = async (net: Model) => {
    const [x, y] = [numbers(6, 1), numbers(6, 2)]
    const at = async (values: number[]) => outputs(net, values)
    const [fx, fy] = [await at(x), await at(y)]
    const sum = await at(x.map((v, i) => v + y[i]!))
    const scaled = await at(x.map((v) => -3 * v))
    const additivity = Math.max(...sum.map((v, i) => Math.abs(v - fx[i]! - fy[i]!)))
    const homogeneity = Math.max(...scaled.map((v, i) => Math.abs(v + 3 * fx[i]!)))
    return { additivity, homogeneity }
  }
  it('additivity and homogeneity hold for linear layers and fail with a ReLU between them', async () => {
    const bare = { bias: false }
    const linear = await nonLinearity(model([6], [dense(20, bare), dense(9, bare), dense(4, bare)]))
    expect(linear.additivity).toBeLessThan(1e-5)
    expect(linear.homogeneity).toBeLessThan(1e-5)
    const bent = await nonLinearity(model([6], [dense(20, bare), relu(), dense(4, bare)]))
    expect(bent.additivity).toBeGreaterThan(0.1)
    expect(bent.homogeneity).toBeGreaterThan(0.1)
  })
})

describe('replaceHead', () => {
  it('gives the last dense layer new units and copies everything else', async () => {
    const net = model([6, 5, 2], [conv2d(3, 2), batchNorm(), relu(), flatten(), dense(8), relu(), dense(10), softmax()])
    await stir(net)
    const [before, print] = [await net.weights(), await fingerprintOf(net)]
    const grown = await replaceHead(net, 4)
    expect(grown.outputShape).toEqual([4])
    const after = await grown.weights()
    expect([...after.keys()]).toEqual([...before.keys()])
    for (const [path, { data, shape }] of after) {
      if (path.startsWith('dense2.')) expect(shape.at(-1)).toBe(4)
      else expect(data, path).toEqual(before.get(path)!.data)
    }
    expect(await fingerprintOf(net)).toBe(print)
  })
  it('draws a new head even when the number of classes is the same', async () => {
    const net = model([6], [dense(5), relu(), dense(3)], { seed: 1 })
    await stir(net)
    const head = async (seed: number) => (await (await replaceHead(net, 3, { seed })).weights()).get('dense2.weight')!
    expect((await head(1)).data).not.toEqual((await net.weights()).get('dense2.weight')!.data)
    expect((await head(1)).data).not.toEqual((await head(2)).data)
  })
  it('says which layers there are when none is dense', async () => {
    await expectError('argument', ['dense layer', 'tanh1'], () => replaceHead(model([6], [tanh()]), 3))
    await expectError('argument', ['classes', '0'], () => replaceHead(model([6], [dense(2)]), 0))
  })
})

describe('recalibrate', () => {
  it('sets mean and unbiased variance of the whole data set, whatever the batches', async () => {
    const count = 23
    const samples = Float32Array.from(numbers(count * 3, 2), (v, i) => 100 * (i % 3) + v)
    const data = dataset(samples, null, { shape: [count, 3] })
    for (const batchSize of [1, 5, 23]) {
      const net = model([3], [batchNorm(), dense(2)])
      expect(await recalibrate(net, data, { batchSize })).toEqual(['batchNorm1'])
      const weights = await net.weights()
      for (let c = 0; c < 3; c++) {
        const column = Array.from({ length: count }, (_, i) => samples[3 * i + c]!)
        const mean = column.reduce((a, b) => a + b, 0) / count
        const variance = column.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (count - 1)
        expect(Math.abs(weights.get('batchNorm1.mean')!.data[c]! - mean)).toBeLessThan(1e-5 * Math.max(1, mean))
        expect(Math.abs(weights.get('batchNorm1.variance')!.data[c]! / variance - 1)).toBeLessThan(1e-4)
      }
    }
  })
  it('normalizes the output of every norm, also behind other norms and inside blocks', async () => {
    const net = model(
      [6, 5, 2],
      [sequential([conv2d(3, 2), batchNorm(), relu()]), maxPool2d(2), flatten(), dense(4), batchNorm()],
      { seed: 9 },
    )
    const data = dataset(Float32Array.from(numbers(40 * 60, 3)), null, { shape: [40, 6, 5, 2] })
    expect(await recalibrate(net, data, { batchSize: 16 })).toEqual(['sequential1.batchNorm1', 'batchNorm1'])
    const y = (await net.predict(data)).data
    for (let c = 0; c < 4; c++) {
      const column = Array.from({ length: 40 }, (_, i) => y[4 * i + c]!)
      const mean = column.reduce((a, b) => a + b, 0) / 40
      const variance = column.reduce((sum, v) => sum + (v - mean) ** 2, 0) / 39
      expect(Math.abs(mean)).toBeLessThan(1e-5)
      expect(Math.abs(variance - 1)).toBeLessThan(1e-3)
    }
  })
  it('needs more than one value per channel', async () => {
    const data = dataset(Float32Array.from([1, 2, 3]), null, { shape: [1, 3] })
    await expectError('data', ['at least 2 values', 'batchNorm1'], () => recalibrate(model([3], [batchNorm()]), data))
  })
})

describe('freeze', () => {
  const data = classes(60, 6, 3)
  const options = { loss: crossEntropy(), optimizer: adam({ lr: 0.01 }), epochs: 2, batchSize: 16 }
  const make = () => model([6], [dense(8), batchNorm(), relu(), dense(5), relu(), dense(3)], { seed: 5 })

  it.each<[string | RegExp, string[]]>([
    ['dense1', ['dense1.weight']],
    ['dense2.bias', ['dense2.bias']],
    ['dense*', ['dense1.weight', 'dense2.weight', 'dense2.bias', 'dense3.weight', 'dense3.bias']],
    [/weight$/, ['dense1.weight', 'dense2.weight', 'dense3.weight']],
    ['batchNorm1', ['batchNorm1.gamma', 'batchNorm1.beta', 'batchNorm1.mean', 'batchNorm1.variance']],
    ['*.gamma', ['batchNorm1.gamma']],
  ])('%s stays the same bit for bit, and only that', async (pattern, paths) => {
    const net = make()
    expect([...net.freeze(pattern)].sort()).toEqual([...paths].sort())
    const before = await net.weights()
    await net.fit(data, options)
    for (const [path, { data: values }] of await net.weights()) {
      if (paths.includes(path)) expect(values, path).toEqual(before.get(path)!.data)
      else expect(values, path).not.toEqual(before.get(path)!.data)
    }
  })
  it('ignores moments of earlier training, and trains on after unfreeze', async () => {
    const net = make()
    await net.fit(data, options)
    const before = await net.weights()
    net.freeze('dense2')
    await net.fit(data, options)
    expect((await net.weights()).get('dense2.weight')!.data).toEqual(before.get('dense2.weight')!.data)
    expect(net.unfreeze()).toHaveLength(9)
    await net.fit(data, options)
    expect((await net.weights()).get('dense2.weight')!.data).not.toEqual(before.get('dense2.weight')!.data)
  })
  it('trains behind a frozen batch norm by its running statistics', async () => {
    const net = make()
    await stir(net)
    net.freeze('*')
    net.unfreeze('dense3')
    const before = (await net.evaluate(data, { loss: crossEntropy() })).loss
    // With everything below frozen and one batch per epoch, the first training loss is that of prediction.
    const { epochs } = await net.fit(data, { ...options, epochs: 1, batchSize: 60, shuffle: 'none' })
    expect(epochs[0]!.train.loss).toBeCloseTo(before, 5)
  })
  it('shows in summary, and tells what it cannot find', async () => {
    const net = make()
    net.freeze('dense1')
    expect(net.summary().split('\n').at(-1)).toBe(
      '  127 parameters, 48 of them frozen, 16 numbers of state that no optimizer changes',
    )
    await expectError('argument', ['"dens1"', 'Did you mean "dense1"?'], () => net.freeze('dens1'))
    net.freeze('*')
    await expectError('state', ['frozen', 'unfreeze()'], () => net.fit(data, options))
  })
})

describe('setWeights', () => {
  it('sets what is named and nothing when something is wrong', async () => {
    const net = model([2], [dense(1)])
    await net.setWeights(new Map([['dense1.weight', { data: [3, 4] }]]))
    expect((await net.weights()).get('dense1.weight')!.data).toEqual(Float32Array.from([3, 4]))
    const wrong = new Map([
      ['dense1.weight', { data: [5, 6] }],
      ['dense1.bais', { data: [1] }],
    ])
    await expectError('argument', ['"dense1.bais"', 'dense1.bias'], () => net.setWeights(wrong))
    await expectError('shape', ['2 elements', 'dense1.weight'], () =>
      net.setWeights(new Map([['dense1.weight', { data: [1] }]])),
    )
    expect((await net.weights()).get('dense1.weight')!.data).toEqual(Float32Array.from([3, 4]))
  })
})

describe('models of indices', () => {
  const indices = Int32Array.from([1, 2, 3, 4, 5, 6, 0, 3, 2])
  const build = () =>
    model(
      { shape: [3], dtype: 'int32' },
      [embedding(7, 4), flatten(), dense(5), dense(4), batchNorm(), relu(), dense(2)],
      { seed: 1 },
    )

  it('are changed like any others', async () => {
    const net = build()
    await stir(net)
    expect(await farthest(net, await foldBatchNorm(net), indices)).toBeLessThan(1e-5)
    expect(await farthest(net, await fuseLinear(net), indices)).toBeLessThan(1e-5)
    expect((await replaceHead(net, 3)).outputShape).toEqual([3])
    expect(await recalibrate(net, dataset(indices, [0, 1, 0], { shape: [3, 3] }))).toEqual(['batchNorm1'])
  })
})

describe('what has no list of layers', () => {
  it('is refused by name', async () => {
    const written = model({ a: [4] }, ({ a }, scope) => scope.apply(dense(2), a), { name: 'written' })
    for (const tool of [foldBatchNorm, fuseLinear, (net: Model) => replaceHead(net, 2)]) {
      await expectError('argument', ['a list of layers', 'written'], () => tool(written as never))
      await expectError('argument', ['a list of layers', '{}'], () => tool({} as never))
    }
    await expectError('argument', ['recalibrate', 'written'], () => recalibrate(written as never, classes(4, 4, 2)))
    await expectError('state', ['written', 'a function'], () => (written as unknown as Model).layers)
  })
})
