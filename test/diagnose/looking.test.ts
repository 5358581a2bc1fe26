// Receptive fields and activation histograms against values by hand and known experiments.
import { describe, expect, it } from 'vitest'
import {
  activationHistograms,
  avgPool2d,
  batchNorm,
  conv2d,
  crossEntropy,
  dataset,
  dense,
  embedding,
  flatten,
  globalAvgPool2d,
  gradCheck,
  heNormal,
  type Initializer,
  layer,
  lecunNormal,
  maxPool2d,
  model,
  normal,
  ops,
  receptiveField,
  relu,
  sequential,
  sigmoid,
} from '../../src/index.js'
import { expectError, numbers } from '../api/help.js'

describe('receptiveField', () => {
  const table = (...args: Parameters<typeof model>) =>
    receptiveField(model(...args)).map(({ layer: name, size, stride }) => [name, size, stride])

  it('grows with kernels, strides, pooling and dilation', () => {
    const layers = [
      conv2d(4, 3),
      batchNorm(),
      relu(),
      maxPool2d(2),
      conv2d(4, 3, { stride: 2, padding: 'same' }),
      conv2d(4, [3, 1], { dilation: [2, 1] }),
      avgPool2d(2, { stride: 1 }),
      flatten(),
      dense(3),
    ]
    expect(table([33, 21, 1], layers)).toEqual([
      ['conv2d1', [3, 3], [1, 1]],
      ['batchNorm1', [3, 3], [1, 1]],
      ['relu1', [3, 3], [1, 1]],
      ['maxPool2d1', [4, 4], [2, 2]],
      ['conv2d2', [8, 8], [4, 4]],
      ['conv2d3', [24, 8], [4, 4]],
      ['avgPool2d1', [28, 12], [4, 4]],
      ['flatten1', [28, 12], [4, 4]],
      ['dense1', [33, 21], [0, 0]],
    ])
  })
  it('of two 3x3 convolutions is that of one of 5x5, of three 7x7', () => {
    const sizes = receptiveField(model([16, 16, 2], [conv2d(2, 3), conv2d(2, 3), conv2d(2, 3)])).map((r) => r.size[0])
    expect(sizes).toEqual([3, 5, 7])
  })
  it('sees into blocks, and takes the larger of two branches', () => {
    const branches = layer('branches', (x, scope) => {
      const near = conv2d(2, 1)(x, scope.child('near'))
      const far = conv2d(2, 5, { padding: 'same' })(x, scope.child('far'))
      return relu()(ops.add(near, far), scope.child('relu'))
    })
    expect(table([9, 9, 2], [sequential([conv2d(2, 3), branches]), globalAvgPool2d()])).toEqual([
      ['sequential1.conv2d1', [3, 3], [1, 1]],
      ['sequential1.branches1', [7, 7], [1, 1]],
      ['sequential1', [7, 7], [1, 1]],
      ['globalAvgPool2d1', [9, 9], [0, 0]],
    ])
  })
  it('agrees with what a change of one pixel reaches', async () => {
    const layers = [conv2d(1, 3, { stride: 2 }), conv2d(1, 2, { dilation: 2 })]
    const net = model(
      [15, 1, 1].map((d, i) => (i === 1 ? 15 : d)),
      layers,
      { seed: 1 },
    )
    const [, last] = receptiveField(net)
    const base = new Float32Array(225)
    const first = (await net.predict(base)).data[0]
    let [low, high] = [15, -1]
    for (let row = 0; row < 15; row++) {
      const changed = base.slice()
      changed.fill(1, row * 15, row * 15 + 15)
      if ((await net.predict(changed)).data[0] === first) continue
      ;[low, high] = [Math.min(low, row), Math.max(high, row)]
    }
    expect(high - low + 1).toBe(last!.size[0])
  })
})

describe('activationHistograms', () => {
  it('counts every value once, in bins that can be checked by hand', async () => {
    const net = model([2], [layer('same', (x) => ops.scale(x, 1))])
    const samples = [0, 0.25, 0.5, 1, -1, 2, 0.99, 0]
    const [found] = await activationHistograms(net, samples, { bins: 4, range: [0, 1], batchSize: 3 })
    expect(found).toMatchObject({ layer: 'same1', kind: 'same', counts: [2, 1, 1, 2], range: [0, 1], min: -1, max: 2 })
    expect(found!.outside).toBe(2 / 8)
    const mean = samples.reduce((a, b) => a + b, 0) / 8
    expect(found!.mean).toBeCloseTo(mean, 7)
    expect(found!.std).toBeCloseTo(Math.sqrt(samples.reduce((s, v) => s + (v - mean) ** 2, 0) / 8), 6)
    const [own] = await activationHistograms(net, samples, { bins: 3 })
    expect(own).toMatchObject({ counts: [1, 5, 2], range: [-1, 2], outside: 0 })
  })
  it('tells dead units', async () => {
    const net = model([1], [dense(4), relu()])
    await net.setWeights(
      new Map([
        ['dense1.weight', { data: [1, 1, 1, 1] }],
        ['dense1.bias', { data: [0, -10, 0, -20] }],
      ]),
    )
    const histograms = await activationHistograms(net, [1, 2, 3])
    expect(histograms.map(({ layer: name, dead }) => [name, dead])).toEqual([
      ['dense1', 0],
      ['relu1', 0.5],
    ])
  })
  it('refuses a range that is none', async () => {
    const net = model([2], [dense(1)])
    await expectError('argument', ['range[1]', 'above 1'], () => activationHistograms(net, [1, 2], { range: [1, 1] }))
    await expectError('argument', ['"bin"', 'bins'], () => activationHistograms(net, [1, 2], { bin: 3 } as object))
  })

  // 1000 normal samples of 100 through five layers of 100 units, without biases.
  const samples = () => {
    const uniform = numbers(200_000, 12)
    const pair = (i: number) => [(uniform[2 * i]! + 1) / 2, (uniform[2 * i + 1]! + 1) / 2] as const
    return dataset(
      Float32Array.from({ length: 100_000 }, (_, i) => {
        const [a, b] = pair(i)
        return Math.sqrt(-2 * Math.log(1 - Math.min(a, 0.9999999))) * Math.cos(2 * Math.PI * b)
      }),
      null,
      { shape: [1000, 100] },
    )
  }
  const through = async (activation: typeof sigmoid, init: Initializer, range?: readonly [number, number]) => {
    const layers = Array.from({ length: 5 }, () => [dense(100, { bias: false, init }), activation()]).flat()
    const found = await activationHistograms(model([100], layers, { seed: 6 }), samples(), range ? { range } : {})
    return found.filter(({ kind }) => kind !== 'dense')
  }
  it('of sigmoids: saturated by weights of std 1, all alike by 0.01, spread by 1/sqrt(n)', async () => {
    const wide = await through(sigmoid, normal({ std: 1 }), [0.05, 0.95])
    expect(wide[0]!.outside).toBeCloseTo(0.77, 1)
    expect(wide[4]!.outside).toBeCloseTo(0.69, 1)
    const narrow = await through(sigmoid, normal({ std: 0.01 }), [0, 1])
    expect(narrow[4]!.counts).toHaveLength(30)
    expect(narrow[4]!.mean).toBeCloseTo(0.5, 1)
    expect(Math.abs(narrow[4]!.std / 0.013 - 1)).toBeLessThan(0.4)
    const right = await through(sigmoid, lecunNormal(), [0.05, 0.95])
    expect(Math.abs(right[4]!.std / 0.117 - 1)).toBeLessThan(0.15)
    expect(right[4]!.outside).toBeLessThan(0.01)
  })
  it('of ReLUs: sqrt(2/n) keeps the spread, 1/sqrt(n) loses it, 2/sqrt(n) blows up', async () => {
    const he = await through(relu, heNormal())
    const lecun = await through(relu, lecunNormal())
    const doubled = await through(relu, normal({ std: 2 / Math.sqrt(100) }))
    const growth = (list: typeof he) => (list[4]!.std / list[0]!.std) ** (1 / 4)
    expect(Math.abs(growth(he) - 1)).toBeLessThan(0.1)
    expect(Math.abs(growth(lecun) - Math.SQRT1_2)).toBeLessThan(0.1)
    expect(Math.abs(growth(doubled) - Math.SQRT2)).toBeLessThan(0.15)
    expect((await through(relu, normal({ std: 0.01 })))[4]!.std).toBeLessThan(1e-5)
  })
})

describe('a model of indices', () => {
  it('can be looked at like any other', async () => {
    const net = model({ shape: [3], dtype: 'int32' }, [embedding(7, 4), flatten(), dense(2)])
    const data = dataset(Int32Array.from([1, 2, 3, 4, 5, 6]), [0, 1], { shape: [2, 3] })
    expect(receptiveField(net).map(({ layer: name }) => name)).toEqual(['embedding1', 'flatten1', 'dense1'])
    expect((await activationHistograms(net, data)).map(({ kind }) => kind)).toEqual(['embedding', 'flatten', 'dense'])
    expect((await gradCheck(net, data, { loss: crossEntropy() })).ok).toBe(true)
    await expectError('argument', ['activationHistograms', '{}'], () => activationHistograms({} as never, data))
    await expectError('argument', ['loss'], () => gradCheck(net, data, undefined as never))
  })
})
