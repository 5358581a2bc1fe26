// The table of cases: one row per op and family of shapes. A row says what goes in, which public call is made, what must
// come out in float64 and how far a 32-bit result may be away. run.test.ts asks every question of every row; a new op
// without a row fails there. Sizes are ragged on purpose: 1, primes, one above a vector's width, one row, one column,
// and in each family one that is large enough to be split between threads.

import { apply } from '../../src/graph.js'
import { ops, type Tensor } from '../../src/index.js'
import { type Attrs, opTable } from '../../src/op.js'
import { type Shape, showShape } from '../../src/shape.js'
import { between, bytes, flags, type Input, indices, normal, positive, probabilities, step } from './data.js'
import { filterGradTerms, forwardTerms, inputGradTerms } from './fast.js'
import type { Case } from './harness.js'
import {
  argmaxOf,
  at,
  batchNorm,
  batchNormGrad,
  classWeights,
  combine,
  crossEntropy,
  divisors,
  type Exact,
  eachProduct,
  fraction,
  joint,
  map,
  maxOver,
  type Nd,
  permuted,
  positionOf,
  product,
  randomBits,
  sizeOf,
  softmaxRows,
  sumOver,
  sums,
  table,
  type Window,
  windowsOf,
} from './oracle.js'

type Row = Omit<Case, 'tolerance' | 'gradient'> & { K?: number; c?: number; gradient?: Case['gradient'] }
type Fill = (shape: Shape) => Input

function row({ K = 1, c = 8, gradient = 'central', ...rest }: Row): Case {
  return { ...rest, tolerance: { c, K }, gradient }
}

/** An op by its name, for those that only derivatives use. */
function byName(name: string, inputs: Tensor[], attrs: Attrs = {}, asked: Shape = []): Tensor[] {
  return [...apply(opTable().get(name)!, inputs, attrs, asked)]
}

const shapes: readonly Shape[] = [[], [1], [17], [5, 33], [2, 3, 1, 5], [70_001]]
const label = (...list: Shape[]): string => list.map(showShape).join(' ')
const steps = 'piecewise constant: the derivative is 0 almost everywhere'
const secondDerivative = 'a derivative of a piecewise op; second derivatives of it are not offered'

// ---- Elementwise ---------------------------------------------------------------------------------------------------

type Value = number | [value: number, terms: number]

function unary(op: string, call: (x: Tensor) => Tensor, f: (x: number) => Value, of: Fill, extra: Partial<Row> = {}) {
  return shapes.map((shape) =>
    row({ op, name: label(shape), inputs: [of(shape)], build: ([x]) => call(x!), oracle: (x) => map(x, f), ...extra }),
  )
}

/** dx = dy * f'(y): the derivative of an activation, from its result. */
function activationGrad(
  op: string,
  attrs: Attrs,
  f: (dy: number, y: number) => Value,
  y: Fill,
  extra: Partial<Row> = {},
) {
  return [[1], [17], [5, 33], [70_001]].map((shape) =>
    row({
      op,
      name: label(shape),
      inputs: [normal(shape), y(shape)],
      build: (inputs) => byName(op, inputs, attrs),
      oracle: (dy, out) => combine(f, dy, out),
      ...extra,
    }),
  )
}

const pairs: readonly [Shape, Shape][] = [
  [[], []],
  [[17], [17]],
  [[5, 9], [9]],
  [[9], [5, 9]],
  [
    [5, 9],
    [5, 1],
  ],
  [
    [5, 1],
    [1, 9],
  ],
  [[4, 1, 9], []],
  [
    [2, 1, 3, 1],
    [5, 1, 4],
  ],
  [
    [2, 1, 3, 1, 2, 1],
    [1, 3, 1, 2, 1, 5],
  ],
  [[301, 257], [257]],
]

function binary(
  op: string,
  call: (a: Tensor, b: Tensor) => Tensor,
  f: (a: number, b: number) => Value,
  second: Fill = normal,
  extra: Partial<Row> = {},
): Case[] {
  return pairs.map(([a, b]) =>
    row({
      op,
      name: label(a, b),
      inputs: [normal(a), second(b)],
      build: ([x, y]) => call(x!, y!),
      oracle: (x, y) => combine(f, x, y),
      gradientK: sizeOf(joint(a, b)) / Math.min(sizeOf(a), sizeOf(b)),
      ...extra,
    }),
  )
}

/** By a power series of positive terms: all digits for the |x| < 6 of normal numbers. */
function erf(x: number): number {
  const z = x * x
  let term = x
  let sum = x
  // erf(x) = 2 / sqrt(pi) e^-z sum of 2^k x^(2k + 1) / (1 * 3 * ... * (2k + 1))
  for (let k = 1; k < 200; k++) {
    term *= (2 * z) / (2 * k + 1)
    sum += term
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-z) * sum
}
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))
const elu = (x: number, alpha: number): number => (x > 0 ? x : alpha * Math.expm1(x))
const away = (shape: Shape): Input => ({
  ...normal(shape),
  make: (random, size) => Array.from({ length: size }, () => 8 * random.normal()),
})

const elementwise: Case[] = [
  ...unary('neg', ops.neg, (x) => -x, normal, { exactOnIntegers: true }),
  ...unary('abs', ops.abs, Math.abs, normal, { exactOnIntegers: true }),
  ...unary('sign', ops.sign, Math.sign, normal, {
    exactOnIntegers: true,
    gradient: { none: steps, asking: 'gives zeros' },
  }),
  ...unary('exp', ops.exp, Math.exp, between(-20, 5)),
  ...unary('log', ops.log, Math.log, between(0.01, 30), { c: 16 }),
  ...unary('log1p', ops.log1p, Math.log1p, between(-0.9, 30), { c: 16 }),
  ...unary('log1p', ops.log1p, Math.log1p, between(-1e-3, 1e-3), {}).map((each) => ({
    ...each,
    name: `${each.name} near 0`,
  })),
  ...unary('erf', ops.erf, erf, normal),
  ...unary('sqrt', ops.sqrt, Math.sqrt, between(0.01, 30)),
  ...unary(
    'scale',
    (x) => ops.scale(x, -1.5, 0.25),
    (x) => [-1.5 * x + 0.25, 1.5 * Math.abs(x) + 0.25],
    normal,
  ),
  ...unary('relu', ops.relu, (x) => Math.max(0, x), normal, { exactOnIntegers: true }),
  ...unary('leakyRelu', ops.leakyRelu, (x) => (x > 0 ? x : 0.01 * x), normal),
  ...unary(
    'elu',
    (x) => ops.elu(x, 1.25),
    (x) => elu(x, 1.25),
    away,
  ),
  // 1 - y loses digits where y is near 1.
  ...unary('sigmoid', ops.sigmoid, sigmoid, away, { gradientTerms: 2 }),
  ...unary('tanh', ops.tanh, Math.tanh, normal, { gradientTerms: 2 }),
  ...activationGrad('reluGrad', {}, (dy, y) => (y > 0 ? dy : 0), normal, { exactOnIntegers: true }),
  ...activationGrad('leakyReluGrad', { slope: 0.2 }, (dy, y) => (y > 0 ? dy : 0.2 * dy), normal),
  ...activationGrad(
    'eluGrad',
    { alpha: 1.25 },
    (dy, y) => (y > 0 ? dy : [dy * (y + 1.25), Math.abs(dy) * (Math.abs(y) + 1.25)]),
    between(-1.2, 2),
  ),
  ...activationGrad('sigmoidGrad', {}, (dy, y) => dy * y * (1 - y), between(0.01, 0.99)),
  ...activationGrad('tanhGrad', {}, (dy, y) => [dy * (1 - y * y), Math.abs(dy) * (1 + y * y)], between(-0.99, 0.99)),
  ...binary('add', ops.add, (a, b) => [a + b, Math.abs(a) + Math.abs(b)], normal, { exactOnIntegers: true }),
  ...binary('sub', ops.sub, (a, b) => [a - b, Math.abs(a) + Math.abs(b)], normal, { exactOnIntegers: true }),
  ...binary('mul', ops.mul, (a, b) => a * b, normal, { exactOnIntegers: true }),
  ...binary('div', ops.div, (a, b) => a / b, positive),
  ...binary('maximum', ops.maximum, Math.max, normal, { exactOnIntegers: true }),
  ...binary('minimum', ops.minimum, Math.min, normal, { exactOnIntegers: true }),
  ...binary(
    'weightedSum',
    (a, b) => ops.weightedSum(a, b, 0.75, -2),
    (a, b) => [0.75 * a - 2 * b, 0.75 * Math.abs(a) + 2 * Math.abs(b)],
    normal,
  ),
  ...binary('greater', ops.greater, (a, b) => (a > b ? 1 : 0), normal, {
    exactOnIntegers: true,
    gradient: { none: steps, asking: 'gives zeros' },
  }),
  ...binary('equal', ops.equal, (a, b) => (a === b ? 1 : 0), normal, {
    exactOnIntegers: true,
    gradient: { none: steps, asking: 'gives zeros' },
  }),
  row({
    op: 'equal',
    name: 'int32 [5, 33] [33]',
    inputs: [indices([5, 33], 3), indices([33], 3)],
    build: ([a, b]) => ops.equal(a!, b!),
    oracle: (a, b) => combine((x, y) => (x === y ? 1 : 0), a, b),
    gradient: { none: 'integers have no derivative', asking: 'is impossible' },
  }),
  // A number as an operand, on either side.
  ...(
    [
      ['sub', (x) => ops.sub(2, x), (x) => 2 - x],
      ['div', (x) => ops.div(2, x), (x) => 2 / x],
      ['maximum', (x) => ops.maximum(x, 1), (x) => Math.max(x, 1)],
    ] as [string, (x: Tensor) => Tensor, (x: number) => number][]
  ).map(([op, call, f]) =>
    row({
      op,
      name: 'with a number',
      inputs: [positive([3, 5])],
      build: ([x]) => call(x!),
      oracle: (x) => map(x, (v) => [f(v), Math.abs(f(v)) + 2]),
      gradientK: 15,
    }),
  ),
  ...(
    [
      [[], [], []],
      [[17], [17], [17]],
      [[5, 1], [9], [5, 9]],
      [[4, 5, 9], [9], []],
      [[301, 257], [257], [301, 257]],
    ] as [Shape, Shape, Shape][]
  ).map(([c, a, b]) =>
    row({
      op: 'select',
      name: label(c, a, b),
      inputs: [flags(c), normal(a), normal(b)],
      build: ([condition, x, y]) => ops.select(condition!, x!, y!),
      oracle: (condition, x, y) => combine((k, v, w) => (k !== 0 ? v! : w!), condition, x, y),
      exactOnIntegers: true,
      gradientK: 301 * 257,
    }),
  ),
]

// ---- Reductions ----------------------------------------------------------------------------------------------------

const reductions: readonly [Shape, number[]][] = [
  [[], []],
  [[1], [0]],
  [[17], [0]],
  [[5, 33], [0]],
  [[5, 33], [1]],
  [
    [5, 33],
    [0, 1],
  ],
  [[1, 9], [0]],
  [[9, 1], [1]],
  [[3, 5, 7], [1]],
  [
    [3, 5, 7],
    [0, 2],
  ],
  [
    [2, 3, 4, 5, 3, 2],
    [1, 3, 4],
  ],
  [[1031, 67], [0]],
  [[67, 1031], [1]],
  [[70_001], [0]],
]

const reduce: Case[] = [
  ...reductions.map(([shape, axes]) =>
    row({
      op: 'sum',
      name: `${label(shape)} over ${axes}`,
      inputs: [normal(shape)],
      build: ([x]) => ops.sum(x!, { axes }),
      oracle: (x) => sumOver(x, axes),
      K: axes.reduce((n, axis) => n * shape[axis]!, 1),
      gradientK: 1,
      exactOnIntegers: true,
    }),
  ),
  row({
    op: 'sum',
    name: 'mean [7, 9] over 0, axes kept',
    inputs: [normal([7, 9])],
    build: ([x]) => ops.mean(x!, { axes: 0, keepAxes: true }),
    oracle: (x) => sumOver(x, [0], 1 / 7),
    K: 7,
  }),
  ...reductions.map(([shape, axes]) =>
    row({
      op: 'max',
      name: `${label(shape)} over ${axes}`,
      inputs: [normal(shape)],
      build: ([x]) => ops.max(x!, { axes }),
      oracle: (x) => maxOver(x, axes),
      exactOnIntegers: true,
    }),
  ),
  ...([[1], [17], [5, 33], [4, 3, 9], [33, 1], [2049, 37]] as Shape[]).map((shape) =>
    row({
      op: 'argmax',
      name: label(shape),
      inputs: [normal(shape)],
      build: ([x]) => ops.argmax(x!),
      oracle: argmaxOf,
      exactOnIntegers: true,
      gradient: { none: 'an index has no derivative', asking: 'is impossible' },
    }),
  ),
]

// ---- Matrix products -----------------------------------------------------------------------------------------------

const matmul: Case[] = [
  [1, 1, 1],
  [1, 17, 1],
  [5, 1, 9],
  [1, 33, 40],
  [33, 7, 1],
  [33, 7, 17],
  [9, 129, 65],
  [131, 257, 67],
  [70, 10, 40],
  [20, 1030, 9],
  [40, 700, 70],
  [130, 20, 1024],
].flatMap(([m, k, n]) =>
  [0, 1, 2, 3].map((transposed) => {
    const [transposeA, transposeB] = [(transposed & 1) === 1, (transposed & 2) === 2]
    const a = transposeA ? [k!, m!] : [m!, k!]
    const b = transposeB ? [n!, k!] : [k!, n!]
    return row({
      op: 'matmul',
      name: `${label(a)}${transposeA ? ' transposed' : ''} ${label(b)}${transposeB ? ' transposed' : ''}`,
      inputs: [normal(a), normal(b)],
      build: ([x, y]) => ops.matmul(x!, y!, { transposeA, transposeB }),
      oracle: (x, y) => product(x, y, transposeA, transposeB),
      K: k!,
      gradientK: Math.max(m!, n!),
      exactOnIntegers: true,
    })
  }),
)

// The sum of the rows that a product multiplies by: the gradient of a bias beside that of its weights.
const columnSums: Case[] = [
  [1, 1, 1],
  [5, 33, 9],
  [33, 7, 10],
  [131, 700, 67],
  [3, 129, 300],
].flatMap(([m, k, n]) =>
  [true, false].map((transposeA) =>
    row({
      op: 'matmul',
      name: `${label([m!, n!])} and the sums of ${label([k!, n!])}${transposeA ? '' : ', a as it lies'}`,
      inputs: [normal(transposeA ? [k!, m!] : [m!, k!]), normal([k!, n!])],
      build: ([x, dy]) => [ops.sum(dy!, { axes: 0 }), ops.matmul(x!, dy!, { transposeA })],
      oracle: (x, dy) => [sumOver(dy, [0]), product(x, dy, transposeA, false)],
      K: k!,
      gradientK: Math.max(m!, n!),
      exactOnIntegers: true,
      sumsElsewhere: true,
    }),
  ),
)

// What follows a product is applied to it before it is stored; the gradient of two layers has the derivative there.
const activations: [string, (x: Tensor) => Tensor, (x: number) => number][] = [
  ['relu', ops.relu, (x) => Math.max(0, x)],
  ['leakyRelu', (x) => ops.leakyRelu(x, 0.2), (x) => (x > 0 ? x : 0.2 * x)],
  ['elu', ops.elu, (x) => elu(x, 1)],
  ['sigmoid', ops.sigmoid, sigmoid],
  ['tanh', ops.tanh, Math.tanh],
]

/** f of an exact result that is itself a rounded sum; no activation here is steeper than 1. */
const after = (x: Exact, f: (x: number) => number): Exact => ({
  values: x.values.map(f),
  terms: x.terms.map((terms, i) => terms + Math.abs(f(x.values[i]!))),
})
const plusRow = (x: Exact, bias: Nd): Exact => ({
  values: x.values.map((v, i) => v + bias.data[i % bias.data.length]!),
  terms: x.terms.map((v, i) => v + Math.abs(bias.data[i % bias.data.length]!)),
})
const asNd = (shape: Shape, { values }: Exact): Nd => ({ shape, data: values })

const layer = ([n, from, hidden, to]: [number, number, number, number]): Case[] =>
  activations.flatMap(([name, call, f]) => [
    row({
      op: 'matmul',
      name: `+ bias + ${name} [${n}, ${from}] to ${hidden}`,
      inputs: [normal([n, from]), normal([from, hidden]), normal([hidden])],
      build: ([x, w, b]) => call(ops.add(ops.matmul(x!, w!), b!)),
      oracle: (x, w, b) => after(plusRow(product(x, w), b), f),
      K: from + 1,
      gradientK: n * hidden,
      fuses: ['add', name],
    }),
    row({
      op: 'matmul',
      name: `two layers with ${name} ${n}: ${from}, ${hidden}, ${to}`,
      inputs: [normal([n, from]), normal([from, hidden]), normal([hidden]), normal([hidden, to]), normal([to])],
      build: ([x, w1, b1, w2, b2]) => {
        const h = call(ops.add(ops.matmul(x!, w1!), b1!))
        return ops.add(ops.matmul(h, w2!), b2!)
      },
      oracle: (x, w1, b1, w2, b2) => {
        const h = after(plusRow(product(x, w1), b1), f)
        const values = product(asNd([n, hidden], h), w2)
        const terms = product(asNd([n, hidden], { ...h, values: h.terms }), {
          shape: w2.shape,
          data: Array.from(w2.data, Math.abs),
        })
        return plusRow({ values: values.values, terms: terms.values }, b2)
      },
      K: from + hidden,
      gradientK: n * hidden,
      fuses: ['add', name, `${name}Grad`],
    }),
  ])

const fused: Case[] = [
  ...layer([5, 9, 17, 3]),
  ...layer([67, 65, 130, 33]),
  // The same shape as the product, not a row of it: a residual.
  row({
    op: 'matmul',
    name: '+ matrix [9, 5] [5, 33]',
    inputs: [normal([9, 5]), normal([5, 33]), normal([9, 33])],
    build: ([x, w, other]) => ops.relu(ops.add(other!, ops.matmul(x!, w!))),
    oracle: (x, w, other) => {
      const { values, terms } = product(x, w)
      return after(
        combine(
          (p, t, o) => [p! + o!, t! + Math.abs(o!)],
          { shape: other.shape, data: values },
          { shape: other.shape, data: terms },
          other,
        ),
        (v) => Math.max(0, v),
      )
    },
    K: 6,
    gradientK: 33,
    exactOnIntegers: true,
    fuses: ['add', 'relu'],
  }),
  // The product is what the derivative is read from, not what flows into it.
  row({
    op: 'matmul',
    name: 'as the result an activation had [5, 9] [9, 17]',
    inputs: [normal([5, 17]), between(-0.3, 0.3)([5, 9]), between(-0.3, 0.3)([9, 17])],
    build: ([dy, x, w]) => byName('tanhGrad', [dy!, ops.matmul(x!, w!)]),
    oracle: (dy, x, w) => {
      const y = product(x, w)
      return table([5, 17], (_, i) => {
        const terms = 1 + 3 * Math.abs(y.values[i]! * y.terms[i]!)
        return [dy.data[i]! * (1 - y.values[i]! ** 2), Math.abs(dy.data[i]!) * terms]
      })
    },
    K: 9,
    gradientK: 17,
    gradientTerms: 2,
  }),
  // One product read twice may not be fused away.
  row({
    op: 'matmul',
    name: 'read twice [9, 5] [5, 17]',
    inputs: [normal([9, 5]), normal([5, 17])],
    build: ([x, w]) => {
      const y = ops.matmul(x!, w!)
      return [ops.relu(y), ops.tanh(y)]
    },
    oracle: (x, w) => [after(product(x, w), (v) => Math.max(0, v)), after(product(x, w), Math.tanh)],
    K: 5,
    gradientK: 17,
  }),
]

// ---- Convolutions --------------------------------------------------------------------------------------------------

interface Convolution {
  x: Shape
  w: Shape
  stride?: [number, number]
  padding?: 'same' | 'valid' | [number, number]
  dilation?: [number, number]
  groups?: number
}

const convolutions: Convolution[] = [
  { x: [1, 1, 1, 1], w: [1, 1, 1, 1] },
  { x: [2, 5, 7, 3], w: [3, 3, 3, 5] },
  { x: [2, 5, 7, 3], w: [3, 3, 3, 5], padding: 'same' },
  { x: [1, 9, 6, 2], w: [3, 2, 2, 9], stride: [2, 3], padding: [1, 1] },
  { x: [2, 11, 9, 3], w: [5, 5, 3, 4], stride: [2, 2], padding: 'same' },
  // An odd row or column of padding goes to the far side.
  { x: [2, 6, 8, 3], w: [3, 4, 3, 5], stride: [2, 3], padding: 'same' },
  { x: [1, 5, 6, 2], w: [2, 4, 2, 3], padding: 'same' },
  { x: [1, 10, 11, 2], w: [3, 3, 2, 3], dilation: [2, 3] },
  { x: [1, 10, 11, 2], w: [2, 3, 2, 3], dilation: [3, 2], stride: [2, 1], padding: [2, 3] },
  { x: [2, 6, 5, 6], w: [3, 3, 2, 9], groups: 3, padding: 'same' },
  { x: [2, 6, 7, 17], w: [3, 3, 1, 17], groups: 17, padding: 'same' },
  { x: [1, 6, 7, 5], w: [3, 3, 1, 10], groups: 5, stride: [2, 2] },
  { x: [3, 4, 5, 9], w: [1, 1, 9, 7] },
  { x: [2, 7, 7, 4], w: [1, 1, 4, 5], stride: [2, 2] },
  { x: [2, 3, 4, 3], w: [3, 4, 3, 5] },
  { x: [1, 1, 17, 3], w: [1, 5, 3, 2], padding: [0, 2] },
  { x: [1, 7, 7, 1], w: [5, 5, 1, 3], stride: [3, 3], padding: [2, 2] },
  { x: [3, 19, 17, 9], w: [3, 3, 9, 20], padding: 'same' },
  // Few channels on one side, many on the other, in rows that are no multiple of any tile.
  { x: [2, 9, 31, 1], w: [5, 5, 1, 30] },
  { x: [1, 7, 33, 3], w: [3, 3, 3, 37], padding: 'same' },
  { x: [2, 13, 12, 3], w: [7, 7, 3, 18], stride: [2, 2], padding: [3, 3] },
  { x: [1, 9, 14, 2], w: [3, 3, 2, 19], dilation: [2, 2], padding: 'same' },
  { x: [1, 6, 29, 35], w: [3, 3, 35, 3], padding: 'same' },
  { x: [1, 5, 30, 33], w: [3, 3, 33, 16], padding: 'same' },
  { x: [2, 9, 31, 9], w: [3, 3, 9, 11], stride: [2, 2] },
  { x: [1, 6, 57, 10], w: [3, 2, 5, 24], groups: 2, padding: 'same' },
  // Depthwise: several outputs of a channel, wide rows, windows larger than the image, steps and gaps.
  { x: [2, 5, 19, 20], w: [3, 3, 1, 40], groups: 20, padding: 'same' },
  { x: [1, 11, 12, 6], w: [5, 5, 1, 18], groups: 6, stride: [2, 2], padding: 'same' },
  { x: [2, 9, 23, 33], w: [5, 5, 1, 33], groups: 33, padding: [2, 2] },
  { x: [1, 9, 10, 18], w: [3, 3, 1, 18], groups: 18, dilation: [2, 3], padding: [2, 3] },
  { x: [1, 3, 4, 5], w: [5, 7, 1, 5], groups: 5, padding: [2, 3] },
]

function geometry({ x, w, stride = [1, 1], padding = 'valid', dilation = [1, 1], groups = 1 }: Convolution) {
  const kernel: [number, number] = [w[0]!, w[1]!]
  const place = [0, 1].map((i) => {
    const [size, extent] = [x[1 + i]!, dilation[i]! * (kernel[i]! - 1) + 1]
    if (padding === 'same') {
      const length = Math.ceil(size / stride[i]!)
      return { length, before: Math.max(0, Math.floor(((length - 1) * stride[i]! + extent - size) / 2)) }
    }
    const before = padding === 'valid' ? 0 : padding[i]!
    return { length: Math.floor((size + 2 * before - extent) / stride[i]!) + 1, before }
  }) as [{ length: number; before: number }, { length: number; before: number }]
  const y = [x[0]!, place[0].length, place[1].length, w[3]!]
  const window: Window = { x, y, kernel, stride, pad: [place[0].before, place[1].before], dilation }
  const attrs = {
    strideH: stride[0],
    strideW: stride[1],
    padTop: place[0].before,
    padLeft: place[1].before,
    dilationH: dilation[0],
    dilationW: dilation[1],
    groups,
  }
  return { y, window, attrs, groups, options: { stride, padding, dilation, groups } }
}

// Many channels on both sides, which class 'fast' multiplies otherwise: odd sizes, borders of every width, remainders.
const manyChannels: Convolution[] = [
  { x: [2, 11, 13, 32], w: [3, 3, 32, 50], padding: 'same' },
  { x: [1, 17, 20, 45], w: [3, 3, 45, 32] },
  { x: [5, 7, 8, 33], w: [3, 3, 33, 35], padding: [2, 3] },
  { x: [4, 8, 9, 17], w: [3, 3, 17, 70] },
  { x: [3, 8, 8, 66], w: [3, 3, 66, 16], padding: 'same' },
]

// Classes that may round operands: the cpu and ref do not, a card does (test/replay/record.ts says how far it may be off).
const rounding: Convolution[] = [
  { x: [2, 9, 8, 8], w: [3, 3, 8, 12], padding: 'same' },
  { x: [1, 9, 7, 5], w: [3, 2, 5, 6], stride: [2, 1] },
]

function convolutionRows(given: Convolution, numerics?: Case['numerics']): Case[] {
  const { x, w } = given
  const { y, window, attrs, groups, options } = geometry(given)
  const perResult = w[0]! * w[1]! * w[2]!
  const name = [
    `${label(x)} ${label(w)}`,
    given.stride && `stride ${given.stride}`,
    given.padding && `padding ${given.padding}`,
    given.dilation && `dilation ${given.dilation}`,
    given.groups && `groups ${given.groups}`,
    numerics,
  ]
    .filter(Boolean)
    .join(' ')
  const common = { name, exactOnIntegers: true, gradientK: sizeOf(y), ...(numerics && { numerics }) }
  const bounded = ({ values, terms }: Exact, fastTerms: () => Float64Array): Exact => ({
    values,
    terms: numerics === 'fast' ? fastTerms() : terms,
  })
  const filterGrad = (image: Nd, dy: Nd): Exact =>
    bounded(
      sums(w, (add) => {
        eachProduct(window, w, groups, (i, j, k) => add(k, dy.data[i]! * image.data[j]!))
      }),
      () => filterGradTerms(image, dy, w, window.pad),
    )
  return [
    row({
      ...common,
      op: 'conv2d',
      inputs: [normal(x), normal(w)],
      build: ([image, filter]) => ops.conv2d(image!, filter!, options),
      oracle: (image, filter) =>
        bounded(
          sums(y, (add) => {
            eachProduct(window, w, groups, (i, j, k) => add(i, image.data[j]! * filter.data[k]!))
          }),
          () => forwardTerms(image, filter, y, window.pad),
        ),
      K: perResult,
    }),
    row({
      ...common,
      op: 'conv2dInputGrad',
      inputs: [normal(y), normal(w)],
      build: (inputs) => byName('conv2dInputGrad', inputs, attrs, x),
      oracle: (dy, filter) =>
        bounded(
          sums(x, (add) => {
            eachProduct(window, w, groups, (i, j, k) => add(j, dy.data[i]! * filter.data[k]!))
          }),
          () => inputGradTerms(dy, filter, x, window.pad),
        ),
      K: (perResult * w[3]!) / w[2]!,
    }),
    row({
      ...common,
      op: 'conv2dFilterGrad',
      inputs: [normal(x), normal(y)],
      build: (inputs) => byName('conv2dFilterGrad', inputs, attrs, w),
      oracle: filterGrad,
      K: y[0]! * y[1]! * y[2]!,
    }),
    // Beside it the gradient of a bias, which a pass makes a second output.
    row({
      ...common,
      op: 'conv2dFilterGrad',
      name: `${name} and the sums of dy`,
      inputs: [normal(x), normal(y)],
      build: ([image, dy]) => [
        ops.sum(dy!, { axes: [0, 1, 2] }),
        ...byName('conv2dFilterGrad', [image!, dy!], attrs, w),
      ],
      oracle: (image, dy) => [sumOver(dy, [0, 1, 2]), filterGrad(image, dy)],
      K: y[0]! * y[1]! * y[2]!,
      sumsElsewhere: true,
    }),
  ]
}

const conv: Case[] = [
  ...[...convolutions, ...manyChannels].flatMap((given) => convolutionRows(given)),
  ...manyChannels.flatMap((given) => convolutionRows(given, 'fast')),
  ...rounding.flatMap((given) => (['tf32', 'bf16'] as const).flatMap((numerics) => convolutionRows(given, numerics))),
]

/** From x to `middle` channels and on to `last`. */
function twoLayers(
  [name, call, f]: (typeof activations)[number],
  x: Shape,
  middle: number,
  last: number,
  numerics?: 'fast',
): Case {
  const [w1, w2]: [Shape, Shape] = [
    [3, 3, x[3]!, middle],
    [3, 3, middle, last],
  ]
  const first = geometry({ x, w: w1, padding: 'same' })
  const second = geometry({ x: first.y, w: w2, padding: 'same' })
  const convolve = (given: typeof first, w: Shape, image: ArrayLike<number>, filter: ArrayLike<number>): Exact =>
    sums(given.y, (add) => {
      eachProduct(given.window, w, 1, (i, j, k) => add(i, image[j]! * filter[k]!))
    })
  return row({
    op: 'conv2d',
    name: `two layers with bias and ${name} ${label(x)} to ${last}${numerics ? ' fast' : ''}`,
    inputs: [normal(x), normal(w1), normal([middle]), normal(w2), normal([last])],
    ...(numerics && { numerics }),
    build: ([image, f1, b1, f2, b2]) => {
      const h = call(ops.add(ops.conv2d(image!, f1!, { padding: 'same' }), b1!))
      return ops.add(ops.conv2d(h, f2!, { padding: 'same' }), b2!)
    },
    oracle: (image, f1, b1, f2, b2) => {
      const h = after(plusRow(convolve(first, w1, image.data, f1.data), b1), f)
      const { values } = convolve(second, w2, h.values, f2.data)
      if (!numerics) return plusRow({ values, terms: convolve(second, w2, h.terms, f2.data).terms }, b2)
      const inner = plusRow({ values: h.values, terms: forwardTerms(image, f1, first.y, first.window.pad) }, b1)
      const hidden = { shape: first.y, data: inner.terms }
      return plusRow({ values, terms: forwardTerms(hidden, f2, second.y, second.window.pad) }, b2)
    },
    K: 9 * (x[3]! + middle),
    gradientK: sizeOf(first.y),
    fuses: ['add', name, `${name}Grad`],
  })
}

const fusedConv: Case[] = activations.flatMap((activation, i) => [
  twoLayers(activation, [2, 6, 7, 3], 9, 4),
  ...(i < 2 ? [twoLayers(activation, [2, 11, 12, 20], 24, 17, 'fast')] : []),
])

// ---- Pools ---------------------------------------------------------------------------------------------------------

interface Pool {
  x: Shape
  kernel: [number, number]
  stride?: [number, number]
  padding?: [number, number]
}

const pools: Pool[] = [
  { x: [1, 1, 1, 1], kernel: [1, 1] },
  { x: [2, 6, 4, 3], kernel: [2, 2] },
  { x: [2, 7, 5, 17], kernel: [2, 2] },
  { x: [3, 34, 36, 19], kernel: [2, 2] },
  { x: [1, 8, 9, 5], kernel: [3, 3], stride: [2, 2], padding: [1, 1] },
  { x: [1, 7, 7, 2], kernel: [3, 2], stride: [1, 1] },
  { x: [1, 9, 8, 3], kernel: [2, 3], stride: [3, 4] },
  { x: [2, 5, 1, 9], kernel: [5, 1] },
  { x: [1, 5, 5, 3], kernel: [4, 4], stride: [1, 1], padding: [2, 2] },
  { x: [3, 35, 33, 17], kernel: [3, 3], stride: [2, 2], padding: [1, 1] },
]

const pool: Case[] = pools.flatMap((given) => {
  const { x, kernel } = given
  const stride = given.stride ?? kernel
  const padding = given.padding ?? [0, 0]
  const length = (i: 0 | 1): number => Math.floor((x[1 + i]! + 2 * padding[i] - kernel[i]) / stride[i]) + 1
  const y = [x[0]!, length(0), length(1), x[3]!]
  const window: Window = { x, y, kernel, stride, pad: padding }
  const attrs = {
    kernelH: kernel[0],
    kernelW: kernel[1],
    strideH: stride[0],
    strideW: stride[1],
    padTop: padding[0],
    padLeft: padding[1],
  }
  const name = `${label(x)} by ${kernel} stride ${stride} padding ${padding}`
  const area = kernel[0] * kernel[1]
  const largest = (image: Nd, covered: number[]): number => Math.max(...covered.map((i) => image.data[i]!))
  return [
    row({
      op: 'maxPool2d',
      name,
      inputs: [normal(x)],
      build: ([image]) => ops.maxPool2d(image!, kernel, { stride, padding }),
      oracle: (image) => {
        const covered = windowsOf(window)
        return table(y, (_, i) => largest(image, covered[i]!))
      },
      exactOnIntegers: true,
      gradientK: area,
    }),
    row({
      op: 'maxPool2dGrad',
      name,
      inputs: [normal(x), normal(y)],
      // The op is given the maxima too, as the derivative of maxPool2d does.
      build: ([image, dy]) =>
        byName('maxPool2dGrad', [dy!, image!, ops.maxPool2d(image!, kernel, { stride, padding })], attrs),
      oracle: (image, dy) =>
        sums(x, (add) => {
          windowsOf(window).forEach((covered, i) => {
            add(covered.find((j) => image.data[j] === largest(image, covered))!, dy.data[i]!)
          })
        }),
      K: area,
      exactOnIntegers: true,
      gradient: { none: secondDerivative, asking: 'throws' },
    }),
    ...[false, true].flatMap((countPadding) => [
      row({
        op: 'avgPool2d',
        name: `${name}${countPadding ? ' counted' : ''}`,
        inputs: [normal(x)],
        build: ([image]) => ops.avgPool2d(image!, kernel, { stride, padding, countPadding }),
        oracle: (image) => {
          const divisor = divisors(window, countPadding)
          return sums(y, (add) => {
            windowsOf(window).forEach((covered, i) => {
              for (const j of covered) add(i, image.data[j]! / divisor[i]!)
            })
          })
        },
        K: area,
      }),
      row({
        op: 'avgPool2dGrad',
        name: `${name}${countPadding ? ' counted' : ''}`,
        inputs: [normal(y)],
        build: (inputs) => byName('avgPool2dGrad', inputs, { ...attrs, countPadding: countPadding ? 1 : 0 }, x),
        oracle: (dy) => {
          const divisor = divisors(window, countPadding)
          return sums(x, (add) => {
            windowsOf(window).forEach((covered, i) => {
              for (const j of covered) add(j, dy.data[i]! / divisor[i]!)
            })
          })
        },
        K: area,
      }),
    ]),
  ]
})

// An activation before a pool: its derivative is applied to that of the pool before that is stored.
const pooledActivation: Case[] = activations.flatMap(([name, call, f]) =>
  [
    { x: [2, 6, 4, 17], kernel: [2, 2], stride: [2, 2] },
    { x: [2, 7, 5, 3], kernel: [2, 2], stride: [2, 2] },
    { x: [2, 7, 5, 3], kernel: [3, 3], stride: [2, 2] },
  ].flatMap(({ x, kernel, stride }) => {
    const size: [number, number] = [kernel[0]!, kernel[1]!]
    const steps: [number, number] = [stride[0]!, stride[1]!]
    const length = (i: 0 | 1): number => Math.floor((x[1 + i]! - size[i]) / steps[i]) + 1
    const y = [x[0]!, length(0), length(1), x[3]!]
    const window: Window = { x, y, kernel: size, stride: steps, pad: [0, 0] }
    const area = size[0] * size[1]
    const both = { inputs: [normal(x)], K: 8 + area, gradientK: area, fuses: [`${name}Grad`] }
    return [
      row({
        ...both,
        op: 'maxPool2d',
        name: `of ${name} ${label(x)} by ${size} stride ${steps}`,
        build: ([image]) => ops.maxPool2d(call(image!), size, { stride: steps }),
        oracle: (image) => {
          const covered = windowsOf(window)
          return table(y, (_, i) => Math.max(...covered[i]!.map((j) => f(image.data[j]!))))
        },
      }),
      row({
        ...both,
        op: 'avgPool2d',
        name: `of ${name} ${label(x)} by ${size} stride ${steps}`,
        build: ([image]) => ops.avgPool2d(call(image!), size, { stride: steps }),
        oracle: (image) =>
          sums(y, (add) => {
            windowsOf(window).forEach((covered, i) => {
              for (const j of covered) add(i, f(image.data[j]!) / area)
            })
          }),
      }),
    ]
  }),
)

const globalPool = row({
  op: 'avgPool2d',
  name: 'global [2, 5, 7, 3]',
  inputs: [normal([2, 5, 7, 3])],
  build: ([x]) => ops.globalAvgPool2d(x!),
  oracle: (x) => sumOver(x, [1, 2], 1 / 35),
  K: 35,
})

// ---- Normalization -------------------------------------------------------------------------------------------------

const channelShapes: Shape[] = [
  [2, 1],
  [7, 1],
  [17, 5],
  [9, 33],
  [2, 3, 4, 5],
  [1031, 67],
  [5000, 18],
]
const eps = 1e-3

/** dy where y > 0, else slope * dy. */
const throughKink = (dy: Nd, { values }: Exact, slope: number): Nd => ({
  shape: dy.shape,
  data: Array.from(dy.data, (g, i) => (values[i]! > 0 ? g : slope * g)),
})
const normThen = (shape: Shape): Case[] => {
  const c: Shape = shape.slice(-1)
  const rows = sizeOf(shape) / c[0]!
  return [
    // Among many elements some are so near to a kink that central differences see both sides of it.
    ...activations.slice(rows > 100 ? 3 : 0, rows > 100 ? 4 : 5).map(([name, call, f]) =>
      row({
        op: 'batchNorm',
        name: `then ${name} ${label(shape)}`,
        inputs: [normal(shape), positive(c), normal(c)],
        build: ([x, gamma, beta]) => call(ops.batchNorm(x!, gamma!, beta!, eps).y),
        oracle: (x, gamma, beta) => after(batchNorm(x, gamma, beta, eps)[0]!, f),
        K: rows,
        gradientK: 16 * rows,
        gradientTerms: 4,
        fuses: [name],
      }),
    ),
    row({
      op: 'batchNormInference',
      name: `then sigmoid ${label(shape)}`,
      inputs: [normal(shape), positive(c), normal(c), between(-0.5, 0.5)(c), positive(c)],
      build: ([x, gamma, beta, mean, variance]) =>
        ops.sigmoid(ops.batchNormInference(x!, gamma!, beta!, mean!, variance!, eps)),
      oracle: (...operands) => after(inference(...operands), sigmoid),
      gradientK: 16 * rows,
      fuses: ['sigmoid'],
    }),
  ]
}
const inference = (...operands: Nd[]): Exact =>
  combine(
    (v, g, b, m, s) => {
      const scale = g! / Math.sqrt(s! + eps)
      return [scale * (v! - m!) + b!, Math.abs(scale) * (Math.abs(v!) + Math.abs(m!)) + Math.abs(b!)]
    },
    ...operands,
  )

const folded: Case[] = (
  [
    [5, 9, 17],
    [67, 65, 130],
  ] as [number, number, number][]
).map(([n, from, to]) =>
  row({
    op: 'batchNormInference',
    name: `of a product, then relu [${n}, ${from}] to ${to}`,
    inputs: [
      normal([n, from]),
      normal([from, to]),
      normal([to]),
      positive([to]),
      normal([to]),
      normal([to]),
      positive([to]),
    ],
    build: ([x, w, bias, ...operands]) => {
      const [gamma, beta, mean, variance] = operands as [Tensor, Tensor, Tensor, Tensor]
      const y = ops.batchNormInference(ops.add(ops.matmul(x!, w!), bias!), gamma, beta, mean, variance, eps)
      return ops.stopGradient(ops.relu(y))
    },
    oracle: (x, w, bias, gamma, beta, mean, variance) => {
      const sum = plusRow(product(x, w), bias)
      const values = inference(asNd([n, to], sum), gamma, beta, mean, variance)
      const terms = inference(asNd([n, to], { ...sum, values: sum.terms }), gamma, beta, mean, variance)
      return after({ values: values.values, terms: terms.terms }, (v) => Math.max(0, v))
    },
    K: from + 4,
    gradient: { none: 'it would read the product again, and nothing were folded', asking: 'gives zeros' },
    fuses: ['add', 'mul', 'relu'],
    passesRound: true,
  }),
)

const norm: Case[] = [
  ...folded,
  ...channelShapes.flatMap((shape) => {
    const c: Shape = shape.slice(-1)
    const rows = sizeOf(shape) / c[0]!
    const small = (s: Shape): Input => between(-0.5, 0.5)(s)
    return [
      row({
        op: 'batchNorm',
        name: label(shape),
        inputs: [normal(shape), positive(c), normal(c)],
        build: ([x, gamma, beta]) => {
          const { y, mean, variance } = ops.batchNorm(x!, gamma!, beta!, eps)
          return [y, mean, variance]
        },
        oracle: (x, gamma, beta) => batchNorm(x, gamma, beta, eps),
        K: rows,
        differentiable: 1,
        gradientK: 16 * rows,
        gradientTerms: 4,
      }),
      row({
        op: 'batchNormGrad',
        name: label(shape),
        inputs: [normal(shape), normal(shape), positive(c), small(c), positive(c)],
        build: (inputs) => byName('batchNormGrad', inputs, { eps }),
        oracle: (dy, x, gamma, mean, variance) => batchNormGrad(dy, x, gamma, mean, variance, eps),
        K: rows,
        gradient: { none: 'second derivatives of batch norm are not offered', asking: 'throws' },
      }),
      ...[0, 0.25].map((slope) =>
        row({
          op: 'batchNormGrad',
          name: `through an activation of slope ${slope} ${label(shape)}`,
          inputs: [normal(shape), normal(shape), positive(c), small(c), positive(c), normal(c)],
          build: (inputs) => byName('batchNormGrad', inputs, { eps, slope }),
          oracle: (dy, x, gamma, mean, variance, beta) => {
            const y = inference(x, gamma, beta, mean, variance)
            return batchNormGrad(throughKink(dy, y, slope), x, gamma, mean, variance, eps)
          },
          K: rows,
          gradient: { none: 'second derivatives of batch norm are not offered', asking: 'throws' },
        }),
      ),
      row({
        op: 'batchNormInference',
        name: label(shape),
        inputs: [normal(shape), positive(c), normal(c), small(c), positive(c)],
        build: ([x, gamma, beta, mean, variance]) => ops.batchNormInference(x!, gamma!, beta!, mean!, variance!, eps),
        oracle: inference,
        gradientK: 16 * rows,
      }),
    ]
  }),
  ...(
    [
      [17, 5],
      [2, 3, 4, 5],
      [1031, 67],
      [5000, 18],
    ] as Shape[]
  ).flatMap(normThen),
  ...([[1], [17], [3, 1], [5, 9], [2, 3, 33], [515, 129]] as Shape[]).flatMap((shape) => [
    row({
      op: 'softmax',
      name: label(shape),
      inputs: [normal(shape)],
      build: ([x]) => ops.softmax(x!),
      oracle: (x) => softmaxRows(x).p,
      K: shape.at(-1)!,
    }),
    row({
      op: 'softmaxGrad',
      name: label(shape),
      inputs: [normal(shape), probabilities(shape)],
      build: ([dy, y]) => ops.softmaxGrad(dy!, y!),
      oracle: (dy, y) => {
        const k = shape.at(-1)!
        return table(shape, (_, i) => {
          const begin = i - (i % k)
          let inner = 0
          let terms = 0
          for (let j = begin; j < begin + k; j++) {
            inner += dy.data[j]! * y.data[j]!
            terms += Math.abs(dy.data[j]! * y.data[j]!)
          }
          return [y.data[i]! * (dy.data[i]! - inner), Math.abs(y.data[i]!) * (Math.abs(dy.data[i]!) + terms)]
        })
      },
      K: shape.at(-1)!,
    }),
  ]),
]

// ---- Moving elements -----------------------------------------------------------------------------------------------

const exactly = (shape: Shape, from: (index: readonly number[], i: number) => number): Exact => table(shape, from)
const noGradient = { none: 'no float goes in', asking: 'is impossible' } as const

const move: Case[] = [
  ...([[1], [17], [5, 33], [70_001]] as Shape[]).map((shape) =>
    row({
      op: 'copy',
      name: label(shape),
      inputs: [normal(shape)],
      build: (inputs) => byName('copy', inputs, { dtype: 0 }),
      oracle: (x) => map(x, (v) => v),
      exactOnIntegers: true,
    }),
  ),
  row({
    op: 'copy',
    name: 'float to int32 [33]',
    inputs: [away([33])],
    build: ([x]) => ops.cast(x!, 'int32'),
    oracle: (x) => map(x, Math.trunc),
    exactOnIntegers: true,
    gradient: { none: 'an integer has no derivative', asking: 'is impossible' },
  }),
  row({
    op: 'copy',
    name: 'int32 to float [33]',
    inputs: [indices([33], 1000)],
    build: ([x]) => ops.cast(x!, 'float32'),
    oracle: (x) => map(x, (v) => v),
    gradient: noGradient,
  }),
  row({
    op: 'copy',
    name: 'uint8 to float [33]',
    inputs: [bytes([33])],
    build: ([x]) => ops.cast(x!, 'float32'),
    oracle: (x) => map(x, (v) => v),
    gradient: noGradient,
  }),
  row({
    op: 'reshape',
    name: '[6, 35] to [7, 2, 15]',
    inputs: [normal([6, 35])],
    build: ([x]) => ops.tanh(ops.reshape(ops.relu(ops.reshape(x!, [7, -1])), [7, 2, 15])),
    oracle: (x) => map(x, (v) => Math.tanh(Math.max(0, v))),
  }),
  row({
    op: 'stopGradient',
    name: '[6, 35]',
    inputs: [normal([6, 35])],
    build: ([x]) => ops.stopGradient(ops.tanh(x!)),
    oracle: (x) => map(x, Math.tanh),
    gradient: { none: 'that is its purpose', asking: 'gives zeros' },
  }),
  ...([[], [17], [5, 33], [70_001]] as Shape[]).map((shape) =>
    row({
      op: 'fill',
      name: label(shape),
      inputs: [],
      build: () => ops.fill(shape, -1.625),
      oracle: () => exactly(shape, () => -1.625),
      gradient: noGradient,
    }),
  ),
  ...(
    [
      [[], [7]],
      [[1], [33]],
      [[9], [5, 9]],
      [
        [5, 1],
        [5, 9],
      ],
      [
        [3, 1, 5],
        [2, 3, 4, 5],
      ],
      [
        [2, 1, 3, 1, 2, 1],
        [2, 5, 3, 2, 2, 3],
      ],
      [[257], [301, 257]],
    ] as [Shape, Shape][]
  ).map(([from, to]) =>
    row({
      op: 'broadcast',
      name: `${label(from)} to ${label(to)}`,
      inputs: [normal(from)],
      build: ([x]) => ops.broadcast(x!, to),
      oracle: (x) => exactly(to, (index) => x.data[positionOf(from, index)]!),
      gradientK: sizeOf(to) / sizeOf(from),
      exactOnIntegers: true,
    }),
  ),
  ...(
    [
      [[17], [0]],
      [
        [5, 33],
        [1, 0],
      ],
      [
        [3, 5, 7],
        [2, 0, 1],
      ],
      [
        [2, 3, 4, 5],
        [0, 2, 3, 1],
      ],
      [
        [2, 3, 2, 3, 2, 3],
        [5, 0, 4, 2, 1, 3],
      ],
      [
        [301, 257],
        [1, 0],
      ],
    ] as [Shape, number[]][]
  ).map(([shape, order]) => {
    const to = order.map((axis) => shape[axis]!)
    return row({
      op: 'transpose',
      name: `${label(shape)} by ${order}`,
      inputs: [normal(shape)],
      build: ([x]) => ops.transpose(x!, order),
      oracle: (x) => exactly(to, (index) => at(x, ...shape.map((_, axis) => index[order.indexOf(axis)]!))),
      exactOnIntegers: true,
    })
  }),
  ...(
    [
      [[[3], [5]], 0],
      [
        [
          [5, 9],
          [5, 1],
          [5, 4],
        ],
        1,
      ],
      [
        [
          [2, 3, 5],
          [4, 3, 5],
        ],
        0,
      ],
      [
        [
          [2, 3, 5],
          [2, 1, 5],
        ],
        -2,
      ],
      // More than one op takes.
      [Array.from({ length: 11 }, (_, i) => [3, 1 + (i % 3)]), 1],
      [
        [
          [257, 129],
          [257, 130],
        ],
        1,
      ],
    ] as [Shape[], number][]
  ).map(([list, axis]) => {
    const along = axis < 0 ? axis + list[0]!.length : axis
    const length = list.reduce((total, shape) => total + shape[along]!, 0)
    const to = list[0]!.map((dim, i) => (i === along ? length : dim))
    return row({
      op: 'concat',
      name: `${list.length > 3 ? `${list.length} tensors` : label(...list)} along ${axis}`,
      inputs: list.map(normal),
      build: (inputs) => ops.concat(inputs, axis),
      oracle: (...given) =>
        exactly(to, (index) => {
          let which = 0
          let place = index[along]!
          while (place >= given[which]!.shape[along]!) place -= given[which++]!.shape[along]!
          return at(given[which]!, ...index.map((v, i) => (i === along ? place : v)))
        }),
      exactOnIntegers: true,
    })
  }),
  ...(
    [
      [[17], [3], [9]],
      [
        [5, 9],
        [0, 4],
        [5, 5],
      ],
      [
        [4, 5, 6],
        [1, 2, 0],
        [2, 1, 6],
      ],
      [
        [3, 2, 3, 2, 3, 2],
        [1, 0, 1, 1, 0, 0],
        [2, 1, 2, 1, 3, 2],
      ],
      [
        [301, 257],
        [40, 3],
        [257, 250],
      ],
    ] as [Shape, number[], Shape][]
  ).flatMap(([outer, begin, inner]) => [
    row({
      op: 'slice',
      name: `${label(inner)} of ${label(outer)} at ${begin}`,
      inputs: [normal(outer)],
      build: ([x]) => ops.slice(x!, begin, inner),
      oracle: (x) => exactly(inner, (index) => at(x, ...index.map((v, i) => v + begin[i]!))),
      exactOnIntegers: true,
    }),
    row({
      op: 'pad',
      name: `${label(inner)} to ${label(outer)} at ${begin}`,
      inputs: [normal(inner)],
      build: ([x]) =>
        ops.pad(
          x!,
          begin,
          outer.map((dim, i) => dim - inner[i]! - begin[i]!),
        ),
      oracle: (x) =>
        exactly(outer, (index) => {
          const inside = index.map((v, i) => v - begin[i]!)
          return inside.every((v, i) => v >= 0 && v < inner[i]!) ? at(x, ...inside) : 0
        }),
      exactOnIntegers: true,
    }),
  ]),
  ...(
    [
      [[7, 5], 9],
      [[1], 3],
      [[33, 3, 5], 17],
      [[1009, 67], 1500],
    ] as [Shape, number][]
  ).flatMap(([rows, n]) => {
    const to = [n, ...rows.slice(1)]
    const inner = sizeOf(to) / n
    return [
      row({
        op: 'gather',
        name: `${n} of ${label(rows)}`,
        inputs: [normal(rows), indices([n], rows[0]!)],
        build: ([t, which]) => ops.gather(t!, which!, { factor: 0.5, offset: -2 }),
        oracle: (t, which) =>
          table(to, (_, i) => {
            const value = t.data[which.data[Math.floor(i / inner)]! * inner + (i % inner)]!
            return [0.5 * value - 2, 0.5 * Math.abs(value) + 2]
          }),
        gradientK: n,
      }),
      row({
        op: 'gatherGrad',
        name: `${n} of ${label(rows)}`,
        inputs: [normal(to), indices([n], rows[0]!)],
        build: (inputs) => byName('gatherGrad', inputs, { factor: 0.5 }, rows),
        oracle: (dy, which) =>
          sums(rows, (add) => {
            for (let i = 0; i < n * inner; i++) {
              add(which.data[Math.floor(i / inner)]! * inner + (i % inner), 0.5 * dy.data[i]!)
            }
          }),
        K: n,
      }),
    ]
  }),
  row({
    op: 'gather',
    name: 'uint8 rows, scaled',
    inputs: [bytes([9, 4, 5]), indices([17], 9)],
    build: ([t, which]) => ops.gather(t!, which!, { factor: 1 / 256, offset: -0.5 }),
    oracle: (t, which) => exactly([17, 4, 5], ([i, j, k]) => at(t, which.data[i!]!, j!, k!) / 256 - 0.5),
    gradient: noGradient,
  }),
  row({
    op: 'gather',
    name: 'int32 rows',
    inputs: [indices([9], 100), indices([17], 9)],
    build: ([t, which]) => ops.gather(t!, which!),
    oracle: (t, which) => exactly([17], ([i]) => t.data[which.data[i!]!]!),
    gradient: noGradient,
  }),
]

// ---- Losses --------------------------------------------------------------------------------------------------------

const finite: Case[] = shapes.map((shape) =>
  row({
    op: 'requireFinite',
    name: label(shape),
    inputs: [normal(shape)],
    build: ([x]) => ops.requireFinite(x!),
    oracle: (x) => map(x, (v) => v),
    exactOnIntegers: true,
  }),
)

const onlyProbabilities = row({
  op: 'softmaxCrossEntropy',
  name: 'only the probabilities are read [7, 9]',
  inputs: [normal([7, 9]), indices([7], 9)],
  build: ([x, t]) => ops.softmaxCrossEntropy(x!, t!).probabilities,
  oracle: (x) => softmaxRows(x).p,
  K: 9,
})

const losses: Case[] = (
  [
    [1, 1],
    [1, 9],
    [7, 2],
    [33, 10],
    [515, 129],
  ] as [number, number][]
).flatMap(([n, k]) =>
  (
    [
      ['labels', indices([n], k)],
      ['weights', probabilities([n, k])],
    ] as [string, Input][]
  ).flatMap(([kind, labels]) => [
    row({
      op: 'softmaxCrossEntropy',
      name: `[${n}, ${k}] ${kind}`,
      inputs: [normal([n, k]), labels],
      build: ([x, t]) => {
        const { loss, probabilities } = ops.softmaxCrossEntropy(x!, t!)
        return [loss, probabilities]
      },
      oracle: crossEntropy,
      K: k,
    }),
    row({
      op: 'softmaxCrossEntropyGrad',
      name: `[${n}, ${k}] ${kind}`,
      inputs: [normal([n]), probabilities([n, k]), labels],
      build: (inputs) => byName('softmaxCrossEntropyGrad', inputs),
      oracle: (dloss, p, t) => {
        const weights = classWeights(t, n, k)
        const total = sumOver(weights, [1]).values
        return table([n, k], ([i, j]) => {
          const [a, b] = [at(p, i!, j!) * total[i!]!, at(weights, i!, j!)]
          return [dloss.data[i!]! * (a - b), Math.abs(dloss.data[i!]!) * (a + b)]
        })
      },
      K: k,
      gradient: { none: 'second derivatives of this loss are not offered', asking: 'throws' },
    }),
  ]),
)

const hot: Case[] = (
  [
    [[], 3],
    [[1], 1],
    [[17], 10],
    [[5, 3], 7],
    [[4001], 13],
  ] as [Shape, number][]
).flatMap(([shape, k]) =>
  [undefined, k - 1].map((ignore) =>
    row({
      op: 'oneHot',
      name: `${label(shape)} of ${k}${ignore === undefined ? '' : `, ${ignore} ignored`}`,
      inputs: [indices(shape, k)],
      build: ([labels]) => ops.oneHot(labels!, k, ignore === undefined ? {} : { ignore }),
      oracle: (labels) =>
        table([...shape, k], (index) => {
          const chosen = labels.data[positionOf(shape, index.slice(0, -1))]!
          return chosen === index.at(-1) && chosen !== ignore ? 1 : 0
        }),
      gradient: noGradient,
    }),
  ),
)

// ---- Random --------------------------------------------------------------------------------------------------------

const seeded = { seed: 2 ** 40 + 12345, step: 7 }
const randomShapes: Shape[] = [[1], [17], [5, 33], [20_001]]
const zerosAsked = { none: 'random numbers depend on no float', asking: 'is impossible' } as const

const random: Case[] = randomShapes.flatMap((shape) => {
  const size = sizeOf(shape)
  const bitsOf = (purpose: 'dropout' | 'uniform' | 'normal', stream: number): number[] =>
    randomBits(seeded, stream, purpose, size + 1)
  return [
    row({
      op: 'dropout',
      name: label(shape),
      inputs: [normal(shape), step(seeded)],
      build: ([x, state]) => ops.dropout(x!, 0.3, { step: state!, stream: 3 }),
      oracle: (x) => {
        const bits = bitsOf('dropout', 3)
        return table(shape, (_, i) => (fraction(bits[i]!) >= 0.3 ? x.data[i]! / 0.7 : 0))
      },
    }),
    row({
      op: 'randomUniform',
      name: label(shape),
      inputs: [step(seeded)],
      build: ([state]) => ops.randomUniform(shape, -2, 3, { step: state!, stream: 4 }),
      oracle: () => {
        const bits = bitsOf('uniform', 4)
        return table(shape, (_, i) => [-2 + 5 * fraction(bits[i]!), 7])
      },
      gradient: zerosAsked,
    }),
    row({
      op: 'randomNormal',
      name: label(shape),
      inputs: [step(seeded)],
      build: ([state]) => ops.randomNormal(shape, 0.5, 2, { step: state!, stream: 5 }),
      oracle: () => {
        const bits = bitsOf('normal', 5)
        // Box and Muller: a pair of uniform numbers gives a pair of normal ones.
        return table(shape, (_, i) => {
          const pair = i - (i % 2)
          const radius = Math.sqrt(-2 * Math.log(1 - fraction(bits[pair]!)))
          const angle = 2 * Math.PI * fraction(bits[pair + 1]!)
          return [0.5 + 2 * radius * (i % 2 === 0 ? Math.cos(angle) : Math.sin(angle)), 0.5 + 2 * radius]
        })
      },
      gradient: zerosAsked,
    }),
  ]
})

// [n, h, w, c], window, padding, chances of turning upside down and mirroring
const windows: [Shape, [number, number], [number, number], [number, number]][] = [
  [
    [1, 1, 1, 1],
    [1, 1],
    [0, 0],
    [0, 1],
  ],
  [
    [6, 5, 7, 3],
    [5, 7],
    [2, 1],
    [0.5, 0.5],
  ],
  [
    [9, 28, 28, 1],
    [28, 28],
    [3, 3],
    [0, 0.25],
  ],
  [
    [4, 9, 8, 5],
    [4, 3],
    [0, 0],
    [1, 0],
  ],
  [
    [3, 4, 4, 2],
    [6, 7],
    [1, 2],
    [0.5, 1],
  ],
]
const cropped: Case[] = windows.map(([shape, size, padding, [vertical, horizontal]]) => {
  const [n, h, w, c] = shape as [number, number, number, number]
  return row({
    op: 'cropFlip',
    name: `${label(shape)} to ${size} beyond by ${padding}`,
    inputs: [normal(shape), step(seeded)],
    build: ([x, state]) =>
      ops.cropFlip(x!, { size, padding, vertical, horizontal, fill: 0.5, step: state!, stream: 9 }),
    oracle: (x) => {
      // Four numbers an image: where the window begins, and whether it is turned.
      const bits = randomBits(seeded, 9, 'window', 4 * n)
      const first = (image: number, axis: number, length: number): number =>
        Math.floor((bits[4 * image + axis]! * (length + 2 * padding[axis]! - size[axis]! + 1)) / 2 ** 32) -
        padding[axis]!
      return table([n, ...size, c], (_, i) => {
        const [k, j, r, image] = [
          i % c,
          Math.floor(i / c) % size[1],
          Math.floor(i / c / size[1]) % size[0],
          Math.floor(i / c / size[1] / size[0]),
        ]
        const upside = fraction(bits[4 * image + 2]!) < vertical
        const mirrored = fraction(bits[4 * image + 3]!) < horizontal
        const y = first(image, 0, h) + (upside ? size[0] - 1 - r : r)
        const left = first(image, 1, w) + (mirrored ? size[1] - 1 - j : j)
        return y < 0 || y >= h || left < 0 || left >= w ? 0.5 : x.data[((image * h + y) * w + left) * c + k]!
      })
    },
  })
})

const sampled: Case[] = (['none', 'epoch', 'replacement'] as const).flatMap((shuffle, code) =>
  (
    [
      [5, 17],
      [33, 1000],
      [7, 7],
    ] as [number, number][]
  ).map(([batch, samples]) => {
    const state = { ...seeded, epoch: 3, first: samples - 4 }
    return row({
      op: 'sampleRows',
      name: `${batch} of ${samples}, ${shuffle}`,
      inputs: [step(state)],
      build: (inputs) => byName('sampleRows', inputs, { samples, shuffle: code }, [batch]),
      oracle: () => {
        const bits = randomBits(state, 0, 'choice', batch)
        return table([batch], (_, i) => {
          const position = (state.first + i) % samples
          if (shuffle === 'none') return position
          if (shuffle === 'epoch') return permuted(position, samples, state.seed, state.epoch)
          return Math.floor((bits[i]! * samples) / 2 ** 32)
        })
      },
      gradient: zerosAsked,
    })
  }),
)

const stepState = { ...seeded, updates: 7, rate: 0.01, rateFactor: 0.5, clipScale: 0.25, groupSteps: 3, groupRows: 24 }
const stepNumbers: Case[] = (['rate', 'clipScale', 'updates', 'groupSteps', 'groupRows'] as const).map((field) =>
  row({
    op: 'stepValue',
    name: field,
    inputs: [step(stepState)],
    build: ([state]) => ops.stepValue(field, state!),
    // The rate that counts is that of the schedule times what lowered it between steps.
    oracle: () => table([1], () => stepState[field] * (field === 'rate' ? stepState.rateFactor : 1)),
    gradient: zerosAsked,
  }),
)

export const cases: readonly Case[] = [
  ...elementwise,
  ...reduce,
  ...matmul,
  ...columnSums,
  ...fused,
  ...conv,
  ...fusedConv,
  ...pool,
  ...pooledActivation,
  globalPool,
  ...norm,
  ...move,
  ...finite,
  onlyProbabilities,
  ...losses,
  ...hot,
  ...random,
  ...cropped,
  ...sampled,
  ...stepNumbers,
]
