// Building a model: names, shapes, counts, texts, memory before anything is allocated.
import { describe, expect, it } from 'vitest'
import {
  adam,
  avgPool2d,
  batchNorm,
  conv2d,
  crossEntropy,
  dense,
  dropout,
  flatten,
  globalAvgPool2d,
  leakyRelu,
  type Model,
  maxPool2d,
  model,
  momentum,
  relu,
  type StartEvent,
  sequential,
  sgd,
  sigmoid,
} from '../../src/index.js'
import { classes } from './help.js'

const shapes = async (net: Model): Promise<Record<string, readonly number[]>> =>
  Object.fromEntries([...(await net.weights())].map(([path, { shape }]) => [path, shape]))

const mnistCnn = () =>
  model([28, 28, 1], [conv2d(30, 5), relu(), maxPool2d(2), flatten(), dense(100), relu(), dense(10)], { seed: 1 })

describe('a model', () => {
  it('of two layers has the shapes of the book', async () => {
    const net = model([784], [dense(100), relu(), dense(10)])
    expect(await shapes(net)).toEqual({
      'dense1.weight': [784, 100],
      'dense1.bias': [100],
      'dense2.weight': [100, 10],
      'dense2.bias': [10],
    })
    expect(net.parameterCount).toBe(784 * 100 + 100 + 100 * 10 + 10)
    expect(net.outputShape).toEqual([10])
    expect(net.inputShape).toEqual([784])
  })

  it('of one convolution for MNIST has 433,890 parameters and 4320 features after pooling', async () => {
    const net = mnistCnn()
    expect(net.parameterCount).toBe(433_890)
    expect(await shapes(net)).toEqual({
      'conv2d1.weight': [5, 5, 1, 30],
      'conv2d1.bias': [30],
      'dense1.weight': [4320, 100],
      'dense1.bias': [100],
      'dense2.weight': [100, 10],
      'dense2.bias': [10],
    })
  })

  it('tells its layers, output shapes and counts as a table', () => {
    expect(mnistCnn().summary().split('\n')).toEqual([
      'model',
      '  layer       output           parameters',
      '  input       [n, 28, 28, 1]',
      '  conv2d1     [n, 24, 24, 30]  780',
      '  relu1       [n, 24, 24, 30]  0',
      '  maxPool2d1  [n, 12, 12, 30]  0',
      '  flatten1    [n, 4320]        0',
      '  dense1      [n, 100]         432,100',
      '  relu2       [n, 100]         0',
      '  dense2      [n, 10]          1,010',
      '  433,890 parameters',
    ])
  })

  it('lists what no optimizer changes beside the parameters', () => {
    const net = model([4], [dense(6), batchNorm(), relu(), dense(2)], { name: 'small' })
    const lines = net.summary().split('\n')
    expect(lines[0]).toBe('small')
    expect(lines.find((line) => line.includes('batchNorm1'))).toMatch(/\[n, 6\] +12 \(\+12 state\)$/)
    expect(lines.at(-1)).toBe('  50 parameters, 12 numbers of state that no optimizer changes')
  })

  it('computes the shape of every kind of layer', () => {
    const out = (...layers: Parameters<typeof model>[1]) => model([9, 8, 3], layers).outputShape
    expect(out(conv2d(4, 3))).toEqual([7, 6, 4])
    expect(out(conv2d(4, 3, { padding: 'same' }))).toEqual([9, 8, 4])
    expect(out(conv2d(4, 3, { padding: 'same', stride: 2 }))).toEqual([5, 4, 4])
    expect(out(conv2d(4, [3, 2], { stride: [2, 3], dilation: [2, 1] }))).toEqual([3, 3, 4])
    expect(out(conv2d(6, 3, { groups: 3 }))).toEqual([7, 6, 6])
    expect(out(maxPool2d(2))).toEqual([4, 4, 3])
    expect(out(maxPool2d(3, { stride: 1 }))).toEqual([7, 6, 3])
    expect(out(avgPool2d([3, 2], { padding: 'same' }))).toEqual([3, 4, 3])
    expect(out(globalAvgPool2d())).toEqual([3])
    expect(out(flatten())).toEqual([216])
    expect(out(flatten(), dropout(0.3), dense(5), sigmoid(), leakyRelu(), batchNorm())).toEqual([5])
  })

  it('gives a grouped convolution the weights of one group per filter', async () => {
    const net = model([5, 5, 6], [conv2d(4, [3, 2], { groups: 2 })])
    expect(await shapes(net)).toEqual({ 'conv2d1.weight': [3, 2, 3, 4], 'conv2d1.bias': [4] })
  })

  it('leaves the bias out before batch norm, and only there, unless told', async () => {
    const has = async (...layers: Parameters<typeof model>[1]) =>
      (await model([6, 6, 2], layers).weights()).has(layers[0]?.kind === 'flatten' ? 'dense1.bias' : 'conv2d1.bias')
    expect(await has(conv2d(3, 3), batchNorm(), relu())).toBe(false)
    expect(await has(conv2d(3, 3), relu(), batchNorm())).toBe(true)
    expect(await has(conv2d(3, 3, { bias: true }), batchNorm())).toBe(true)
    expect(await has(conv2d(3, 3, { bias: false }), relu())).toBe(false)
    expect(await has(flatten(), dense(3), batchNorm())).toBe(false)
    expect(await has(flatten(), dense(3))).toBe(true)
    expect(await has(sequential([conv2d(3, 3)]), batchNorm())).toBe(false)
  })

  it('builds batch norm after the activation as well as before it', async () => {
    const net = model([5], [dense(4), relu(), batchNorm(), dense(2)])
    expect(await shapes(net)).toEqual({
      'dense1.weight': [5, 4],
      'dense1.bias': [4],
      'batchNorm1.gamma': [4],
      'batchNorm1.beta': [4],
      'batchNorm1.mean': [4],
      'batchNorm1.variance': [4],
      'dense2.weight': [4, 2],
      'dense2.bias': [2],
    })
    const { 'batchNorm1.gamma': gamma, 'batchNorm1.variance': variance } = Object.fromEntries(
      [...(await net.weights())].map(([path, { data }]) => [path, [...data]]),
    )
    expect(gamma).toEqual([1, 1, 1, 1])
    expect(variance).toEqual([1, 1, 1, 1])
  })

  it('names nested layers by their path, numbers them by kind and takes given names', async () => {
    const block = () => sequential([dense(4), relu(), dense(4)], { name: 'block' })
    const net = model([4], [block(), sequential([dense(3), sequential([dense(3)])]), dense(2, { name: 'head' })])
    expect([...(await net.weights()).keys()]).toEqual([
      'block.dense1.weight',
      'block.dense1.bias',
      'block.dense2.weight',
      'block.dense2.bias',
      'sequential2.dense1.weight',
      'sequential2.dense1.bias',
      'sequential2.sequential1.dense1.weight',
      'sequential2.sequential1.dense1.bias',
      'head.weight',
      'head.bias',
    ])
    expect(net.summary()).toContain('block')
    expect(net.parameterCount).toBe(2 * 20 + 15 + 12 + 8)
  })

  it('never lets two layers share weights by a clash of names', async () => {
    const clashes = [
      [dense(4, { name: 'a' }), dense(4, { name: 'a' })],
      [dense(4, { name: 'dense2' }), dense(4)],
    ]
    for (const layers of clashes) {
      let count = 2 * (4 * 4 + 4)
      try {
        count = model([4], layers).parameterCount
      } catch {
        // An error that names the clash is just as good.
      }
      expect(count).toBe(40)
    }
  })
})

describe('memory', () => {
  const net = () => model([20], [dense(30), relu(), dense(7)], { seed: 1 })
  const parts = [20 * 30, 30, 30 * 7, 7]
  const region = parts.reduce((sum, size) => sum + Math.ceil(size / 16) * 64, 0)

  it('is known before anything is allocated: parameters, gradients and moments, each aligned', () => {
    for (const [optimizer, slots] of [
      [sgd(), 0],
      [momentum(), 1],
      [adam(), 2],
    ] as const) {
      const memory = net().memory({ batchSize: 32, optimizer })
      expect(memory.param).toBe(region)
      expect(memory.grad).toBe(region)
      expect(memory.opt).toBe(slots * region)
      expect(memory.step).toBe(256)
      expect(memory.act).toBeGreaterThan(0)
      const { total, ...rest } = memory
      expect(total).toBe(Object.values(rest).reduce((sum, bytes) => sum + bytes, 0))
    }
  })

  it('is what a training run then uses', async () => {
    const trained = net()
    const data = classes(96, 20, 7)
    const told = trained.memory({ batchSize: 32, optimizer: adam() })
    let start: StartEvent | undefined
    await trained.fit(data, {
      loss: crossEntropy(),
      optimizer: adam(),
      batchSize: 32,
      callbacks: [
        {
          onStart(event) {
            start = event
          },
        },
      ],
    })
    const used = (start as StartEvent).memory
    for (const kind of ['param', 'opt', 'step', 'grad'] as const) expect(used[kind]).toBe(told[kind])
    // The data set, kept whole: floats and labels.
    expect(used.data).toBe(96 * 20 * 4 + 96 * 4)
    // The gathered batch takes the place of the input; the loss and the choice of rows are small beside the layers.
    const work = ({ act, input, workspace }: typeof used) => act + input + workspace
    expect(work(used)).toBeLessThanOrEqual(work(told) * 1.02 + 1024)
    expect(work(used)).toBeGreaterThanOrEqual(work(told) * 0.98)
  })
})
