// Arguments that are nonsense, one at a time in calls that are otherwise right: a public function either takes the value or
// throws an error of the library that says what was expected; never a TypeError from inside, never a crash.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import * as gradline from '../../src/index.js'
import {
  adam,
  adaptiveAvgPool2d,
  conv2d,
  crossEntropy,
  dataset,
  dense,
  earlyStopping,
  GradlineError,
  grad,
  type Loss,
  layer,
  loss,
  metrics,
  model,
  ops,
  read,
  readStep,
  record,
  relu,
  sgd,
  stepState,
  tensor,
  Updater,
  variable,
  write,
  writeStep,
} from '../../src/index.js'
import { classes, expectError, failure } from './help.js'

// Calls come from a table, so what they take is not known to the compiler.
type Call = (...args: never[]) => unknown
const face = { ...gradline, ...metrics } as unknown as Record<string, Call>
const allOps = ops as unknown as Record<string, Call>

const data = classes(4, 2, 2)
const net = () => model([2], [dense(4), relu(), dense(2)], { seed: 1 })

const nonsense = (): unknown[] => [
  ...[undefined, null, true, 0, -1, 0.5, Number.NaN, Infinity, 2 ** 31, 2 ** 53, '', 'x', 5n, Symbol('s'), () => 5],
  ...[{}, [], [1], [Number.NaN], ['a'], [null], { length: 3 }, { shape: null }, Object.create(null), Object.freeze({})],
  ...[new Map(), new Float32Array(3), new BigInt64Array(2), new DataView(new ArrayBuffer(8)), tensor([1, 2, 3])],
]

const square = () => tensor([1, 2, 3, 4], { shape: [2, 2] })
const four = () => variable([2, 2])
const step = stepState('s', { seed: 1 })
const recorded =
  (body: Call): Call =>
  (...args) => {
    record(() => {
      body(...args)
      return {}
    })
  }

const place = { stride: 1, padding: 'same', dilation: 1, groups: 1, name: 'c' }
const measure = (p: gradline.Tensor) => ({ a: ops.sum(p) })

const calls: [string, Call, () => unknown[]][] = [
  ...(
    [
      ['dense', 3, { bias: true, weightNoise: 0.1, name: 'c' }],
      ['conv2d', 2, [3, 3], { ...place, bias: true }],
      ['maxPool2d', [2, 2], { stride: [1, 1], padding: 'same', name: 'x' }],
      ['adaptiveMaxPool2d', 2, { name: 'p' }],
      ['batchNorm', { momentum: 0.9, eps: 1e-5, name: 'b' }],
      ['sequential', [dense(4)], { name: 'r' }],
      ['layer', 'kind', (x: unknown) => x, 'label'],
      ['adam', { lr: 0.1, schedule: gradline.cosine({ steps: 3 }), clipNorm: 1, groups: [{ match: '*', l2: 0.1 }] }],
      ['chain', [gradline.warmup({ steps: 2 }), gradline.cosine({ steps: 3 })]],
      ['piecewise', { boundaries: [1, 2], values: [0.1, 0.2, 0.3], unit: 'step' }],
      ['crossEntropy', { labelSmoothing: 0.1, classWeights: [1, 2], ignoreIndex: 5, reduction: 'mean' }],
      ['loss', 'mine', (p: gradline.Tensor) => ops.mean(p), { reduction: 'mean' }],
      ['averaged', 'mine', (p: gradline.Tensor) => ops.mean(p)],
      ['summed', 'mine', measure, () => 1],
      ['collected', 'mine', measure, () => 1],
      ['earlyStopping', { monitor: 'loss', patience: 3, unit: 'epoch', minDelta: 0, mode: 'min' }],
      ['reduceOnPlateau', { monitor: 'loss', mode: 'min', factor: 0.1, patience: 1, cooldown: 0, floor: 0 }],
      ['fansOf', [2, 3]],
      ['stepState', 'n', { rate: 1, seed: 2 }],
      ['numericalGradient', (x: number[]) => x[0], [1, 2], { h: 1e-4 }],
      ['device', 'cpu', { threads: 1, isa: 'base' }],
    ] as [string, ...unknown[]][]
  ).map(([name, ...args]): [string, Call, () => unknown[]] => [name, face[name]!, () => args]),
  ['record', face.record!, () => [() => ops.fill([1], 1), { x: [2] }, { name: 'r', seed: 1, without: ['fuseBias'] }]],
  ['tensor', face.tensor!, () => [[1, 2, 3, 4], { shape: [4], dtype: 'int32' }]],
  ['grad', recorded((l, w) => grad(l === 'loss' ? ops.sum(four()) : l, w)), () => ['loss', [four()]]],
  ['write', face.write!, () => [four(), [1, 2, 3, 4], gradline.device()]],
  ['readStep', face.readStep!, () => [stepState()]],
  ['writeStep', face.writeStep!, () => [stepState(), { rate: 0.5, seed: 1 }, gradline.device()]],
  ['Updater', (a, b) => new Updater(a, b), () => [adam(), { seed: 1 }]],
  [
    'apply of an Updater',
    recorded((a, b, c) => new Updater(adam()).apply(a === 'v' ? ([four()] as never) : a, b, c)),
    () => ['v', [four()], { accumulate: { size: 2, rows: 1, samples: 5 } }],
  ],
  ['LabeledSplits', (a, b) => new gradline.LabeledSplits(a, b), () => [data, data]],
  ['freeze', (a) => net().freeze(a), () => ['dense1']],
  ['load', (a, b) => net().load(a, b), () => ['/nowhere', { map: {}, strict: true }]],
  ['batchProgram', (a, b, c) => net().batchProgram(a, b, c), () => ['p', 2, (x: unknown) => x]],
  ['run', (a) => record(({ x }) => ops.sum(x!), { x: [2] }).run(a), () => [{ x: [1, 2] }]],
  ['apply of a scope', (a, b) => model([2], [(x, scope) => scope.apply(a, b === 'x' ? x : b)]), () => [dense(2), 'x']],
  ...['add', 'sub', 'mul', 'div', 'maximum', 'greater', 'matmul'].map((name): [string, Call, () => unknown[]] => {
    return [name, allOps[name]!, () => [square(), square()]]
  }),
  ['slice', allOps.slice!, () => [square(), [0, 1], [1, 1]]],
  ['pad', allOps.pad!, () => [square(), [1, 1], [1, 0]]],
  ['reshape of ops', allOps.reshape!, () => [square(), [4]]],
  ['transpose', allOps.transpose!, () => [square(), [1, 0]]],
  ['sgdUpdate', recorded(allOps.sgdUpdate!), () => [four(), four(), step, 1]],
  [
    'amsgradUpdate',
    recorded(allOps.amsgradUpdate!),
    () => [four(), [four(), four(), four()], four(), step, { beta1: 0.5, beta2: 0.5, eps: 0.1 }, 1],
  ],
  ['countGroup', recorded(allOps.countGroup!), () => [step, { size: 2, rows: 1, samples: 4 }]],
  [
    'scheduleRate',
    recorded(allOps.scheduleRate!),
    () => [step, 'step', { kind: 'constant', begin: 0, end: 5, base: 1 }],
  ],
]

const isPlain = (value: unknown): value is Record<string, unknown> | unknown[] =>
  Array.isArray(value) || (typeof value === 'object' && value !== null && value.constructor === Object)

/** The same arguments with one of them, or one element or option of it, replaced. */
function* spoilt(args: () => unknown[]): Generator<{ at: string; wrong: unknown[] }> {
  for (const junk of nonsense()) {
    for (const [i, inner] of args().entries()) {
      yield { at: `argument ${i + 1}`, wrong: args().with(i, junk) }
      if (!isPlain(inner)) continue
      for (const key of Object.keys(inner)) {
        const changed = Array.isArray(inner) ? inner.with(Number(key), junk) : { ...inner, [key]: junk }
        yield { at: `${key} of argument ${i + 1}`, wrong: args().with(i, changed) }
      }
    }
  }
}

describe('nonsense is refused by name', () => {
  it.each(calls)('in %s', async (name, call, args) => {
    if (name !== 'load') await call(...(args() as never[]))
    for (const { at, wrong } of spoilt(args)) {
      try {
        await call(...(wrong as never[]))
      } catch (error) {
        if (!(error instanceof GradlineError)) expect.fail(`${at}: ${(error as Error).stack}`)
      }
    }
  })
})

describe('what the error says', () => {
  it('names the function that was called, not the one it is made of', async () => {
    await expectError('argument', ['a tensor', 'for add', '"x"'], () => ops.add('x' as never, 1))
    await expectError('argument', ['a tensor', 'for sub'], () => ops.sub(1, null as never))
    await expectError('argument', ['operand of mul', 'NaN'], () => ops.mul(square(), Number.NaN))
  })

  it('of a loss without its call is that it got no options', async () => {
    const given = { loss: crossEntropy as unknown as Loss, optimizer: sgd() }
    await expectError('argument', ['a plain object', 'crossEntropy', 'Tensor'], async () => net().fit(data, given))
  })

  it('of results that belong to no program of this recording', async () => {
    await expectError('recording', ['the result', 'eager tensor'], () => record(() => tensor([1])))
    let kept = tensor([1])
    record(() => {
      kept = ops.fill([1], 1)
      return kept
    })
    await expectError('recording', ['the result a', 'another recording'], () => record(() => ({ a: kept })))
  })

  it('of numbers that an integer type has not', async () => {
    await expectError('argument', ['element 1', 'int32', '0.5'], () => tensor([1, 0.5], { dtype: 'int32' }))
    await expectError('argument', ['255', 'uint8', '256'], () => write(variable([1], { dtype: 'uint8' }), [256]))
    await expectError('argument', ['element type', 'float64'], () => variable([1], { dtype: 'float64' as never }))
  })

  it('of more than can be held: no crash, no endless list', async () => {
    await expectError('argument', ['size of adaptiveAvgPool2d', '1024'], () =>
      model([4, 4, 1], [adaptiveAvgPool2d(2 ** 20)]),
    )
    await expectError('argument', ['stride of conv2d', '1048576'], () =>
      model([4, 4, 1], [conv2d(1, 3, { stride: 2 ** 31 })]),
    )
    const large = record(() => ops.fill([2 ** 29], 1))
    await expectError('argument', ['2147483648 bytes', '1 GiB'], () => large.runSync())
    await expectError('argument', ['name of a parameter'], () =>
      model([2], [layer('mine', (x, scope) => ops.add(x, scope.param(5 as never, [2], gradline.constant(0))))]),
    )
  })
})

describe('a file of weights', () => {
  it('is a file: no folder, no device that never ends', async () => {
    await expectError('file', ['not a regular file'], () => net().load('/dev/zero'))
    await expectError('file', ['folder'], () => net().load('/'))
    await expectError('missing', ['no such file'], () => net().load('/nowhere/at.all'))
  })

  it('comes back into layers whatever they are called', async () => {
    const names = ['constructor', '__proto__', 'toString']
    const named = () =>
      model(
        [2],
        names.map((name) => dense(2, { name })),
        { seed: 1 },
      )
    const folder = await mkdtemp(join(tmpdir(), 'gradline-'))
    try {
      const file = join(folder, 'weights.safetensors')
      await named().save(file)
      expect(await named().load(file)).toEqual(names.flatMap((name) => [`${name}.weight`, `${name}.bias`]))
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

describe('defaults fit', () => {
  it('few data: a batch that nobody asked for is never too large for them', async () => {
    const { epochs } = await net().fit(data, { loss: crossEntropy(), optimizer: sgd() })
    expect(epochs.length).toBe(1)
    await expectError('argument', ['batchSize', 'at most the 4'], async () =>
      net().fit(data, { loss: crossEntropy(), optimizer: sgd(), batchSize: 5 }),
    )
  })

  it('any number of rows: predict keeps the programs of the last 16 sizes, and finishes what they run', async () => {
    const served = net()
    const made = vi.spyOn(served, 'batchProgram')
    const x = Float32Array.from({ length: 80 }, (_, i) => i / 80)
    const whole = (await served.predict(x)).data
    const parts = await Promise.all(Array.from({ length: 39 }, (_, i) => served.predict(x.subarray(0, 2 * (i + 1)))))
    parts.forEach((part, i) => {
      expect(part.data).toEqual(whole.slice(0, 2 * (i + 1)))
    })
    const closed = await Promise.all(
      made.mock.results.map(async ({ value }) => {
        const error = await failure(() => (value as gradline.Program).run({}))
        return (error as Error).message.includes('was closed')
      }),
    )
    expect(closed.filter((is) => !is).length).toBe(16)
  })

  it('a callback that fails while it is told of an error does not hide that error', async () => {
    const mine = new Error('mine')
    const callbacks = [
      {
        onEpoch: () => {
          throw mine
        },
        onError: () => {
          throw new Error('second')
        },
      },
    ]
    const given = { loss: loss('plain', crossEntropy()), optimizer: sgd(), callbacks }
    expect(await failure(async () => net().fit(data, given))).toBe(mine)
  })

  it('a variable of zeros is zeros, before and after it has memory', () => {
    const zeros = variable([3])
    expect([...read(zeros)]).toEqual([0, 0, 0])
    expect([...record(() => ops.scale(zeros, 1)).runSync().data]).toEqual([0, 0, 0])
    expect(readStep(stepState()).rateFactor).toBe(1)
    expect(() => writeStep(zeros, {})).toThrow(/a step state/)
    expect(dataset([[1]]).length).toBe(1)
    expect(() => earlyStopping({ monitor: 5 as never })).toThrow(/monitor of earlyStopping/)
    expect(() => earlyStopping({ restoreBest: 'yes' as never })).toThrow(/restoreBest of earlyStopping/)
    expect(() => record(() => ({}), {}, { plan: 'packd' as never })).toThrow(/Did you mean "packed"/)
  })
})
