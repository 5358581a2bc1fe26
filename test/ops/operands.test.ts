// Calls of ops with operands that are no tensors and options that do not exist: each is refused with an error of the
// library, whether the function reads its operands itself or leaves them to its op. Values are run.test.ts.
import { describe, expect, it } from 'vitest'
import { GradlineError, ops, record, stepState, Tensor, variable } from '../../src/index.js'

const x = variable([2, 3], { name: 'x' })
const even = variable([2, 4], { name: 'even' })
const image = variable([1, 4, 4, 1], { name: 'image' })
const filter = variable([2, 2, 1, 1], { name: 'filter' })
const row = variable([3], { name: 'row' })
const labels = variable([2], { name: 'labels', dtype: 'int32' })
const w = variable([16], { name: 'w' })
const step = stepState()

const one = [x]
const pair = [x, x]
const flat = [w, w, w, step]
const slots = (count: number) => [w, Array.from({ length: count }, () => w), w, step]
const adam = { beta1: 0.9, beta2: 0.99, eps: 1e-8 }

/** Arguments of a right call, by name of the op. Every function of `ops` has a row. */
const calls: Record<string, readonly unknown[]> = {
  abs: one,
  accuracy: [x, labels],
  accumulateGradient: [...flat, 2],
  adadeltaUpdate: [...slots(2), { rho: 0.9, eps: 1e-8 }],
  adagradUpdate: [...slots(1), { eps: 1e-8 }],
  adamaxUpdate: [...slots(2), adam],
  adamUpdate: [w, w, w, w, step, adam],
  add: pair,
  amsgradUpdate: [...slots(3), adam],
  argmax: one,
  assign: [w, w],
  averageWeights: [w, w, 0.9, step],
  avgPool2d: [image, 2, { stride: 2 }],
  batchNorm: [x, row, row],
  batchNormInference: [x, row, row, row, row],
  broadcast: [x, [2, 2, 3]],
  cast: [x, 'int32'],
  collectGradients: [w.region, [{ variable: w, gradient: w }]],
  concat: [[x, x], 0],
  conv2d: [image, filter, { stride: 1 }],
  convTranspose2d: [image, filter, { stride: 1 }],
  countGroup: [step, { size: 2, rows: 1, samples: 0 }],
  div: pair,
  cropFlip: [image, { step, stream: 0 }],
  dropout: [x, 0, { step, stream: 0 }],
  elu: one,
  equal: pair,
  erf: one,
  exp: one,
  fill: [[2], 1],
  gather: [x, labels, { factor: 2 }],
  gelu: [x, {}],
  globalAvgPool2d: [image],
  glu: [even],
  greater: pair,
  hardSigmoid: one,
  hardTanh: one,
  leakyRelu: one,
  lionUpdate: [...slots(1), { beta1: 0.9, beta2: 0.99 }],
  log: one,
  log1p: one,
  logSoftmax: one,
  matmul: [x, x, { transposeB: true }],
  max: [x, { axes: 0 }],
  maximum: pair,
  maxNorm: [w, 1, step],
  maxPool2d: [image, 2, { stride: 2 }],
  mean: [x, { axes: 0 }],
  meanSquaredError: pair,
  minimum: pair,
  mish: one,
  momentumUpdate: [...flat, { beta: 0.9, nesterov: false, rateOutside: false }],
  mul: pair,
  nadamUpdate: [...slots(2), { ...adam, momentumDecay: 0.004 }],
  neg: one,
  oneHot: [labels, 3, {}],
  pad: [x, [0, 0], [1, 1]],
  prelu: [x, row],
  prepareUpdate: [step, [w], 0, {}],
  radamUpdate: [...slots(2), adam],
  randomNormal: [[2], 0, 1, { step, stream: 0 }],
  randomUniform: [[2], 0, 1, { step, stream: 0 }],
  relu: one,
  relu6: one,
  requireFinite: one,
  reshape: [x, [3, 2]],
  rmspropMomentumUpdate: [...slots(3), { rho: 0.9, eps: 1e-8, centered: true, momentum: 0.9 }],
  rmspropUpdate: [...slots(1), { rho: 0.9, eps: 1e-8 }],
  sampleRows: [2, 4],
  scale: [x, 2],
  scheduleRate: [step, 'step', { kind: 'constant', begin: 0, base: 0.1 }],
  select: [x, x, x],
  selu: one,
  sgdUpdate: [w, w, step],
  sigmoid: one,
  sign: one,
  silu: one,
  slice: [x, [0, 0], [1, 1]],
  softmax: one,
  softmaxCrossEntropy: [x, labels],
  softmaxGrad: pair,
  softplus: one,
  softsign: one,
  sqrt: one,
  square: one,
  stepValue: ['rate', step],
  stopGradient: one,
  sub: pair,
  sum: [x, { axes: 0 }],
  tanh: one,
  transpose: [x, [1, 0]],
  vector: [[1, 2]],
  weightedSum: [x, x, 1, 2],
}

const wrong = [null, 'relu', [1, 2], {}, { shape: [2, 3] }, new Float32Array(6), () => x, 3]
/** A number stands for a tensor here. */
const takesNumbers = new Set(
  'add sub mul div maximum minimum greater select prelu weightedSum square hardTanh'.split(' '),
)
/** Without it the step state of the program is taken. */
const mayBeNull = new Set(['stepValue'])

const isOptions = (value: unknown): boolean => Object.getPrototypeOf(value) === Object.prototype

/** What a call of the op throws, eager or, where it has to be, recorded. */
function thrown(name: string, args: readonly unknown[]): unknown {
  try {
    record(
      () => {
        ;(ops as unknown as Record<string, (...args: unknown[]) => unknown>)[name]!(...args)
        return []
      },
      {},
      { step },
    )
  } catch (error) {
    return error
  }
  return undefined
}

it('every function of ops has a row', () => {
  expect(Object.keys(ops).sort()).toEqual(Object.keys(calls).sort())
})

describe.each(Object.entries(calls))('%s', (name, args) => {
  it('accepts the right arguments', () => expect(thrown(name, args)).toBeUndefined())

  it('refuses what is no tensor', () => {
    for (const [i, arg] of args.entries()) {
      for (const value of wrong) {
        const error = thrown(name, args.with(i, value))
        const mustThrow =
          arg instanceof Tensor &&
          !(typeof value === 'number' && takesNumbers.has(name)) &&
          !(value === null && mayBeNull.has(name))
        if (mustThrow) expect(error, `argument ${i} = ${String(value)}`).toBeInstanceOf(GradlineError)
        else if (error) expect(error).toBeInstanceOf(GradlineError)
      }
    }
  })

  it('refuses options that it does not have', () => {
    for (const [i, arg] of args.entries()) {
      // Of an update rule every attribute is required, so a misspelt one is missed.
      if (!isOptions(arg) || name.endsWith('Update')) continue
      const error = thrown(name, args.with(i, { ...(arg as object), strides: 1 }))
      expect(error).toBeInstanceOf(GradlineError)
      expect((error as Error).message).toContain('"strides"')
    }
  })
})
