// Losses beyond what the fixtures ask: every question of the table of cases with formulas of their own, closed forms that
// a wrong formula misses, labels that are refused, and the way through fit().
import { describe, expect, it } from 'vitest'
import {
  binaryCrossEntropy,
  contrastive,
  cosineSimilarity,
  crossEntropy,
  dataset,
  dense,
  focal,
  grad,
  hinge,
  huber,
  klDivergence,
  type Loss,
  logCosh,
  loss,
  mae,
  model,
  mse,
  multiClassHinge,
  nll,
  normal as normalWeights,
  ops,
  poisson,
  type Reduction,
  sgd,
  type Tensor,
  tensor,
  triplet,
} from '../../src/index.js'
import { expectError } from '../api/help.js'
import { between, flags, type Input, indices, normal, probabilities } from '../ops/data.js'
import { type Case, compute, everyDevice } from '../ops/harness.js'
import { combine, type Exact, type Nd, softmaxRows, table } from '../ops/oracle.js'
import { askEverything } from '../ops/questions.js'

type Shape = readonly number[]
type Terms = number | [value: number, terms: number]

interface Options {
  readonly c?: number
  readonly K?: number
  /** What 'mean' divides the sum by. Default: the number of values. */
  readonly divisor?: (values: number) => number
  readonly gradientTerms?: number
}

/** One row for each reduction of a loss whose values `each` gives. */
function rows(
  name: string,
  make: (reduction: { reduction: Reduction }) => Loss,
  inputs: readonly [Input, Input],
  each: (prediction: Nd, target: Nd) => Exact,
  { c = 16, K = 1, divisor = (values) => values, gradientTerms = 1 }: Options = {},
): Case[] {
  return (['mean', 'sum', 'none'] as const).map((reduction) => ({
    op: name,
    name: `${inputs.map(({ shape }) => `[${shape.join(', ')}]`).join(' ')} ${inputs[1].dtype} ${reduction}`,
    inputs,
    build: ([prediction, target]) => make({ reduction })(prediction!, target!),
    oracle: (prediction, target) => {
      const { values, terms } = each(prediction, target)
      if (reduction === 'none') return { values, terms }
      const factor = reduction === 'sum' ? 1 : 1 / divisor(values.length)
      const total = (list: Float64Array): number => factor * list.reduce((a, b) => a + b, 0)
      return table([], () => [total(values), total(terms)])
    },
    tolerance: { c, K: reduction === 'none' ? K : K * inputs[0].shape.reduce((a, b) => a * b, 1) },
    gradient: 'central' as const,
    gradientTerms: reduction === 'mean' ? 1e-3 * gradientTerms : gradientTerms,
  }))
}

const shapes: readonly Shape[] = [[1], [2, 3, 5], [301, 29]]
const signs = (shape: Shape): Input => ({
  ...flags(shape),
  make: (random, size) => Array.from({ length: size }, () => 2 * random.integer(0, 1) - 1),
})

/** Rows of a loss per element. */
const perElement = (
  name: string,
  make: (reduction: { reduction: Reduction }) => Loss,
  target: (shape: Shape) => Input,
  f: (prediction: number, target: number) => Terms,
  prediction: (shape: Shape) => Input = normal,
  options: Options = {},
): Case[] =>
  shapes.flatMap((shape) =>
    rows(name, make, [prediction(shape), target(shape)], (p, t) => combine((a, b) => f(a!, b!), p, t), options),
  )

/** Softplus and sigmoid as they stand in text books. */
const softplus = (x: number): number => (x > 0 ? x + Math.log1p(Math.exp(-x)) : Math.log1p(Math.exp(x)))
const size = (a: number, b: number): number => Math.abs(a) + Math.abs(b)

/** A loss per row of [n, c]: f of the row of the prediction and that of the target, or of its label. */
const perRow = (
  width: number,
  f: (row: readonly number[], target: readonly number[]) => Terms,
): ((p: Nd, t: Nd) => Exact) => {
  const part = (x: Nd, r: number, n: number): number[] =>
    Array.from({ length: x.data.length / n }, (_, j) => x.data[(r * x.data.length) / n + j]!)
  return (p, t) => {
    const n = p.data.length / width
    return table([n], (_, r) => f(part(p, r, n), part(t, r, n)))
  }
}

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0)
const distance = (a: readonly number[], b: readonly number[], p: number): number =>
  a.reduce((sum, x, i) => sum + Math.abs(x - b[i]! + 1e-6) ** p, 0) ** (1 / p)
const logOfSoftmax = (row: readonly number[]): number[] => {
  const largest = Math.max(...row)
  const total = row.reduce((sum, x) => sum + Math.exp(x - largest), 0)
  return row.map((x) => x - largest - Math.log(total))
}

askEverything([
  ...perElement('mse', mse, normal, (p, t) => [(p - t) ** 2, size(p, t) ** 2]),
  ...perElement('mae', mae, normal, (p, t) => [Math.abs(p - t), size(p, t)]),
  ...perElement(
    'huber',
    (options) => huber({ delta: 0.75, ...options }),
    normal,
    (p, t) => {
      const d = Math.abs(p - t)
      return [d <= 0.75 ? d ** 2 / 2 : 0.75 * (d - 0.375), size(p, t) ** 2 + size(p, t)]
    },
  ),
  ...perElement('logCosh', logCosh, normal, (p, t) => [Math.log(Math.cosh(p - t)), size(p, t) + size(p, t) ** 2]),
  ...perElement(
    'binaryCrossEntropy',
    (options) => binaryCrossEntropy({ positiveWeight: 2.5, ...options }),
    between(0, 1),
    (x, t) => [2.5 * t * softplus(-x) + (1 - t) * softplus(x), 8 * (1 + Math.abs(x))],
  ),
  ...perElement(
    'focal',
    (options) => focal({ gamma: 1.5, alpha: 0.25, ...options }),
    flags,
    (x, t) => {
      const p = 1 / (1 + Math.exp(-x))
      const [pt, alpha] = t === 1 ? [p, 0.25] : [1 - p, 0.75]
      return [-alpha * (1 - pt) ** 1.5 * Math.log(pt), 1 + Math.abs(x)]
    },
  ),
  ...perElement('hinge', hinge, signs, (x, t) => [Math.max(0, 1 - t * x), 1 + Math.abs(x)]),
  ...perElement('poisson', poisson, between(0, 5), (x, t) => [Math.exp(x) - t * x, Math.exp(x) + Math.abs(t * x)]),
  ...perElement(
    'poisson of rates',
    (options) => poisson({ logInput: false, ...options }),
    between(0, 5),
    (x, t) => [x - t * Math.log(x + 1e-8), x + t * (1 + Math.abs(Math.log(x)))],
    between(0.5, 4),
  ),
  ...(
    [
      [1, 3],
      [7, 5],
      [301, 29],
    ] as [number, number][]
  ).flatMap(([n, k]) => {
    const weights = Array.from({ length: k }, (_, j) => 0.5 + ((7 * j) % k) / k)
    const smooth = (t: number): number => 0.8 * t + 0.2 / k
    const labels = indices([n], k)
    const scores = normal([n, k])
    const surprise = (row: readonly number[], target: readonly number[]): Terms => {
      const logs = logOfSoftmax(row)
      const value = -logs.reduce((sum, log, j) => sum + weights[j]! * smooth(target[j]!) * log, 0)
      return [value, 2 * k * (1 + Math.max(...row.map(Math.abs)))]
    }
    return [
      ...rows(
        'crossEntropy of soft targets',
        (options) => crossEntropy({ classWeights: weights, labelSmoothing: 0.2, ...options }),
        [scores, probabilities([n, k])],
        perRow(k, surprise),
      ),
      // With labels the mean is weighted; the fixtures compare it.
      ...rows(
        'crossEntropy of labels',
        (options) => crossEntropy({ classWeights: weights, labelSmoothing: 0.2, ...options }),
        [scores, labels],
        perRow(k, (row, [label]) =>
          surprise(
            row,
            row.map((_, j) => (j === label ? 1 : 0)),
          ),
        ),
      ).filter(({ name }) => !name.endsWith('mean')),
      ...rows(
        'nll',
        nll,
        [scores, labels],
        perRow(k, (row, [label]) => -row[label!]!),
      ),
      ...([1, 2] as const).flatMap((p) =>
        rows(
          `multiClassHinge, p ${p}`,
          (options) => multiClassHinge({ p, margin: 0.7, ...options }),
          [scores, labels],
          perRow(k, (row, [label]) => {
            const parts = row.map((x, j) => (j === label ? 0 : Math.max(0, 0.7 - row[label!]! + x) ** p))
            return [parts.reduce((a, b) => a + b, 0) / k, 20]
          }),
        ),
      ),
      ...rows(
        'klDivergence',
        klDivergence,
        [scores, probabilities([n, k])],
        (p, t) => combine((a, b) => [b! * (Math.log(b!) - a!), b! * (8 + Math.abs(a!))], p, t),
        { divisor: () => n },
      ),
      ...rows(
        'cosineSimilarity',
        cosineSimilarity,
        [scores, normal([n, k])],
        perRow(k, (a, b) => [1 - dot(a, b) / Math.sqrt((dot(a, a) + 1e-12) * (dot(b, b) + 1e-12)), 2]),
      ),
      ...rows(
        'contrastive',
        (options) => contrastive({ margin: 3, ...options }),
        [normal([n, 2, k]), flags([n])],
        perRow(2 * k, (pair, [same]) => {
          const d = distance(pair.slice(0, k), pair.slice(k), 2)
          return [(same! * d ** 2 + (1 - same!) * Math.max(0, 3 - d) ** 2) / 2, 9 + d ** 2]
        }),
        { gradientTerms: 3 },
      ),
      ...([1, 2] as const).flatMap((p) =>
        rows(
          `triplet, p ${p}`,
          (options) => triplet({ margin: 0.5, p, ...options }),
          [normal([n, 3, k]), indices([n], 2)],
          perRow(3 * k, (row) => {
            const [a, b, c] = [0, 1, 2].map((i) => row.slice(i * k, i * k + k))
            const [near, far] = [distance(a!, b!, p), distance(a!, c!, p)]
            return [Math.max(0, near - far + 0.5), near + far]
          }),
        ),
      ),
    ]
  }),
])

// ---- Single values -----------------------------------------------------------------------------------------------------

describe.each(everyDevice())('on $name', ({ on }) => {
  const options = { device: on }
  const valueAndSlopes = (used: Loss, x: Tensor, t: Tensor): { value: number[]; slopes: number[] } => {
    const [value, slopes] = compute(
      (a, b) => {
        const y = used(a, b)
        return [y, ...grad(ops.sum(y), [a])]
      },
      [x, t],
      options,
    )
    return { value: [...value!], slopes: [...slopes!] }
  }

  it('label smoothing: the least cross-entropy is the entropy of the smoothed target, at its logarithm', () => {
    const [k, e] = [5, 0.1]
    const target = Array.from({ length: k }, (_, j) => (j === 2 ? 1 - e : 0) + e / k)
    const entropy = -target.reduce((sum, t) => sum + t * Math.log(t), 0)
    const best = tensor([target.map((t) => Math.log(t) + 3)])
    const { value, slopes } = valueAndSlopes(crossEntropy({ labelSmoothing: e }), best, tensor(Int32Array.of(2)))
    expect(value[0]).toBeCloseTo(entropy, 5)
    for (const slope of slopes) expect(Math.abs(slope)).toBeLessThan(1e-6)
  })

  it('an ignored label has no value and no gradient, and a batch of nothing else gives 0', () => {
    const scores = tensor([
      [1, 2, 3],
      [3, 1, 2],
      [0, 0, 1],
    ])
    const used = crossEntropy({ ignoreIndex: -1, labelSmoothing: 0.1 })
    const some = valueAndSlopes(used, scores, tensor(Int32Array.of(2, -1, 0)))
    const two = valueAndSlopes(
      crossEntropy({ labelSmoothing: 0.1 }),
      tensor([
        [1, 2, 3],
        [0, 0, 1],
      ]),
      tensor(Int32Array.of(2, 0)),
    )
    expect(some.value[0]).toBeCloseTo(two.value[0]!, 6)
    expect(some.slopes.slice(3, 6)).toEqual([0, 0, 0])
    for (const all of [used, nll({ ignoreIndex: -1 }), crossEntropy({ ignoreIndex: -1, classWeights: [1, 2, 3] })]) {
      const none = valueAndSlopes(all, scores, tensor(Int32Array.of(-1, -1, -1)))
      expect(none.value).toEqual([0])
      for (const slope of none.slopes) expect(Math.abs(slope)).toBe(0)
    }
  })

  it('a label outside the classes fails the step, an ignored one does not', () => {
    const scores = tensor([[1, 2, 3]])
    for (const label of [3, -1]) {
      const labels = tensor(Int32Array.of(label))
      for (const used of [crossEntropy({ labelSmoothing: 0.1 }), nll(), multiClassHinge(), focal()]) {
        expect(() => valueAndSlopes(used, scores, labels), used.kind).toThrow(`label ${label}`)
      }
      expect(valueAndSlopes(nll({ ignoreIndex: label }), scores, labels).value).toEqual([0])
    }
    expect(() => valueAndSlopes(binaryCrossEntropy(), tensor([[1]]), tensor(Int32Array.of(2)))).toThrow('label 2')
  })

  it('nll of a certain label is 0 where others are impossible', () => {
    const logs = tensor(Float32Array.of(0, Number.NEGATIVE_INFINITY), { shape: [1, 2] })
    expect(valueAndSlopes(nll(), logs, tensor(Int32Array.of(0)))).toEqual({ value: [0], slopes: [-1, 0] })
  })

  it('binary cross-entropy is exact far out, in value and slope', () => {
    const { value, slopes } = valueAndSlopes(
      binaryCrossEntropy({ reduction: 'none' }),
      tensor([1e4, -1e4, 1e4, -1e4, 30, 0]),
      tensor([1, 0, 0, 1, 1, 1]),
    )
    expect(value.slice(0, 4)).toEqual([0, 0, 1e4, 1e4])
    expect(value[4]! / Math.exp(-30)).toBeCloseTo(1, 5)
    expect(value[5]).toBeCloseTo(Math.LN2, 6)
    expect(slopes.map(Math.abs)).toEqual([0, 0, 1, 1, expect.any(Number), 0.5])
  })

  it('binary cross-entropy and focal loss take integer labels [n] for scores [n, 1]', () => {
    const x = tensor([[1.5], [-0.5], [0.25]])
    for (const used of [binaryCrossEntropy(), focal(), hinge()]) {
      const integers = valueAndSlopes(used, x, tensor(Int32Array.of(1, 0, 1)))
      expect(valueAndSlopes(used, x, tensor([[1], [0], [1]])), used.kind).toEqual(integers)
      expect(valueAndSlopes(used, x, tensor([1, 0, 1])), used.kind).toEqual(integers)
    }
    expect(valueAndSlopes(hinge(), x, tensor([1, -1, 1]))).toEqual(
      valueAndSlopes(hinge(), x, tensor(Int32Array.of(1, 0, 1))),
    )
  })

  it('focal loss with gamma 0 is binary cross-entropy, and falls behind it as (1 - p)^gamma', () => {
    const x = tensor([-3, -1, 0, 1, 3, 1e4, -1e4])
    const t = tensor([1, 0, 1, 0, 1, 1, 1])
    const plain = valueAndSlopes(binaryCrossEntropy({ reduction: 'none' }), x, t)
    const zero = valueAndSlopes(focal({ gamma: 0, reduction: 'none' }), x, t)
    const two = valueAndSlopes(focal({ reduction: 'none' }), x, t)
    plain.value.forEach((value, i) => {
      expect(zero.value[i]).toBeCloseTo(value, 5)
      expect(two.value[i]).toBeCloseTo(value * (1 - Math.exp(-value)) ** 2, 4)
    })
    for (const slope of [...zero.slopes, ...two.slopes]) expect(Number.isFinite(slope)).toBe(true)
    const classes = valueAndSlopes(focal(), tensor([[1, 2, 3]]), tensor(Int32Array.of(1)))
    expect(valueAndSlopes(focal(), tensor([[1, 2, 3]]), tensor([[0, 1, 0]]))).toEqual(classes)
  })

  it('log cosh keeps the digits of small differences and is linear far out, with slope tanh', () => {
    const places = [1e-3, -1e-3, 0.5, 1, 1.0001, -20, 1e4, -1e4, 0]
    const zeros = tensor(places.map(() => 0))
    const { value, slopes } = valueAndSlopes(logCosh({ reduction: 'none' }), tensor(places), zeros)
    places.forEach((x, i) => {
      const exact =
        Math.abs(x) > 1
          ? Math.abs(x) + Math.log1p(Math.exp(-2 * Math.abs(x))) - Math.LN2
          : -0.5 * Math.log1p(-(Math.tanh(x) ** 2))
      expect(Math.abs(value[i]! - exact)).toBeLessThanOrEqual(1e-6 * exact)
      expect(slopes[i]).toBeCloseTo(Math.tanh(x), 6)
    })
  })

  it('divergence of a distribution from itself is 0, and 0 log 0 is 0', () => {
    const t = [0.5, 0.5, 0, 0]
    const logs = Float32Array.from(t, (p) => Math.log(p))
    const result = valueAndSlopes(klDivergence(), tensor(logs, { shape: [1, 4] }), tensor([t]))
    expect(result.value[0]).toBeCloseTo(0, 7)
    expect(result.slopes.map((slope) => slope + 0)).toEqual([-0.5, -0.5, 0, 0])
  })

  it('the mean of klDivergence is over the batch, not over all elements', () => {
    const logs = tensor([
      [Math.log(0.5), Math.log(0.5)],
      [Math.log(0.5), Math.log(0.5)],
    ])
    const t = tensor([
      [1, 0],
      [0, 1],
    ])
    expect(valueAndSlopes(klDivergence(), logs, t).value[0]).toBeCloseTo(Math.LN2, 6)
  })

  it('cosineSimilarity sees directions only, and rows of zeros have finite slopes', () => {
    const a = tensor([
      [1, 2],
      [-2, -4],
      [2, -1],
      [0, 0],
      [1e15, 2e15],
    ])
    const b = tensor([
      [10, 20],
      [1, 2],
      [1, 2],
      [1, 2],
      [1, 2],
    ])
    const { value, slopes } = valueAndSlopes(cosineSimilarity({ reduction: 'none' }), a, b)
    ;[0, 2, 1, 1, 0].forEach((wanted, i) => {
      expect(value[i]).toBeCloseTo(wanted, 6)
    })
    for (const slope of slopes) expect(Number.isFinite(slope)).toBe(true)
  })

  it('equal embeddings have finite slopes in contrastive and triplet loss', () => {
    const x = tensor(new Array(12).fill(0.5), { shape: [1, 3, 4] })
    for (const slope of valueAndSlopes(triplet(), x, x).slopes) expect(Number.isFinite(slope)).toBe(true)
    const pair = tensor(new Array(8).fill(0.5), { shape: [1, 2, 4] })
    for (const same of [0, 1]) {
      for (const slope of valueAndSlopes(contrastive(), pair, tensor([same])).slopes) {
        expect(Number.isFinite(slope)).toBe(true)
      }
    }
  })

  it('crossEntropy() is the logarithm of softmax, whichever way it is asked', () => {
    const scores = { shape: [3, 4], data: [1, 2, 3, 4, -1, 0, 5, 2, 0, 0, 0, 0] }
    const x = tensor(scores.data, { shape: scores.shape })
    const labels = tensor(Int32Array.of(3, 1, 0))
    const { p } = softmaxRows(scores)
    const wanted = -[3, 1, 0].reduce((sum, label, r) => sum + Math.log(p.values[4 * r + label]!), 0) / 3
    expect(valueAndSlopes(crossEntropy(), x, labels).value[0]).toBeCloseTo(wanted, 5)
    const twoSteps = loss('two steps', (a, b) => nll()(ops.logSoftmax(a), b))
    expect(valueAndSlopes(twoSteps, x, labels).value[0]).toBeCloseTo(wanted, 5)
  })
})

// ---- What is refused, and where ----------------------------------------------------------------------------------------

describe('a loss refuses', () => {
  const refused: [string, () => unknown, string[]][] = [
    ['a misspelt option', () => crossEntropy({ labelSmoothin: 0.1 } as never), ['"labelSmoothin"', '"labelSmoothing"']],
    ['a reduction that is none', () => mse({ reduction: 'avg' as never }), ['reduction of mse', '"mean"', '"avg"']],
    ['a smoothing above 1', () => crossEntropy({ labelSmoothing: 1.5 }), ['labelSmoothing', 'at most 1', '1.5']],
    ['weights that are none', () => nll({ classWeights: [1, -1] }), ['classWeights of nll[1]', 'at least 0', '-1']],
    ['an ignored label that is none', () => crossEntropy({ ignoreIndex: 0.5 }), ['ignoreIndex', '0.5']],
    ['a delta of 0', () => huber({ delta: 0 }), ['delta of huber', 'above 0']],
    ['a negative gamma', () => focal({ gamma: -1 }), ['gamma of focal', '-1']],
    ['an alpha above 1', () => focal({ alpha: 2 }), ['alpha of focal', '2']],
    ['another p', () => multiClassHinge({ p: 3 as never }), ['p of multiClassHinge', '1, 2', '3']],
    ['a positive weight below 0', () => binaryCrossEntropy({ positiveWeight: -1 }), ['positiveWeight', '-1']],
    ['a margin that is no number', () => triplet({ margin: '1' as never }), ['margin of triplet', '"1"']],
    ['a negative margin', () => contrastive({ margin: -1 }), ['margin of contrastive', '-1']],
    ['no boolean', () => poisson({ logInput: 1 as never }), ['logInput of poisson', '1']],
  ]
  it.each(refused)('%s', async (_, body, texts) => {
    await expectError('argument', texts, body)
  })

  const shapesRefused: [string, () => unknown, string[]][] = [
    ['targets of another shape', () => mae()(tensor([[1, 2]]), tensor([1, 2])), ['mae', '[1, 2]', '[2]']],
    ['scores without an axis of classes', () => crossEntropy()(tensor([1, 2]), tensor([1, 2])), ['[n, classes]']],
    [
      'too few weights',
      () => crossEntropy({ classWeights: [1] })(tensor([[1, 2]]), tensor([[1, 0]])),
      ['2 weights', '1'],
    ],
    ['one embedding', () => triplet()(tensor([[1, 2]])), ['[n, 3, d]', '[1, 2]']],
    ['an odd pair', () => contrastive()(tensor([[[1], [2], [3]]]), tensor([1])), ['[n, 2, d]', '[1, 3, 1]']],
  ]
  it.each(shapesRefused)('%s', async (_, body, texts) => {
    await expectError('shape', texts, body)
  })
})

describe('through fit', () => {
  const net = (units: number) => model([2], [dense(units, { init: normalWeights({ std: 0.1 }) })], { name: 'net' })
  const inputs = [
    [1, 0],
    [0, 1],
    [1, 1],
    [2, 1],
  ]
  const train = (units: number, labels: readonly number[], used: Loss, options = {}) =>
    net(units).fit(dataset(inputs, [...labels], options), {
      loss: used,
      optimizer: sgd({ lr: 0.1 }),
      epochs: 40,
      batchSize: 4,
    })

  it('binary labels and counts are targets [n] of one output', async () => {
    for (const used of [binaryCrossEntropy(), hinge(), focal(), poisson(), mse()]) {
      const { epochs } = await train(1, [1, 0, 1, 1], used)
      expect(epochs.at(-1)!.train.loss, used.kind).toBeLessThan(epochs[0]!.train.loss!)
    }
  })

  it('an ignored label passes, inside the classes or outside, and has no influence', async () => {
    const used = crossEntropy({ ignoreIndex: 255 })
    const { epochs } = await train(2, [0, 1, 0, 255], used)
    expect(epochs.at(-1)!.train.loss).toBeLessThan(epochs[0]!.train.loss!)
    const negative = { ignoreLabel: -100 }
    expect(
      (await train(2, [0, 1, 0, -100], crossEntropy({ ignoreIndex: -100 }), negative)).epochs.at(-1)!.train.loss,
    ).toBe(epochs.at(-1)!.train.loss)
  })

  it('other labels outside the classes are refused before the first step', async () => {
    await expectError('data', ['0 to 1', '3 classes', '2 outputs'], () => train(2, [0, 1, 0, 2], crossEntropy()))
    await expectError('data', ['0 to 1 or 255', '7'], () =>
      train(2, [0, 7, 0, 255], crossEntropy({ ignoreIndex: 255 })),
    )
    await expectError('data', ['0 to 1', '3 classes'], () => train(1, [0, 1, 0, 2], binaryCrossEntropy()))
    await expectError('data', ['0 to 1', '-1', 'ignoreIndex: -1'], () =>
      train(2, [0, 1, 0, -1], crossEntropy(), { ignoreLabel: -1 }),
    )
    await expectError('data', ['labels[3]', '-1'], () => dataset(inputs, [0, 1, 0, -1]))
  })

  it('a loss that is not reduced is refused', async () => {
    await expectError('argument', ["'mean' or 'sum'", 'crossEntropy'], () =>
      train(2, [0, 1, 0, 1], crossEntropy({ reduction: 'none' })),
    )
  })

  it('a function of ops is a loss', async () => {
    const cubed = loss('cubed', (y, t) => ops.mean(ops.mul(ops.square(ops.sub(y, t)), ops.abs(ops.sub(y, t)))))
    const data = dataset(inputs, [[1], [2], [3], [4]])
    const { epochs } = await net(1).fit(data, { loss: cubed, optimizer: sgd({ lr: 0.01 }), epochs: 20, batchSize: 4 })
    expect(epochs.at(-1)!.train.loss).toBeLessThan(0.5 * epochs[0]!.train.loss!)
  })
})
