// Bad calls: each is answered with an error that says what, where, expected and received, and the process goes on.
import { describe, expect, it } from 'vitest'
import {
  adam,
  assign,
  avgPool2d,
  batchNorm,
  constant,
  conv2d,
  crossEntropy,
  dataset,
  dense,
  device,
  dropout,
  earlyStopping,
  type FitOptions,
  flatten,
  globalAvgPool2d,
  grad,
  heNormal,
  type Layer,
  leakyRelu,
  maxPool2d,
  model,
  momentum,
  mse,
  nesterov,
  normal,
  ops,
  read,
  record,
  relu,
  sequential,
  sgd,
  stepState,
  type Tensor,
  tensor,
  Updater,
  variable,
  write,
  writeStep,
} from '../../src/index.js'
import { classes, expectError, failure, fingerprintOf } from './help.js'

const net = () => model([4], [dense(6), relu(), dense(3)], { seed: 1, name: 'net' })
const data = classes(40, 4, 3)
const options = (more: object = {}): FitOptions => ({ loss: crossEntropy(), optimizer: sgd(), ...more })

describe('building a model', () => {
  it('with shapes that do not fit tells the layer and the shapes so far', async () => {
    await expectError(
      'shape',
      ['[n, features]', 'dense', '[1, 4, 4, 8]', 'dense2', 'input [1, 6, 6, 1] -> conv2d1 [1, 4, 4, 8]', 'flatten()'],
      () => model([6, 6, 1], [conv2d(8, 3), dense(2, { name: 'dense2' })]),
    )
    await expectError('shape', ['conv2d', '[n, h, w, channels]', '[1, 5]', 'dense1 [1, 5]', 'conv2d1'], () =>
      model([6], [dense(5), conv2d(8, 3)]),
    )
    await expectError('shape', ['[n, h, w, channels]', 'at block.conv2d1', 'dense1 [1, 2]'], () =>
      model([6], [dense(5), sequential([dense(2), conv2d(2, 2)], { name: 'block' })]),
    )
  })

  it('with a window larger than the image', async () => {
    for (const layer of [conv2d(2, 7), maxPool2d(7), avgPool2d(7)]) {
      const error = (await failure(() => model([6, 6, 1], [layer]))) as Error
      expect(error.message).toMatch(/7/)
      expect(error.message).toMatch(/6/)
      expect(error.message).toContain('input [1, 6, 6, 1]')
    }
  })

  it('with groups that do not divide', async () => {
    await expectError('shape', ['3 groups', '4 and 6', 'conv2d'], () => model([5, 5, 4], [conv2d(6, 3, { groups: 3 })]))
  })

  it.each<[string, () => unknown, string[]]>([
    ['negative units', () => dense(-3), ['positive integer', 'units of dense', '-3']],
    ['fractional units', () => dense(2.5), ['positive integer', 'units of dense', '2.5']],
    ['no units', () => dense(0), ['positive integer', 'units of dense', '0']],
    ['units as text', () => dense('10' as never), ['positive integer', 'units of dense', '"10"']],
    ['units past 2^53', () => dense(2 ** 60), ['positive integer', 'units of dense']],
    ['negative filters', () => conv2d(-1, 3), ['positive integer', 'filters of conv2d', '-1']],
    ['an empty kernel', () => conv2d(1, 0), ['kernel of conv2d', '0']],
    ['a kernel of three sizes', () => conv2d(1, [3, 3, 3] as never), ['kernel of conv2d', '[3, 3, 3]']],
    ['a fractional pool', () => maxPool2d(1.5), ['kernel of maxPool2d', '1.5']],
    ['a rate of 1', () => dropout(1), ['rate of dropout', 'below 1', '1']],
    ['a negative rate', () => dropout(-0.1), ['rate of dropout', '-0.1']],
    ['NaN as a slope', () => leakyRelu(Number.NaN), ['slope of leakyRelu', 'NaN']],
    ['a negative slope', () => leakyRelu(-1), ['slope of leakyRelu', '-1']],
    ['eps of zero', () => batchNorm({ eps: 0 }), ['eps of batchNorm', 'above 0', '0']],
    ['momentum above 1', () => batchNorm({ momentum: 1.1 }), ['momentum of batchNorm', '1.1']],
    ['a negative std', () => normal({ std: -1 }), ['std of normal', '-1']],
    ['a constant that is not finite', () => constant(Infinity), ['value of constant', 'Infinity']],
    ['a slope that is not finite', () => heNormal({ slope: Infinity }), ['slope of heNormal', 'Infinity']],
    ['a negative rate of learning', () => sgd({ lr: -1 }), ['lr of sgd', '-1']],
    ['NaN as a rate of learning', () => adam({ lr: Number.NaN }), ['lr of adam', 'NaN']],
    ['beta of 1', () => adam({ beta1: 1 }), ['beta1 of adam', 'below 1', '1']],
    ['a beta above 1', () => momentum({ beta: 1.5 }), ['beta of momentum', '1.5']],
    ['a negative clip', () => nesterov({ clipNorm: -1 }), ['clipNorm of nesterov', '-1']],
    ['patience of zero', () => earlyStopping({ patience: 0 }), ['patience', 'positive integer', '0']],
    ['a mode that is none', () => earlyStopping({ mode: 'Max' as never }), ['mode', '"Max"', '"max"']],
    ['no layers', () => model([4], []), ['at least one layer', '[]']],
    ['a layer that is none', () => model([4], [dense(3), 'relu' as never]), ['a layer', 'layer 2', '"relu"']],
    ['a layer that is missing', () => model([4], [undefined as never]), ['a layer', 'layer 1', 'undefined']],
    ['a shape that is a number', () => model(784 as never, [dense(2)]), ['input shape', '784']],
    ['a fractional shape', () => model([2.5], [dense(2)]), ['input shape', '2.5']],
    ['a negative shape', () => model([28, -28, 1], [flatten()]), ['input shape', '-28']],
    ['a shape of seven axes', () => model([1, 1, 1, 1, 1, 1, 1], [flatten()]), ['axes']],
    ['a shape that overflows', () => model([2 ** 30, 2 ** 30], [flatten()]), ['2^40']],
    ['a seed below zero', () => model([4], [dense(2)], { seed: -1 }), ['seed', '-1']],
    ['a fractional seed', () => model([4], [dense(2)], { seed: 0.5 }), ['seed', '0.5']],
    ['threads below zero', () => model([4], [dense(2)], { threads: -1 }), ['threads', '-1']],
    ['a set of instructions that is none', () => model([4], [dense(2)], { isa: 'sse9' as never }), ['isa', 'sse9']],
  ])('with %s', async (_, build, texts) => {
    await expectError('argument', texts, build)
  })

  it.each<[string, () => unknown, string[]]>([
    ['dense', () => dense(3, { unit: 1 } as never), ['unit', 'dense']],
    ['dense', () => dense(3, { biass: true } as never), ['"biass"', 'Did you mean "bias"']],
    ['conv2d', () => conv2d(3, 3, { strides: 2 } as never), ['"strides"', 'Did you mean "stride"']],
    ['maxPool2d', () => maxPool2d(2, { pading: 'same' } as never), ['"pading"', 'Did you mean "padding"']],
    ['batchNorm', () => batchNorm({ epsilon: 1 } as never), ['"epsilon"', 'Did you mean "eps"']],
    ['globalAvgPool2d', () => globalAvgPool2d({ nam: 'x' } as never), ['"nam"', 'Did you mean "name"']],
    ['flatten', () => flatten({ nam: 'x' } as never), ['"nam"', 'Did you mean "name"']],
    ['sequential', () => sequential([relu()], { nam: 'x' } as never), ['"nam"', 'Did you mean "name"']],
    ['sgd', () => sgd({ learningRate: 1 } as never), ['"learningRate"', 'Did you mean "lr"']],
    ['adam', () => adam({ beta: 1 } as never), ['"beta"', 'Did you mean "beta1"']],
    ['momentum', () => momentum({ momentum: 0.9 } as never), ['"momentum"', 'beta, rateOutside']],
    ['model', () => model([4], [dense(2)], { sead: 1 } as never), ['"sead"', 'Did you mean "seed"']],
    ['earlyStopping', () => earlyStopping({ patient: 2 } as never), ['"patient"', 'Did you mean "patience"']],
    ['record', () => record(() => ({}), {}, { nme: 'x' } as never), ['"nme"', 'Did you mean "name"']],
    ['variable', () => variable([1], { val: 1 } as never), ['"val"', 'Did you mean "value"']],
    ['dataset', () => dataset([[1]], [0], { clases: 2 } as never), ['"clases"', 'Did you mean "classes"']],
  ])('with an unknown option of %s names the nearest', async (name, build, texts) => {
    await expectError('argument', [name, ...texts], build)
  })

  it('with an initializer that is none, before anything runs', async () => {
    await expectError('argument', ['heNormal', 'the initializer of dense1.weight'], () =>
      model([4], [dense(2, { init: heNormal as never })]).weights(),
    )
    for (const bad of ['heNormal', 0.1] as never[]) {
      const of = (...layers: Layer[]) => model([4, 4, 1], layers).weights()
      await expectError('argument', ['initializer', 'init of dense'], () => of(flatten(), dense(2, { init: bad })))
      await expectError('argument', ['initializer', 'biasInit of dense'], () =>
        of(flatten(), dense(2, { biasInit: bad })),
      )
      await expectError('argument', ['initializer', 'init of conv2d'], () => of(conv2d(2, 2, { init: bad })))
    }
  })

  it('with a layer that gives back nothing', async () => {
    await expectError('argument', ['tensor', 'forgot1', 'undefined'], () => {
      const forgot = ((x: Tensor) => void ops.relu(x)) as unknown as Layer
      return model([4], [forgot, dense(2)])
    })
  })

  it('for a device that is not there', async () => {
    for (const name of ['tpu', 'mps', 'cuda:x', 'CPU', '', 7] as never[]) {
      await expectError('argument', ['device', String(name)], () => model([4], [dense(2)], { device: name }))
      await expectError('argument', ['device', String(name)], () => device(name))
    }
    await expectError('argument', ['cpu'], () => device('mps' as never))
  })
})

describe('fit', () => {
  it('without labels, or with a data set that is none', async () => {
    const unlabeled = dataset([[1, 2, 3, 4]], null, { name: 'nameless' })
    await expectError('argument', ['labels', 'training data', 'nameless'], () => net().fit(unlabeled, options()))
    await expectError('argument', ['dataset()', 'training data'], () => net().fit([[1, 2, 3, 4]] as never, options()))
    await expectError('argument', ['dataset()', 'training data', 'undefined'], () =>
      net().fit(undefined as never, options()),
    )
    await expectError('argument', ['labels', 'validation data'], () =>
      net().fit(data, options({ validation: unlabeled })),
    )
    await expectError('argument', ['labels'], () => net().evaluate(unlabeled, { loss: crossEntropy() }))
  })

  it('with samples of another shape', async () => {
    await expectError('shape', ['[4]', 'net', '[5]'], () => net().fit(classes(10, 5, 3), options()))
    await expectError('shape', ['[4]', '[5]'], () => net().evaluate(classes(10, 5, 3), { loss: crossEntropy() }))
    await expectError('shape', ['[4]', '[5]'], () => net().predict(classes(10, 5, 3)))
    await expectError('shape', ['[4]', '[5]'], () => net().predict(tensor([[1, 2, 3, 4, 5]])))
    await expectError('argument', ['a multiple of 4', 'predict', '[1, 2, 3]'], () => net().predict([1, 2, 3]))
    await expectError('argument', ['predict'], () => net().predict([]))
    await expectError('argument', ['predict'], () => net().predict(undefined as never))
  })

  it('with labels outside of the classes', async () => {
    const wide = dataset([[1, 2, 3, 4]], [7], { name: 'wide' })
    await expectError('data', ['0 to 2', '8 classes', '3 outputs', 'wide'], () =>
      net().fit(wide, options({ batchSize: 1 })),
    )
    await expectError('data', ['0 to 2', '8 classes'], () => net().evaluate(wide, { loss: crossEntropy() }))
    await expectError('data', ['labels[1]', '-1'], () => dataset([[1], [2]], [0, -1]))
    await expectError('data', ['labels[1]', '3', '0 to 2'], () => dataset([[1], [2]], [0, 3], { classes: 3 }))
    await expectError('data', ['labels[1]', '0.5'], () => dataset([[1], [2]], [0, 0.5]))
  })

  it('with NaN or nothing in the data', async () => {
    await expectError('data', ['inputs', 'NaN', 'row 1, column 0', 'mine'], () =>
      dataset(Float32Array.of(1, 2, Number.NaN, 4), [0, 1], { shape: [2, 2], name: 'mine' }),
    )
    await expectError('data', ['inputs[1][1]', 'Infinity'], () => dataset([[1, 2], [3, Infinity]], [0, 1])) // biome-ignore format: one line
    await expectError('data', ['labels'], () => dataset([[1], [2]], [[0.5], [Number.NaN]]))
    await expectError('data', ['at least one'], () => dataset([], []))
    await expectError('data', ['at least one'], () => dataset(new Float32Array(0), [], { shape: [0, 4] }))
    await expectError('shape', ['labels', '2', '3'], () => dataset([[1], [2]], [0, 1, 0]))
  })

  it('with batches that cannot be', async () => {
    await expectError('argument', ['at most the 40 samples', 'batchSize', '41'], () =>
      net().fit(data, options({ batchSize: 41 })),
    )
    for (const batchSize of [0, -1, 1.5, Number.NaN, 2 ** 60, '8', null] as never[]) {
      await expectError('argument', ['batchSize'], () => net().fit(data, options({ batchSize: batchSize ?? -1 })))
    }
    for (const epochs of [-1, 0.5, Infinity] as never[]) {
      await expectError('argument', ['epochs', String(epochs)], () => net().fit(data, options({ epochs })))
    }
    await expectError('argument', ['batchSize', '-1'], () => net().predict(data, { batchSize: -1 }))
    await expectError('argument', ['batchSize', '0'], () => net().evaluate(data, { loss: mse(), batchSize: 0 }))
    await expectError('argument', ['batchSize', '0'], () => net().memory({ batchSize: 0, optimizer: sgd() }))
  })

  it('with a loss, optimizer or metric that is none', async () => {
    await expectError('argument', ['crossEntropy()', 'loss', '"mse"'], () => net().fit(data, options({ loss: 'mse' })))
    await expectError('argument', ['loss', 'undefined'], () => net().fit(data, { optimizer: sgd() } as never))
    await expectError('argument', ['adam()', 'optimizer', 'sgd'], () => net().fit(data, options({ optimizer: sgd })))
    await expectError('argument', ['optimizer', 'undefined'], () => net().fit(data, { loss: crossEntropy() } as never))
    await expectError('argument', ['accuracy', 'metrics', '"auc"'], () =>
      net().fit(data, options({ metrics: ['auc'] })),
    )
    await expectError('argument', ['metrics', 'accuracy'], () =>
      net().fit(data, options({ metrics: ['accuracy', 'accuracy'] })),
    )
    await expectError('argument', ['loss'], () => net().fit(data, undefined as never))
    await expectError('argument', ['loss'], () => net().evaluate(data, undefined as never))
    await expectError('argument', ['"lr"', 'fit', 'loss, optimizer'], () => net().fit(data, options({ lr: 1 })))
    await expectError('argument', ['"batchsize"', 'Did you mean "batchSize"'], () =>
      net().fit(data, options({ batchsize: 1 })),
    )
    await expectError('argument', ['shuffle', '"epochs"', '"epoch"'], () =>
      net().fit(data, options({ shuffle: 'epochs' })),
    )
    await expectError('argument', ['optimizer'], () => net().memory({ batchSize: 1, optimizer: undefined as never }))
  })

  it('with a loss that gives no scalar', async () => {
    const bad = Object.assign((p: Tensor) => ops.square(p), { kind: 'mine' })
    await expectError('shape', ['scalar', 'loss', '[8, 3]'], () =>
      net().fit(data, options({ loss: bad, batchSize: 8 })),
    )
  })

  it('with targets of another shape than the outputs', async () => {
    const targets = dataset([[1, 2, 3, 4]], [[1, 2]])
    await expectError('shape', ['[1, 3]', '[1, 2]'], () => net().fit(targets, options({ loss: mse(), batchSize: 1 })))
    await expectError('shape', ['[1, 3]', '[1, 2]'], () => net().fit(targets, options({ batchSize: 1 })))
  })

  it('twice at a time, and closing meanwhile', async () => {
    const trained = net()
    const run = trained.fit(data, options({ epochs: 200 }))
    await Promise.resolve()
    await expectError('state', ['net', 'already training', 'Await'], () => trained.fit(data, options()))
    await expectError('state', ['net', 'is training'], () => trained.close())
    expect((await run).epochs).toHaveLength(200)
    expect((await trained.fit(data, options())).epochs).toHaveLength(1)
  })

  it('refuses to show or change weights while it trains', async () => {
    const trained = net()
    const controller = new AbortController()
    let busy = 0
    const before = await fingerprintOf(trained)
    const touch = [() => read(trained.params[0]!), () => write(trained.params[0]!, new Float32Array(24))]
    const onProgress = (): void => {
      for (const body of touch) {
        try {
          body()
        } catch (error) {
          if ((error as { code?: string }).code !== 'busy') throw error
          busy++
        }
      }
      if (busy > 5) controller.abort()
    }
    const { signal } = controller
    const run = trained.fit(
      classes(20_000, 4, 3),
      options({ epochs: 100, batchSize: 1, signal, callbacks: [{ onProgress }] }),
    )
    await expectError('aborted', ['stopped'], () => run)
    expect(busy).toBeGreaterThan(5)
    expect(await fingerprintOf(trained)).not.toBe(before)
  })

  it('passes on the error of a callback, and can be called again', async () => {
    const trained = net()
    const callbacks = [
      {
        onEpoch() {
          throw new Error('mine')
        },
      },
    ]
    expect(((await failure(() => trained.fit(data, options({ callbacks })))) as Error).message).toBe('mine')
    await trained.fit(data, options())
  })

  it('with early stopping but nothing to watch', async () => {
    await expectError('argument', ['earlyStopping', "'loss'", 'validation'], () =>
      net().fit(data, options({ callbacks: [earlyStopping()] })),
    )
    await expectError('argument', ["'accuracy'", 'validation'], () =>
      net().fit(data, options({ validation: data, callbacks: [earlyStopping({ monitor: 'accuracy' })] })),
    )
  })
})

describe('a loss that is not finite', () => {
  // Sample 20 of 40 overflows in the first layer; the next makes infinity minus infinity of it.
  const inputs = Float32Array.from({ length: 160 }, (_, i) => (i >= 80 && i < 84 ? 3e38 : Math.sin(i)))
  const first = dense(6, { init: constant(0.5) })
  const fragile = () => model([4], [first, relu(), dense(3)], { seed: 1, name: 'net' })
  const broken = dataset(
    inputs,
    Int32Array.from({ length: 40 }, (_, i) => i % 3),
    { shape: [40, 4] },
  )
  const more = { shuffle: 'none', batchSize: 4, optimizer: sgd({ lr: 0.1 }) }

  it('stops the run with the weights of the last good step', async () => {
    const trained = fragile()
    await expectError('data', ['NaN', 'step 6 of epoch 1', 'net', 'clipNorm'], () => trained.fit(broken, options(more)))
    const reference = fragile()
    await reference.fit(broken.take(20), options(more))
    expect(await fingerprintOf(trained)).toBe(await fingerprintOf(reference))
  })

  it('leaves running statistics as they were', async () => {
    const layers = () => [first, batchNorm(), relu(), dense(3)]
    const trained = model([4], layers(), { seed: 1 })
    await expectError('data', ['step 6 of epoch 1'], () => trained.fit(broken, options(more)))
    const reference = model([4], layers(), { seed: 1 })
    await reference.fit(broken.take(20), options(more))
    for (const [path, { data: values }] of await trained.weights()) {
      expect(values, path).toEqual((await reference.weights()).get(path)!.data)
    }
  })

  it('is no good step either when its gradient is finite', async () => {
    // The square of the error overflows, its derivative does not.
    const far = dataset([[1], [1]], [[0], [0]])
    const trained = model([1], [dense(1, { init: constant(1e25) })], { seed: 1, name: 'far' })
    await expectError('data', ['Infinity', 'step 1 of epoch 1'], () =>
      trained.fit(far, options({ loss: mse(), batchSize: 2, optimizer: sgd({ lr: 0.1 }) })),
    )
    expect([...(await trained.weights()).get('dense1.weight')!.data]).toEqual([Math.fround(1e25)])
  })
})

describe('after close', () => {
  it('a model refuses work', async () => {
    const closed = net()
    await closed.predict(data)
    closed.close()
    closed.close()
    for (const use of [
      () => closed.fit(data, options()),
      () => closed.predict(data),
      () => closed.evaluate(data, { loss: crossEntropy() }),
      () => closed.weights(),
      () => closed.snapshot(),
      () => closed.save('/nowhere/at/all'),
    ]) {
      await expectError('state', ['net', 'closed'], use)
    }
    expect(closed.parameterCount).toBe(51)
  })

  it('a program refuses to run', async () => {
    const program = record(() => ops.fill([1], 2), {}, { name: 'two' })
    program.runSync()
    program.close()
    await expectError('state', ['two', 'closed'], () => program.runSync())
    await expectError('state', ['two', 'closed'], () => program.run())
    await expectError('state', ['two', 'closed'], () => program.runMany(3))
    program.stop()
  })
})

describe('recording', () => {
  it('refuses to read a value, and tells where it was made', async () => {
    for (const reading of [
      (t: Tensor) => t.data,
      (t: Tensor) => t.item(),
      (t: Tensor) => Number(t),
      (t: Tensor) => JSON.stringify(t),
      (t: Tensor) => ((t as never) > 0 ? 1 : 2),
    ]) {
      await expectError('recording', ['no data exists yet', '05.errors.test.ts'], () =>
        record(
          ({ x }) => {
            const y = ops.relu(x)
            reading(y)
            return y
          },
          { x: [1] },
        ),
      )
    }
    await expectError('recording', ['custom1', 'no data exists yet'], () =>
      model([4], [(x) => (ops.sum(x).item() > 0 ? x : ops.neg(x))]),
    )
  })

  it('is needed for grad, assign and updates', async () => {
    const x = variable([1])
    await expectError('recording', ['grad()', 'record()'], () => grad(x, [x]))
    await expectError('recording', ['assign()', 'record()'], () => assign(x, x))
    await expectError('recording', ['record()'], () => new Updater(sgd()).apply([x], [x]))
  })

  it('refuses values of another recording and eager ones', async () => {
    let leaked: Tensor | undefined
    record(
      ({ x }) => {
        leaked = ops.relu(x)
        return x
      },
      { x: [1] },
    )
    await expectError('recording', ['another recording'], () => record(() => ops.relu(leaked as Tensor)))
    await expectError('recording', ['eager', 'frozen'], () => record(() => ops.relu(tensor([1]))))
  })

  it('refuses a function that does not give tensors at once', async () => {
    await expectError('argument', ['at once', 'await'], () => record((async () => ({})) as never))
    await expectError('argument', ['tensors', '5'], () => record((() => ({ loss: 5 })) as never))
    await expectError('argument', ['tensors', 'a.b'], () => record((() => ({ a: { b: null } })) as never))
  })

  it('leaves nothing behind when the function throws', async () => {
    expect(
      (
        (await failure(() =>
          record(() => {
            throw new Error('mine')
          }),
        )) as Error
      ).message,
    ).toBe('mine')
    expect([...ops.relu(tensor([-1, 1])).data]).toEqual([0, 1])
  })

  it('refuses gradients of what is no scalar, or was assigned since', async () => {
    const x = variable([2], { name: 'x' })
    await expectError('shape', ['scalar', '[2]'], () => record(() => grad(x, [x])))
    await expectError('recording', ['x', 'assigned', 'grad() before assign()'], () =>
      record(() => {
        const loss = ops.sum(ops.square(x))
        assign(x, ops.scale(x, 2))
        return grad(loss, [x])
      }),
    )
  })

  it('refuses assignments that do not fit', async () => {
    const x = variable([2], { name: 'x' })
    await expectError('shape', ['x', '[2]', '[3]'], () => record(() => assign(x, ops.fill([3], 0)) as never))
    await expectError('argument', ['assign'], () => record(({ y }) => assign(y as never, y) as never, { y: [1] }))
  })
})

describe('running a program', () => {
  const program = () => record(({ x }) => ops.relu(x), { x: [2, 3] }, { name: 'it' })
  it.each<[string, unknown, string, string[]]>([
    ['nothing', undefined, 'argument', ['6 elements [2, 3]', 'input x of it']],
    ['too little', { x: [1] }, 'shape', ['6 elements', 'input x of it', '1']],
    ['another name', { y: [1] }, 'argument', ['"y"']],
    ['a number', { x: 5 }, 'argument', ['6 elements', '5']],
  ])('with %s', async (_, inputs, code, texts) => {
    await expectError(code as 'argument', texts, () => program().runSync(inputs as never))
    await expectError(code as 'argument', texts, () => program().run(inputs as never))
  })

  it('for a number of steps that cannot be', async () => {
    const x = [1, 2, 3, 4, 5, 6]
    for (const steps of [-1, 1.5, Number.NaN, '3'] as never[]) {
      await expectError('argument', ['steps', String(steps)], () => program().runMany(steps, { x }))
    }
    await expectError('native', ['1 GiB'], () => program().runMany(2 ** 31, { x }))
    await expectError('argument', ['steps'], () => program().runMany(2 ** 53 - 1, { x }))
  })

  it('with a label outside of the scores tells row, value and limit, and changes nothing', async () => {
    const w = variable([3], { value: 1 })
    const updater = new Updater(sgd())
    const labeled = record(
      ({ labels, x }) => {
        const loss = ops.mean(ops.softmaxCrossEntropy(ops.mul(x, w), labels).loss)
        updater.apply([w], grad(loss, [w]))
        return loss
      },
      { x: [2, 3], labels: { shape: [2], dtype: 'int32' } },
      { step: updater.step },
    )
    for (const label of [3, -1, 2 ** 31 - 1]) {
      await expectError('native', ['label', 'row 1', String(label)], () =>
        labeled.run({ x: [1, 2, 3, 4, 5, 6], labels: [0, label] }),
      )
    }
    expect([...read(w)]).toEqual([1, 1, 1])
    await labeled.run({ x: [1, 2, 3, 4, 5, 6], labels: [0, 2] })
    expect([...read(w)]).not.toEqual([1, 1, 1])
  })

  it('that needs more memory than there is', async () => {
    const huge = record(() => ops.sum(ops.exp(ops.randomNormal([2 ** 20, 2 ** 18]))))
    await expectError('native', ['memory'], () => huge.runSync())
    await expectError('native', ['memory'], () => huge.run())
    const wide = model([2 ** 19], [dense(2 ** 20)])
    expect(wide.memory({ batchSize: 1, optimizer: adam() }).total).toBeGreaterThan(2 ** 41)
    await expectError('native', ['memory'], () => wide.initialize())
  })
})

describe('variables and step states', () => {
  it('refuse values that do not fit', async () => {
    const x = variable([2], { name: 'x' })
    await expectError('shape', ['2 elements', 'x', '3'], () => write(x, [1, 2, 3]))
    await expectError('argument', ['2 elements', 'x', '[2]'], () => variable([2], { name: 'x', value: [1] }))
    await expectError('argument', ['shape of x'], () => variable([-2], { name: 'x' }))
    await expectError('argument', ['a number', 'element 0', '"o"'], () => variable([2], { value: 'on' as never }))
    await expectError('argument', ['value of variable'], () => variable([2], { value: null as never }))
  })

  it('refuse fields that are none', async () => {
    const step = stepState('step')
    await expectError('argument', ['"lr"'], () => writeStep(step, { lr: 1 } as never))
    await expectError('argument', ['seed', '0.5'], () => writeStep(step, { seed: 0.5 }))
    await expectError('argument', ['rate'], () => writeStep(step, { rate: 'x' as never }))
  })

  it('of a snapshot that is of another model leave everything as it is', async () => {
    const plain = model([4], [batchNorm(), dense(3)], { seed: 1 })
    const before = await fingerprintOf(plain)
    const { params } = await plain.snapshot()
    await expectError('shape', ['snapshot', 'another model'], () =>
      plain.restore({ params: params.map((value) => value + 1), states: new Float32Array(1) }),
    )
    expect(await fingerprintOf(plain)).toBe(before)
  })
})

describe('calls that are slips', () => {
  it('of predict: rows of rows, texts and big numbers are no elements', async () => {
    const net = model([2], [dense(2)])
    await expectError('argument', ['numbers row by row', 'predict', 'dataset()'], () => net.predict([[1, 2]] as never))
    await expectError('argument', ['predict', '"ab"'], () => net.predict('ab' as never))
    await expectError('argument', ['a number', '0n'], () => net.predict(new BigInt64Array(2) as never))
    const program = record(({ x }) => ops.relu(x!), { x: [1, 1] })
    await expectError('argument', ['a number', '[1]'], () => program.run({ x: [[1]] as never }))
  })

  it('of a model: missing, misspelt and of another kind', async () => {
    const net = model([2], [dense(2)])
    const set = (weights: unknown) => net.setWeights(weights as never)
    await expectError('argument', ['options of memory'], () => net.memory(null as never))
    await expectError('argument', ['"size"', 'batchSize'], () => net.memory({ size: 2 } as never))
    await expectError('shape', ['a snapshot'], () => net.restore(undefined as never))
    await expectError('argument', ['a Map', 'setWeights'], () => set({ 'dense1.bias': [1, 2] }))
    await expectError('argument', ['dense1.bias', '[1, 2]'], () => set(new Map([['dense1.bias', [1, 2]]])))
    const before = await fingerprintOf(net)
    const mixed = [
      ['dense1.weight', { data: [1, 2, 3, 4] }],
      ['dense1.bias', { data: [[1], [2]] }],
    ] as const
    await expectError('argument', ['a number', '[1]'], () => set(new Map<string, unknown>(mixed)))
    expect(await fingerprintOf(net)).toBe(before)
    await expectError('argument', ['text', 'name', '5'], () => model([2], [dense(2)], { name: 5 as never }))
    const given = { device: device('cpu'), threads: 1 }
    await expectError('argument', ['a device that is open', 'threads'], () => model([2], [dense(2)], given))
  })

  it('of what is measured', async () => {
    const measured = (metrics: unknown) => net().evaluate(data, { loss: crossEntropy(), metrics: metrics as never })
    await expectError('argument', ["['accuracy']", '"accuracy"'], () => measured('accuracy'))
    await expectError('argument', ['metrics', 'loss('], () => measured([(p: Tensor) => ops.mean(p)]))
    const signal = {} as never
    await expectError('argument', ['AbortSignal'], () => net().evaluate(data, { loss: crossEntropy(), signal }))
  })

  it('of places of windows are told before there is an input', async () => {
    await expectError('argument', ['stride of conv2d', '0'], () => conv2d(2, 3, { stride: 0 }))
    await expectError('argument', ['padding of conv2d', '"smae"'], () => conv2d(2, 3, { padding: 'smae' as never }))
    await expectError('argument', ['dilation of conv2d', '-1'], () => conv2d(2, 3, { dilation: -1 }))
    await expectError('argument', ['stride of maxPool2d', '0'], () => maxPool2d(2, { stride: 0 }))
    await expectError('argument', ['countPadding', '3'], () => avgPool2d(2, { countPadding: 3 as never }))
    await expectError('argument', ['options of conv2d', 'null'], () => conv2d(2, 3, null as never))
    await expectError('argument', ['"slop"', 'slope'], () => heNormal({ slop: 1 } as never))
    await expectError('argument', ['std of normal', 'undefined'], () => normal(undefined as never))
  })
})
