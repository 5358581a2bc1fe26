// Activations beyond what the fixtures ask: every question of the table of cases, the randomized and the learned one, the
// first weights they choose, and named tests for formulas that are wrong in widespread texts.
import { describe, expect, it } from 'vitest'
import {
  constant,
  crossEntropy,
  dataset,
  dense,
  dropout,
  elu,
  gelu,
  glorotNormal,
  glu,
  grad,
  hardSigmoid,
  hardTanh,
  heNormal,
  type Layer,
  leakyRelu,
  lecunNormal,
  logSoftmax,
  mish,
  model,
  ops,
  prelu,
  record,
  relu,
  relu6,
  rrelu,
  selu,
  sgd,
  sigmoid,
  silu,
  softplus,
  softsign,
  stepState,
  type Tensor,
  tanh,
  tensor,
} from '../../src/index.js'
import { Scope, Weights } from '../../src/layers/layer.js'
import { expectError, numbers } from '../api/help.js'
import { fill, type Input, normal } from '../ops/data.js'
import { type Case, compute, everyDevice } from '../ops/harness.js'
import { combine, map, table } from '../ops/oracle.js'
import { askEverything } from '../ops/questions.js'

type Terms = number | [value: number, terms: number]

const wide = (shape: readonly number[]): Input => ({
  ...normal(shape),
  make: (random, size) => Array.from({ length: size }, () => 3 * random.normal()),
})
const shapes = [[], [17], [2, 3, 1, 5], [1031, 67]]
const tolerance = { c: 16, K: 1 }
const row = (op: string, inputs: Input[], build: Case['build'], oracle: Case['oracle'], K = 1): Case => ({
  op,
  name: inputs.map(({ shape }) => `[${shape.join(', ')}]`).join(' '),
  inputs,
  build,
  oracle,
  tolerance: { ...tolerance, K },
  gradient: 'central',
  gradientTerms: 4,
})

/** An activation of one element, asked with errors measured by the size of its input unless `f` says otherwise. */
const rows = (op: string, call: (x: Tensor) => Tensor, f: (x: number) => number): Case[] =>
  shapes.map((shape) =>
    row(
      op,
      [wide(shape)],
      ([x]) => call(x!),
      (x) => map(x, (v): Terms => [f(v), Math.abs(v) + Math.abs(f(v))]),
    ),
  )

/** The normal distribution function, from the complementary error function as a continued fraction or a series. */
function phi(x: number): number {
  const a = Math.abs(x) / Math.SQRT2
  let tail: number
  if (a < 2) {
    let [term, sum] = [a, a]
    for (let k = 1; k < 80; k++) {
      term *= (2 * a * a) / (2 * k + 1)
      sum += term
    }
    tail = 1 - (2 / Math.sqrt(Math.PI)) * Math.exp(-a * a) * sum
  } else {
    let fraction = a
    for (let k = 60; k > 0; k--) fraction = a + k / 2 / fraction
    tail = Math.exp(-a * a) / Math.sqrt(Math.PI) / fraction
  }
  return x > 0 ? 1 - tail / 2 : tail / 2
}
const sigmoidOf = (x: number): number => 1 / (1 + Math.exp(-x))
const softplusOf = (x: number): number => Math.log1p(Math.exp(-Math.abs(x))) + Math.max(x, 0)

askEverything([
  ...rows('relu6', ops.relu6, (x) => Math.min(Math.max(x, 0), 6)),
  ...rows('selu', ops.selu, (x) => 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x))),
  ...rows('gelu', ops.gelu, (x) => x * phi(x)),
  ...rows(
    'gelu by tanh',
    (x) => ops.gelu(x, { form: 'tanh' }),
    (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  ),
  ...rows('silu', ops.silu, (x) => x * sigmoidOf(x)),
  ...rows('mish', ops.mish, (x) => x * Math.tanh(softplusOf(x))),
  ...rows('softplus', ops.softplus, softplusOf),
  ...rows('softsign', ops.softsign, (x) => x / (1 + Math.abs(x))),
  ...rows('hardSigmoid', ops.hardSigmoid, (x) => Math.min(Math.max(x / 6 + 0.5, 0), 1)),
  ...rows(
    'hardTanh',
    (x) => ops.hardTanh(x, -0.5, 2),
    (x) => Math.min(Math.max(x, -0.5), 2),
  ),
  ...[[1, 1], [7], [5, 33], [2, 3, 4], [515, 129]].map((shape) =>
    row(
      'logSoftmax',
      [wide(shape)],
      ([x]) => ops.logSoftmax(x!),
      (x) => {
        const k = shape.at(-1)!
        return table(shape, (_, i) => {
          const part = Array.from({ length: k }, (_, j) => x.data[i - (i % k) + j]!)
          const largest = Math.max(...part)
          const total = Math.log(part.reduce((sum, v) => sum + Math.exp(v - largest), 0))
          return [x.data[i]! - largest - total, Math.abs(x.data[i]!) + Math.abs(largest) + total + 1]
        })
      },
      129,
    ),
  ),
  ...[[2], [5, 6], [2, 3, 4], [1031, 66]].map((shape) =>
    row(
      'glu',
      [wide(shape)],
      ([x]) => ops.glu(x!),
      (x) => {
        const half = shape.at(-1)! / 2
        return table([...shape.slice(0, -1), half], (index, i) => {
          const at = Math.floor(i / half) * 2 * half + index.at(-1)!
          return x.data[at]! * sigmoidOf(x.data[at + half]!)
        })
      },
    ),
  ),
  ...(
    [
      [[5, 7], [7]],
      [[2, 3, 4, 5], [1]],
      [[1031, 67], [67]],
    ] as [number[], number[]][]
  ).map(([x, alpha]) =>
    row(
      'prelu',
      [wide(x), normal(alpha)],
      ([a, b]) => ops.prelu(a!, b!),
      (a, b) => combine((v, slope) => (v! > 0 ? v! : slope! * v!), a, b),
      1031,
    ),
  ),
])

function moments(data: ArrayLike<number>): { mean: number; std: number } {
  const list = Array.from(data)
  const mean = list.reduce((a, b) => a + b, 0) / list.length
  return { mean, std: Math.sqrt(list.reduce((sum, x) => sum + (x - mean) ** 2, 0) / list.length) }
}

// ---- Layers -------------------------------------------------------------------------------------------------------------

/** One training step of a layer without parameters: y and the gradient of its sum. */
function trained(layer: Layer, x: number[], seed: number, steps = 1): { y: number[]; slopes: number[] }[] {
  const program = record(
    (given) => {
      const y = layer(given.x, new Scope(new Weights(), 'train'))
      return [y, ...grad(ops.sum(y), [given.x])]
    },
    { x: [x.length] },
    { step: stepState('step', { seed }) },
  )
  return Array.from({ length: steps }, () => {
    const [y, slopes] = program.runSync({ x }).map(({ data }) => [...data])
    return { y: y!, slopes: slopes! }
  })
}

describe('rrelu', () => {
  const n = 20_000
  const negative = new Array<number>(n).fill(-1)

  it('draws a slope of U(1/8, 1/3) for every element and step, decided by the seed', () => {
    const [first, second] = trained(rrelu(), negative, 5, 2)
    const slopes = first!.y.map((y) => -y)
    expect(Math.min(...slopes)).toBeGreaterThanOrEqual(1 / 8)
    expect(Math.max(...slopes)).toBeLessThanOrEqual(1 / 3)
    const mean = slopes.reduce((a, b) => a + b, 0) / n
    const variance = slopes.reduce((sum, s) => sum + (s - mean) ** 2, 0) / n
    const range = 1 / 3 - 1 / 8
    expect(Math.abs(mean - 11 / 48)).toBeLessThan((5 * range) / Math.sqrt(12 * n))
    expect(variance / (range ** 2 / 12)).toBeCloseTo(1, 1)
    expect(second!.y).not.toEqual(first!.y)
    expect(trained(rrelu(), negative, 5)[0]).toEqual(first)
    expect(trained(rrelu(), negative, 6)[0]!.y).not.toEqual(first!.y)
  })

  it('multiplies the gradient by the slope that was drawn, and leaves positive elements alone', () => {
    const [step] = trained(rrelu(), [-1, 2, -1, 3, 0], 5)
    expect(step!.slopes).toEqual([-step!.y[0]!, 1, -step!.y[2]!, 1, expect.any(Number)])
    expect([step!.y[1], step!.y[3], step!.y[4]]).toEqual([2, 3, expect.closeTo(0)])
  })

  it('has the mean slope 11/48 in prediction', async () => {
    const y = await model([3], [rrelu()]).predict([-48, 0, 7])
    expect([...y.data].map((v) => v + 0)).toEqual([-11, 0, 7].map((v) => expect.closeTo(v, 5)))
  })
})

describe('prelu', () => {
  it('has a slope of 0.25 per channel, of one axis, and learns it', async () => {
    const net = model([4, 6], [prelu(), (x) => ops.reshape(x, [-1, 24]), dense(3)], { seed: 2 })
    const alpha = async () => (await net.weights()).get('prelu1.alpha')!
    expect((await alpha()).shape).toEqual([6])
    expect([...(await alpha()).data]).toEqual(new Array(6).fill(0.25))
    const labels = Int32Array.from({ length: 60 }, (_, i) => i % 3)
    const data = dataset(Float32Array.from(numbers(60 * 24)), labels, { shape: [60, 4, 6] })
    await net.fit(data, { loss: crossEntropy(), optimizer: sgd({ lr: 0.5 }), epochs: 2 })
    expect(new Set((await alpha()).data).size).toBe(6)
  })

  it('has one slope if shared, and starts where it is told', async () => {
    const weights = await model([4], [prelu({ shared: true, init: constant(0.5) })]).weights()
    expect(weights.get('prelu1.alpha')).toEqual({ shape: [1], data: Float32Array.of(0.5) })
  })
})

it('activations refuse options that are none', async () => {
  const refused: [() => unknown, string[]][] = [
    [() => gelu({ form: 'fast' as never }), ['form of gelu', '"exact"', '"tanh"', '"fast"']],
    [() => gelu({ from: 'tanh' } as never), ['"from"', '"form"']],
    [() => hardTanh(1, 1), ['max of hardTanh', 'above 1']],
    [() => hardTanh(Number.NaN), ['min of hardTanh', 'NaN']],
    [() => rrelu({ lower: -1 }), ['lower of rrelu', 'at least 0', '-1']],
    [() => rrelu({ lower: 0.5, upper: 0.1 }), ['upper of rrelu', 'at least 0.5', '0.1']],
    [() => prelu({ shard: true } as never), ['"shard"', '"shared"']],
    [() => prelu({ shared: 1 as never }), ['shared of prelu', '1']],
  ]
  for (const [body, texts] of refused) await expectError('argument', texts, body)
  await expectError('shape', ['even', '[3]'], () => ops.glu(tensor([1, 2, 3])))
})

describe('first weights follow the activation', () => {
  const [n, units] = [300, 200]
  const std = { he: Math.sqrt(2 / n), lecun: Math.sqrt(1 / n), glorot: Math.sqrt(2 / (n + units)) }
  const known: [string, number, () => Layer][] = [
    ...Object.entries({ relu, relu6, leakyRelu, rrelu, prelu, elu, gelu, silu, mish }).map(
      ([name, make]): [string, number, () => Layer] => [name, std.he, make as () => Layer],
    ),
    ['selu', std.lecun, selu],
    ...Object.entries({ sigmoid, tanh, softplus, softsign, hardSigmoid, hardTanh, logSoftmax, glu }).map(
      ([name, make]): [string, number, () => Layer] => [name, std.glorot, make as () => Layer],
    ),
  ]
  it.each(known)('%s', async (_, wanted, make) => {
    const weights = await model([n], [dense(units), make()], { seed: 4 }).weights()
    const { data } = weights.get('dense1.weight')!
    expect(Math.sqrt(data.reduce((sum, w) => sum + w * w, 0) / data.length) / wanted).toBeCloseTo(1, 1.5)
  })
})

it('selu keeps mean 0 and variance 1 through 50 dense layers with the weights it chooses', async () => {
  const width = 200
  const layers = Array.from({ length: 50 }, () => [dense(width), selu()]).flat()
  const net = model([width], layers, { seed: 1 })
  const x = tensor(fill(normal([500, width]), 3), { shape: [500, width] })
  const { data } = await net.predict(x)
  const { mean, std } = moments(data)
  const variance = std ** 2
  expect(Math.abs(mean)).toBeLessThan(0.1)
  expect(variance).toBeGreaterThan(0.5)
  expect(variance).toBeLessThan(2)
})

// ---- Formulas that are wrong in widespread texts --------------------------------------------------------------------------

describe.each(everyDevice())('not the wrong formula, on $name', ({ on }) => {
  const withSlope = (f: (x: Tensor) => Tensor, x: number[]): { y: number[]; slopes: number[] } => {
    const [y, slopes] = compute(
      (a) => {
        const result = f(a)
        return [result, ...grad(ops.sum(result), [a])]
      },
      [tensor(x)],
      { device: on },
    )
    return { y: [...y!], slopes: [...slopes!] }
  }

  it('ELU is differentiable at 0: value 0 and slope 1 from both sides for alpha 1, a kink for other alpha', () => {
    const around = [-1e-6, 0, 1e-6]
    const one = withSlope((x) => ops.elu(x), around)
    expect(one.slopes.map((slope) => expect.closeTo(slope, 5))).toEqual([1, 1, 1])
    one.slopes.forEach((slope) => {
      expect(slope).toBeCloseTo(1, 5)
    })
    expect(withSlope((x) => ops.elu(x, 2), around).slopes).toEqual([expect.closeTo(2, 4), expect.closeTo(2, 4), 1])
  })

  it('the slope of the sigmoid is at most 1/4, not 1', () => {
    const { slopes } = withSlope(
      ops.sigmoid,
      Array.from({ length: 4001 }, (_, i) => (i - 2000) / 200),
    )
    expect(Math.max(...slopes)).toBe(0.25)
    expect(slopes[2000]).toBe(0.25)
  })

  it('leaky ReLU goes by the sign, not by max(slope x, x), which turns over for slopes above 1', () => {
    expect(withSlope((x) => ops.leakyRelu(x, 3), [-2, 2])).toEqual({ y: [-6, 2], slopes: [3, 1] })
    expect(withSlope((x) => ops.prelu(x, 3), [-2, 2])).toEqual({ y: [-6, 2], slopes: [3, 1] })
  })

  it('the output of leaky ReLU is not centred at 0; that of ELU is nearer 0 than those of ReLU and leaky ReLU', () => {
    const x = tensor(fill(normal([100_000]), 9))
    const means = compute((a) => [ops.relu(a), ops.leakyRelu(a), ops.elu(a)].map((y) => ops.mean(y)), [x], {
      device: on,
    }).map(([mean]) => mean!)
    const rectified = 1 / Math.sqrt(2 * Math.PI)
    expect(means[0]).toBeCloseTo(rectified, 2)
    expect(means[1]).toBeCloseTo(0.99 * rectified, 2)
    // E[ELU] = 1 / sqrt(2 pi) + e^(1/2) Phi(-1) - 1/2
    expect(means[2]).toBeCloseTo(rectified + Math.exp(0.5) * phi(-1) - 0.5, 2)
    expect(Math.abs(means[2]!)).toBeLessThan(0.45 * means[1]!)
  })
})

describe('not the wrong formula', () => {
  it('dropout drops the share `rate`, scales by 1 / (1 - rate) while training and does nothing afterwards', async () => {
    const [n, rate] = [40_000, 0.2]
    const [step] = trained(dropout(rate), new Array<number>(n).fill(1), 3)
    const kept = step!.y.filter((y) => y !== 0)
    expect(Math.abs(kept.length / n - (1 - rate))).toBeLessThan(4 * Math.sqrt((rate * (1 - rate)) / n))
    for (const y of kept) expect(y).toBeCloseTo(1 / (1 - rate), 6)
    expect(step!.slopes).toEqual(step!.y)
    const { data } = await model([3], [dropout(rate)]).predict([1, -2, 3])
    expect([...data]).toEqual([1, -2, 3])
  })

  const spread = async (initializer: ReturnType<typeof heNormal>, n: number, units: number): Promise<number> => {
    const weights = await model([n], [dense(units, { init: initializer })], { seed: 8 }).weights()
    const { data } = weights.get('dense1.weight')!
    return Math.sqrt(data.reduce((sum, w) => sum + w * w, 0) / data.length)
  }

  it('He normal has the standard deviation sqrt(2 / n), not 2 / sqrt(n)', async () => {
    expect((await spread(heNormal(), 500, 400)) / Math.sqrt(2 / 500)).toBeCloseTo(1, 2)
  })

  it('Glorot normal has sqrt(2 / (in + out)), not 1 / sqrt(in), which is LeCun normal', async () => {
    expect((await spread(glorotNormal(), 400, 600)) / Math.sqrt(2 / 1000)).toBeCloseTo(1, 2)
    expect((await spread(lecunNormal(), 400, 600)) / Math.sqrt(1 / 400)).toBeCloseTo(1, 2)
  })

  // Through 5 ReLU layers of 100 the standard deviation stays near 1 with the right formula; 2 / sqrt(n) would reach 4.
  it('He normal keeps activations at one size through ReLU layers', async () => {
    const layers = Array.from({ length: 5 }, () => [dense(100, { init: heNormal() }), relu()]).flat()
    const net = model([100], layers, { seed: 6 })
    const { data } = await net.predict(tensor(fill(normal([1000, 100]), 2), { shape: [1000, 100] }))
    const { std } = moments(data)
    expect(std).toBeGreaterThan(0.5)
    expect(std).toBeLessThan(1.6)
  })
})
