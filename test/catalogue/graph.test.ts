// Models written as a function: several inputs and outputs, shared layers, integer inputs; and gradients of one's own.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  adam,
  conv2d,
  crossEntropy,
  customGrad,
  dataset,
  dense,
  embedding,
  flatten,
  grad,
  Joined,
  joined,
  type Layer,
  layer,
  model,
  mse,
  ops,
  record,
  relu,
  sgd,
  type Tensor,
  tanh,
  tensor,
  variable,
} from '../../src/index.js'
import { expectError, fingerprintOf, numbers } from '../api/help.js'
import { onRef, worst } from '../ops/harness.js'

const samples = 90
const image = () => dataset(Float32Array.from(numbers(samples * 16, 1)), null, { shape: [samples, 4, 4, 1] })
const age = () => dataset(Float32Array.from(numbers(samples, 2)), null, { shape: [samples, 1] })
const word = () =>
  dataset(
    Int32Array.from({ length: samples * 3 }, (_, i) => (i * 7) % 11),
    null,
    { shape: [samples, 3] },
  )
const digit = () =>
  dataset(
    Int32Array.from(numbers(samples, 2), (v) => (v > 0 ? 1 : 0)),
    null,
    { shape: [samples] },
  )
const weight = () =>
  dataset(
    Float32Array.from(numbers(samples, 2), (v) => 3 * v - 1),
    null,
    { shape: [samples, 1] },
  )

const net = (seed = 1) =>
  model(
    { image: [4, 4, 1], age: [1], word: { shape: [3], dtype: 'int32' } },
    ({ image, age, word }, scope) => {
      const seen = scope.apply([conv2d(2, 3), relu(), flatten()], image)
      const read = scope.apply([embedding(11, 2), flatten()], word)
      const all = scope.apply([dense(16), tanh()], ops.concat([seen, read, age], -1))
      return { digit: scope.apply(dense(2), all), weight: scope.apply(dense(1), all) }
    },
    { seed, name: 'two heads' },
  )
const data = () => joined({ image: image(), age: age(), word: word(), digit: digit(), weight: weight() })
const options = () => ({
  loss: (y: { digit: Tensor; weight: Tensor }, batch: { [part: string]: Tensor }) =>
    ops.add(crossEntropy()(y.digit, batch.digit!), mse()(y.weight, batch.weight!)),
  optimizer: adam({ lr: 0.02 }),
})

describe('a model of several inputs and outputs', () => {
  it('names layers by kind and number in the order of the function', () => {
    expect(net().params.map(({ name }) => name)).toEqual([
      'conv2d1.weight',
      'conv2d1.bias',
      'embedding1.weight',
      'dense1.weight',
      'dense1.bias',
      'dense2.weight',
      'dense2.bias',
      'dense3.weight',
      'dense3.bias',
    ])
    expect(net().summary()).toMatch(/image +\[n, 4, 4, 1\][\s\S]*word +\[n, 3\][\s\S]*embedding1 +\[n, 3, 2\] +22/)
    expect(net().inputs.word).toEqual({ shape: [3], dtype: 'int32' })
  })

  it('trains on joined data sets, measures by name and repeats bit for bit', async () => {
    const train = async () => {
      const made = net()
      const history = await made.fit(data(), {
        ...options(),
        epochs: 40,
        batchSize: 32,
        validation: data().take(40),
        metrics: { off: (y, batch) => mse()(y.weight, batch.weight!) },
      })
      return { made, history, bits: await fingerprintOf(made as never) }
    }
    const [one, two] = [await train(), await train()]
    const { train: last, validation } = one.history.epochs.at(-1)!
    expect(last.loss).toBeLessThan(0.1)
    expect(last.off).toBeLessThan(0.1)
    expect(validation!.off).toBeLessThan(0.1)
    expect(two.bits).toBe(one.bits)
    const measured = await one.made.evaluate(data(), { loss: options().loss, batchSize: 32 })
    const whole = await one.made.evaluate(data(), { loss: options().loss })
    expect(measured.loss).toBeCloseTo(whole.loss, 5)
  })

  it('takes the same step as a program written by hand', async () => {
    const made = net()
    const before = await made.weights()
    const all = data()
    await made.fit(all, { loss: options().loss, optimizer: sgd({ lr: 0.1 }), batchSize: samples, shuffle: 'none' })
    const names = [...before.keys()]
    const program = record(
      (given) => {
        const p = (name: string): Tensor => (given as Record<string, Tensor>)[name]!
        const affine = (x: Tensor, at: string): Tensor => ops.add(ops.matmul(x, p(`${at}.weight`)), p(`${at}.bias`))
        const conv = ops.add(ops.conv2d(p('image'), p('conv2d1.weight')), p('conv2d1.bias'))
        const seen = ops.reshape(ops.relu(conv), [samples, -1])
        const read = ops.reshape(ops.gather(p('embedding1.weight'), ops.reshape(p('word'), [-1])), [samples, -1])
        const all = ops.tanh(affine(ops.concat([seen, read, p('age')], 1), 'dense1'))
        const loss = ops.add(
          crossEntropy()(affine(all, 'dense2'), p('digit')),
          mse()(affine(all, 'dense3'), p('weight')),
        )
        return grad(loss, names.map(p))
      },
      {
        ...Object.fromEntries(
          Object.entries(all.parts).map(([name, { inputs }]) => [
            name,
            {
              shape: inputs.shape,
              dtype: inputs.data instanceof Int32Array ? ('int32' as const) : ('float32' as const),
            },
          ]),
        ),
        ...Object.fromEntries([...before].map(([name, { shape }]) => [name, shape])),
      },
      { device: onRef(), numerics: 'fp64' },
    )
    const given: Record<string, ArrayLike<number>> = {}
    for (const [name, { inputs }] of Object.entries(all.parts)) given[name] = inputs.data
    for (const [name, { data }] of before) given[name] = data
    const gradients = program.runSync(given as never)
    const after = await made.weights()
    names.forEach((name, i) => {
      const wanted = Array.from(before.get(name)!.data, (v, j) => v - 0.1 * (gradients[i]!.data[j] as number))
      expect(worst(name, after.get(name)!.data, wanted, () => 1e-6)).toBe(undefined)
    })
  })

  it('predicts by name from arrays, tensors and joined data, whatever the batch size', async () => {
    const made = net()
    const { parts } = data()
    const whole = await made.predict(data())
    expect(whole.digit.shape).toEqual([samples, 2])
    expect(whole.weight.shape).toEqual([samples, 1])
    const arrays = await made.predict(
      {
        image: tensor(parts.image.inputs.data, { shape: [samples, 4, 4, 1] }),
        age: parts.age.inputs.data,
        word: parts.word,
      },
      { batchSize: 37 },
    )
    expect(Array.from(arrays.digit.data)).toEqual(Array.from(whole.digit.data))
    expect(Array.from(arrays.weight.data)).toEqual(Array.from(whole.weight.data))
  })

  it('gives its outputs back from a file', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'graph-'))
    try {
      const [one, two] = [net(1), net(2)]
      await one.save(join(folder, 'x.safetensors'))
      await two.load(join(folder, 'x.safetensors'))
      expect(await fingerprintOf(two as never)).toBe(await fingerprintOf(one as never))
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('may have one output, and knows its memory before anything is allocated', async () => {
    const single = model({ a: [3], b: [2] }, ({ a, b }, scope) => scope.apply(dense(4), ops.concat([a, b], 1)))
    expect(single.outputShape).toEqual([4])
    expect((await single.predict({ a: [1, 2, 3], b: [4, 5] })).shape).toEqual([1, 4])
    expect(single.memory({ batchSize: 8, optimizer: adam() }).input).toBeGreaterThanOrEqual(8 * 5 * 4)
  })

  it('shares the parameters of a layer that is applied again, and of no other', () => {
    const twins = model({ a: [3], b: [3] }, ({ a, b }, scope) => {
      const tower = dense(5)
      return ops.sub(scope.apply(tower, a), scope.apply(tower, b))
    })
    expect(twins.parameterCount).toBe(3 * 5 + 5)
    const apart = model({ a: [3], b: [3] }, ({ a, b }, scope) =>
      ops.sub(scope.apply(dense(5), a), scope.apply(dense(5), b)),
    )
    expect(apart.parameterCount).toBe(2 * (3 * 5 + 5))
  })

  it('lets custom layers apply layers in the same way', async () => {
    const block: Layer = layer('block', (x, scope) => ops.add(x, scope.apply([dense(4), tanh(), dense(4)], x)))
    const nested = model([4], [block, block, dense(1)])
    expect(nested.params.map(({ name }) => name).filter((name) => name.endsWith('weight'))).toEqual([
      'block1.dense1.weight',
      'block1.dense2.weight',
      'block2.dense1.weight',
      'block2.dense2.weight',
      'dense1.weight',
    ])
  })

  it('says what is wrong', async () => {
    const made = net()
    await expectError('argument', ['joined()', 'image, age, word'], () => made.fit(image() as never, options()))
    await expectError('shape', ['input word', 'without it'], () =>
      made.fit(joined({ image: image(), age: age() }), options()),
    )
    await expectError('shape', ['int32 [3]', 'float32 [1]', 'word'], () =>
      made.fit(joined({ image: image(), age: age(), word: age() }), options()),
    )
    await expectError('argument', ['by name', 'metrics'], () =>
      made.fit(data(), { ...options(), metrics: ['accuracy'] as never }),
    )
    await expectError('argument', ['"imag"', 'Did you mean "image"?'], () => made.predict({ imag: [1] } as never))
    await expectError('argument', ['2 samples', 'age'], () =>
      made.predict({ image: numbers(32), age: [1], word: [1, 2, 3, 4, 5, 6] }),
    )
    await expectError('state', ['3 inputs'], () => made.inputShape)
    await expectError('state', ['several outputs'], () => made.outputShape)
    await expectError('shape', ['batch as first axis', '[2, 1]'], () =>
      model({ a: [2] }, ({ a }) => ({ y: ops.transpose(a) })),
    )
    await expectError('argument', ['a tensor or an object of tensors'], () => model({ a: [2] }, () => 3 as never))
    await expectError('argument', ['shapes by name'], () => model([2] as never, (() => undefined) as never))
    await expectError('argument', ['float32', 'int32', 'uint8'], () =>
      model({ shape: [2], dtype: 'uint8' }, [flatten()]),
    )
    await expectError('shape', ['90 samples', 'joined.b'], () => joined({ a: age(), b: age().take(3) }))
    await expectError('argument', ['without labels', 'a part of their own'], () =>
      joined({ a: dataset([[1], [2]], [0, 1]) }),
    )
  })

  it('keeps samples whole when joined data are split', () => {
    const both = joined({ a: age(), b: age() }).split({ validation: 20, seed: 3 })
    for (const part of [both.train, both.validation]) {
      expect(part).toBeInstanceOf(Joined)
      expect(part.parts.a.inputs.data).toEqual(part.parts.b.inputs.data)
    }
    expect(both.train.length).toBe(70)
  })
})

describe('integer inputs', () => {
  const words = (): Int32Array => Int32Array.from({ length: 60 * 4 }, (_, i) => (i * i) % 9)
  const labels = (): Int32Array => Int32Array.from({ length: 60 }, (_, i) => (words()[4 * i] as number) % 3)

  it('reach an embedding from data sets and in predict', async () => {
    const made = model({ shape: [4], dtype: 'int32' }, [embedding(9, 6), flatten(), dense(3)], { seed: 2 })
    const all = dataset(words(), labels(), { shape: [60, 4] })
    const history = await made.fit(all, {
      loss: crossEntropy(),
      optimizer: adam({ lr: 0.1 }),
      epochs: 60,
      metrics: ['accuracy'],
    })
    expect(history.epochs.at(-1)!.train.accuracy).toBe(1)
    const y = await made.predict(Array.from(words().slice(0, 8)))
    expect(y.shape).toEqual([2, 3])
    expect(Array.from((await made.predict(all)).data.slice(0, 6))).toEqual(Array.from(y.data))
  })

  it('are refused where floats are expected, and floats where integers are', async () => {
    const ints = dataset(words(), labels(), { shape: [60, 4] })
    const floats = dataset(Float32Array.from(words()), labels(), { shape: [60, 4] })
    const run = { loss: crossEntropy(), optimizer: adam() }
    await expectError('shape', ['float32 [4]', 'int32 [4]'], () => model([4], [dense(3)]).fit(ints, run))
    const made = model({ shape: [4], dtype: 'int32' }, [embedding(9, 6), flatten(), dense(3)])
    await expectError('shape', ['int32 [4]', 'float32 [4]'], () => made.fit(floats, run))
    await expectError('shape', ['int32 indices for embedding', "dtype: 'int32'"], () => model([4], [embedding(9, 2)]))
  })

  it('outside of the table fail the step with a text', async () => {
    const made = model({ shape: [1], dtype: 'int32' }, [embedding(3, 2), flatten()])
    await expect(made.predict([3])).rejects.toThrow(/index|row|gather/i)
    expect((await made.predict([2])).shape).toEqual([1, 2])
  })
})

describe('customGrad', () => {
  const swish = customGrad({
    name: 'swish',
    forward: (x) => ops.mul(x!, ops.sigmoid(x!)),
    backward: (g, [x], y) => {
      const s = ops.sigmoid(x!)
      return [ops.mul(g, ops.add(y, ops.mul(s, ops.sub(1, y))))]
    },
  })
  const xs = numbers(40, 5)

  it('has the gradient it was given, which is right in central differences, to the second order', () => {
    const f = (x: number): number => x / (1 + Math.exp(-x))
    const program = record(
      ({ x }) => {
        const y = swish(x)
        const [first] = grad(ops.sum(y), [x]) as [Tensor]
        return { y, first, second: grad(ops.sum(first), [x])[0]! }
      },
      { x: [40] },
      { device: onRef(), numerics: 'fp64' },
    )
    const { y, first, second } = program.runSync({ x: xs })
    const h = 1e-4
    const x32 = xs
    expect(worst('y', y.data, x32.map(f), () => 1e-12)).toBe(undefined)
    expect(
      worst(
        'first',
        first.data,
        x32.map((x) => (f(x + h) - f(x - h)) / (2 * h)),
        () => 1e-7,
      ),
    ).toBe(undefined)
    expect(
      worst(
        'second',
        second.data,
        x32.map((x) => (f(x + h) - 2 * f(x) + f(x - h)) / h ** 2),
        () => 1e-6,
      ),
    ).toBe(undefined)
  })

  it('replaces the derivative of its ops, also within a layer and a fused product', async () => {
    // A step whose gradient is taken as if it were the identity.
    const straight = customGrad({ forward: (x) => ops.sign(x!), backward: (g) => [g] })
    const w = variable([3, 2], { name: 'w', value: [1, -2, 3, -4, 5, -6] })
    const program = record(
      ({ x }) => {
        const y = straight(ops.add(ops.matmul(x, w), 0))
        return { y, g: grad(ops.sum(y), [w])[0]! }
      },
      { x: [1, 3] },
    )
    const { y, g } = program.runSync({ x: [1, 1, 1] })
    expect(Array.from(y.data)).toEqual([1, -1])
    expect(Array.from(g.data)).toEqual([1, 1, 1, 1, 1, 1])
    const net = model([3], [dense(4), (x) => straight(x), dense(2)])
    const before = (await net.weights()).get('dense1.weight')!.data
    await net.fit(
      dataset(
        Float32Array.from(numbers(30)),
        Int32Array.from({ length: 10 }, (_, i) => i % 2),
        { shape: [10, 3] },
      ),
      {
        loss: crossEntropy(),
        optimizer: sgd({ lr: 1 }),
        batchSize: 10,
      },
    )
    expect((await net.weights()).get('dense1.weight')!.data).not.toEqual(before)
  })

  it('takes several inputs, some without a gradient, and runs eagerly', () => {
    const scaled = customGrad({
      forward: (a, b) => ops.mul(a!, b!),
      backward: (g, [a]) => [undefined, ops.mul(g, ops.scale(a!, 10))],
    })
    const program = record(({ a, b }) => grad(ops.sum(scaled(a, b)), [a, b]), { a: [2], b: [2] })
    const [da, db] = program.runSync({ a: [1, 2], b: [3, 4] })
    expect(Array.from(da!.data)).toEqual([0, 0])
    expect(Array.from(db!.data)).toEqual([10, 20])
    expect(Array.from(scaled(tensor([1, 2]), tensor([3, 4])).data)).toEqual([3, 8])
  })

  it('says what is wrong', async () => {
    const one = (backward: () => unknown) =>
      record(
        ({ x }) =>
          grad(ops.sum(customGrad({ name: 'f', forward: (t) => ops.neg(t!), backward: backward as never })(x)), [x]),
        {
          x: [2],
        },
      )
    await expectError('argument', ['one gradient per input (1)', 'backward of f'], () => one(() => []))
    await expectError('shape', ['gradient 1 of f', '[2]', '[1]'], () => one(() => [ops.fill([1], 1)]))
    await expectError('argument', ['forward'], () => customGrad({ backward: () => [] } as never))
    await expectError('argument', ['"bakward"', 'Did you mean "backward"?'], () =>
      customGrad({ forward: (x: Tensor) => x, bakward: () => [] } as never),
    )
  })
})
