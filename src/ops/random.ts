// Random numbers inside a step: dropout, uniform and normal tensors, and the choice of the step's rows. Every number is a
// function of (seed, step, stream, position), so it is the same on every device, and a mask is never stored.

import { checkFinite, checkInteger, checkOneOf, checkOptions } from '../errors.js'
import { apply1, currentGraph } from '../graph.js'
import { checkFloat, checkStep, checkTensors, defineOp, type Op } from '../op.js'
import { checkShape, type Shape } from '../shape.js'
import type { Tensor, Variable } from '../tensor.js'

export interface RandomOptions {
  /** Step state that gives seed and step. Default: the one of the program being recorded. */
  step?: Tensor
  /** Number of the stream; two uses of one stream in a step draw equal numbers. Default: a new one. */
  stream?: number
}

function source(what: string, options: RandomOptions): { step: Tensor; stream: number } {
  checkOptions(what, options, ['step', 'stream'])
  return {
    step: options.step ?? currentGraph(`${what} without options.step`).useStep(),
    stream: options.stream ?? currentGraph(`${what} without options.stream`).nextStream(),
  }
}

const dropoutOp: Op = defineOp({
  name: 'dropout',
  attrs: ['rate', 'stream'],
  inPlace: true,
  shape: ([x, step]) => {
    checkFloat('dropout', x as Tensor)
    checkStep('dropout', step as Tensor)
    return [{ shape: (x as Tensor).shape, dtype: 'float32' }]
  },
  // The mask is a function of the step: applied to the gradient, the op is its own derivative.
  backward: ([g], { inputs: [, step], attrs }) => [apply1(dropoutOp, [g as Tensor, step as Tensor], attrs), undefined],
})

/** Sets a share `rate` of the elements to 0 and divides the others by 1 - rate, so that the expectation stays. */
export function dropout(x: Tensor, rate = 0.5, options: RandomOptions = {}): Tensor {
  checkTensors('dropout', x)
  checkFinite('rate of dropout', rate, { min: 0, below: 1 })
  const { step, stream } = source('dropout', options)
  return rate === 0 ? x : apply1(dropoutOp, [x, step], { rate, stream })
}

function generator(name: string, attrs: string[]): Op {
  return defineOp({
    name,
    attrs,
    shape: ([step], _, asked) => {
      checkStep(name, step as Tensor)
      return [{ shape: asked, dtype: 'float32' }]
    },
    backward: () => [undefined],
  })
}

const randomUniformOp = generator('randomUniform', ['low', 'high', 'stream'])
const randomNormalOp = generator('randomNormal', ['mean', 'std', 'stream'])

/** Uniform numbers in [low, high), default [0, 1), with 24 random bits each. */
export function randomUniform(shape: Shape, low = 0, high = 1, options: RandomOptions = {}): Tensor {
  checkFinite('low of randomUniform', low)
  checkFinite('high of randomUniform', high, { min: low })
  const { step, stream } = source('randomUniform', options)
  return apply1(randomUniformOp, [step], { low, high, stream }, checkShape('shape of randomUniform', shape))
}

/** Normal numbers, default mean 0 and standard deviation 1. */
export function randomNormal(shape: Shape, mean = 0, std = 1, options: RandomOptions = {}): Tensor {
  checkFinite('mean of randomNormal', mean)
  checkFinite('std of randomNormal', std, { min: 0 })
  const { step, stream } = source('randomNormal', options)
  return apply1(randomNormalOp, [step], { mean, std, stream }, checkShape('shape of randomNormal', shape))
}

const sampleRowsOp = defineOp({
  name: 'sampleRows',
  attrs: ['samples', 'shuffle'],
  shape: ([step], _, asked) => {
    checkStep('sampleRows', step as Tensor)
    return [{ shape: asked, dtype: 'int32' }]
  },
  backward: () => [undefined],
})

/** 'epoch': each row once per epoch, in a new order; 'none': in order; 'replacement': any row, any number of times. */
export type Shuffle = 'none' | 'epoch' | 'replacement'
const shuffles: readonly Shuffle[] = ['none', 'epoch', 'replacement']

/** int32 row numbers [batch] of this step's batch out of `samples` rows; each step takes the next rows of the epoch. */
export function sampleRows(batch: number, samples: number, shuffle: Shuffle = 'epoch', state?: Variable): Tensor {
  checkInteger('batch', batch, { min: 1 })
  checkInteger('samples', samples, { min: shuffle === 'replacement' ? 1 : batch })
  checkOneOf('shuffle', shuffle, shuffles)
  const graph = currentGraph('sampleRows()')
  const step = graph.useStep(state)
  graph.useRows(step, batch, samples)
  return apply1(sampleRowsOp, [step], { samples, shuffle: shuffles.indexOf(shuffle) }, [batch])
}
