// Numerical gradients, and the gradient check of whole models: right layers pass, a wrong derivative is found and named.
import { describe, expect, it } from 'vitest'
import { apply1 } from '../../src/graph.js'
import {
  avgPool2d,
  batchNorm,
  conv2d,
  crossEntropy,
  dataset,
  dense,
  dropout,
  elu,
  flatten,
  globalAvgPool2d,
  gradCheck,
  type Layer,
  layer,
  leakyRelu,
  maxPool2d,
  model,
  mse,
  numericalGradient,
  ops,
  relu,
  sequential,
  sigmoid,
  softmax,
  tanh,
} from '../../src/index.js'
import { type Op, opTable } from '../../src/op.js'
import { expectError, numbers } from '../api/help.js'

describe('numericalGradient', () => {
  const f = (x: Float64Array) => Math.sin(x[0]!) * Math.exp(x[1]!) + x[2]! ** 3
  const at = [0.7, -0.4, 1.3]
  const exact = [Math.cos(0.7) * Math.exp(-0.4), Math.sin(0.7) * Math.exp(-0.4), 3 * 1.3 ** 2]
  const errorWith = (h: number) =>
    Math.max(...Array.from(numericalGradient(f, at, { h }), (g, i) => Math.abs(g - exact[i]!)))

  it('is within h^2 of the derivative at the default h of 1e-4', () => {
    expect(numericalGradient(f, at)).toEqual(numericalGradient(f, at, { h: 1e-4 }))
    expect(errorWith(1e-4)).toBeLessThan(2e-8)
  })
  it('has an error that falls with the square of h', () => {
    for (const h of [1e-1, 1e-2]) {
      expect(errorWith(h) / errorWith(h / 10)).toBeGreaterThan(95)
      expect(errorWith(h) / errorWith(h / 10)).toBeLessThan(105)
    }
  })
  it('is exact for quadratics, of any number of elements, and leaves its argument alone', () => {
    const point = Float64Array.from(numbers(24))
    const before = point.slice()
    const gradient = numericalGradient((x) => x.reduce((sum, v) => sum + v * v, 0), point, { h: 0.5 })
    gradient.forEach((g, i) => void expect(Math.abs(g - 2 * point[i]!)).toBeLessThan(1e-12))
    expect(point).toEqual(before)
  })
  it('refuses what makes no sense', async () => {
    await expectError('argument', ['h of numericalGradient', 'above 0'], () => numericalGradient(f, at, { h: 0 }))
    await expectError('argument', ['"step"', 'h'], () => numericalGradient(f, at, { step: 1 } as object))
  })
})

const images = (count: number) => Float32Array.from(numbers(count * 6 * 5 * 2, 7))
const labels = (count: number) => Int32Array.from({ length: count }, (_, i) => (i * 5) % 3)
const batch = dataset(images(4), labels(4), { shape: [4, 6, 5, 2], classes: 3 })
const head = [flatten(), dense(3)]

const nets: Record<string, Layer[]> = {
  dense: [flatten(), dense(5), tanh(), dense(3)],
  'conv2d, stride and padding': [conv2d(3, 3, { padding: 'same', stride: 2 }), relu(), ...head],
  'conv2d, dilation and groups': [conv2d(4, 2, { dilation: 2, groups: 2 }), tanh(), ...head],
  maxPool2d: [conv2d(3, 2), maxPool2d(2), ...head],
  avgPool2d: [conv2d(3, 2), avgPool2d(2, { padding: 1 }), ...head],
  globalAvgPool2d: [conv2d(4, 2), elu(), globalAvgPool2d(), dense(3)],
  batchNorm: [conv2d(3, 2), batchNorm(), relu(), flatten(), dense(4), batchNorm(), sigmoid(), dense(3)],
  dropout: [flatten(), dense(6), dropout(0.4), leakyRelu(0.1), dense(3)],
  'sequential blocks': [sequential([flatten(), sequential([dense(4), tanh()], { name: 'inner' })]), dense(3)],
}

describe('gradCheck', () => {
  it.each(Object.keys(nets))('passes %s in training and in prediction', async (name) => {
    const net = model([6, 5, 2], nets[name]!, { seed: 3 })
    for (const mode of ['train', 'predict'] as const) {
      const check = await gradCheck(net, batch, { loss: crossEntropy(), mode, samples: 6 })
      expect(check.message).toContain('right')
      expect(check.ok).toBe(true)
      expect(check.error).toBeLessThan(1e-6)
      expect(check.errors.filter(({ kind }) => kind === 'parameter').map(({ path }) => path)).toEqual(
        net.params.map((p) => p.name),
      )
    }
  })
  it('checks regression with float targets and a softmax', async () => {
    const data = dataset(Float32Array.from(numbers(20)), Float32Array.from(numbers(15, 2)), { shape: [5, 4] })
    const check = await gradCheck(model([4], [dense(6), relu(), dense(3), softmax()]), data, { loss: mse() })
    expect(check.ok, check.message).toBe(true)
  })
  it('leaves the model as it is', async () => {
    const net = model([6, 5, 2], nets.batchNorm!, { seed: 3 })
    const before = await net.snapshot()
    await gradCheck(net, batch, { loss: crossEntropy() })
    expect(await net.snapshot()).toEqual(before)
  })

  // tanh with the derivative of a sigmoid: the outputs are right, training still lowers the loss.
  const wrongTanh: Op = {
    ...opTable().get('tanh')!,
    backward: ([g], { outputs: [y] }) => [ops.mul(g!, ops.mul(y!, ops.sub(1, y!)))],
  }
  const wrong = () => layer('squash', (x) => apply1(wrongTanh, [x]))

  it('names a custom layer with a wrong gradient, and only it', async () => {
    const net = model([6, 5, 2], [flatten(), dense(5), wrong(), dense(4), tanh(), dense(3)], { seed: 1 })
    const check = await gradCheck(net, batch, { loss: crossEntropy() })
    expect(check.ok).toBe(false)
    expect(check.faulty).toEqual(['squash1'])
    expect(check.message).toMatch(/^Wrong derivative in squash1: the gradient of .* is .*, its central difference /)
    const error = (path: string) => check.errors.find((e) => e.path === path)!.error
    expect(error('dense1.weight')).toBeGreaterThan(1e-2)
    expect(error('dense2.weight')).toBeLessThan(1e-6)
    expect(error('dense3.bias')).toBeLessThan(1e-6)
  })
  it('names it inside a block, and a layer whose parameter has the wrong gradient', async () => {
    const scaled = layer('scaled', (x, scope) => {
      const gain = scope.param('gain', x.shape.slice(1), (shape) => ops.fill(shape, 0.5))
      return ops.mul(x, apply1(wrongTanh, [gain]))
    })
    const net = model([6, 5, 2], [sequential([flatten(), dense(5), wrong()], { name: 'block' }), scaled, dense(3)])
    const check = await gradCheck(net, batch, { loss: crossEntropy() })
    expect(check.faulty).toEqual(['block.squash1', 'scaled1'])
  })
  it('refuses a batch that does not fit', async () => {
    const net = model([4], [dense(3)])
    await expectError('shape', ['[6, 5, 2]'], () => gradCheck(net, batch, { loss: crossEntropy() }))
    await expectError('argument', ['"sample"', 'samples'], () =>
      gradCheck(net, batch, { loss: crossEntropy(), sample: 3 } as never),
    )
  })
})

describe('the price of a numerical gradient', () => {
  it('is two forward passes per parameter: 159,020 for 784-100-10', () => {
    const net = model([784], [dense(100), relu(), dense(10)])
    expect(net.parameterCount).toBe(79_510)
    let calls = 0
    // Counted on 795.1 times fewer elements, not run in full.
    numericalGradient(() => {
      calls++
      return 0
    }, new Float64Array(100))
    expect((calls / 100) * net.parameterCount).toBe(159_020)
  })
})
