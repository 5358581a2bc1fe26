// Random numbers inside a step: dropout, windows of images, uniform and normal tensors, and the choice of the step's rows. Every number is a
// function of (seed, step, stream, position), so it is the same on every device, and a mask is never stored.

import { checkFinite, checkInteger, checkOneOf, checkOptions } from '../errors.js'
import { apply1, currentGraph } from '../graph.js'
import { checkFloat, checkStep, checkTensors, defineOp, expectTensor, type Op } from '../op.js'
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

export interface CropFlipOptions extends RandomOptions {
  /** [h, w] of the window. Default: that of the images. */
  size?: readonly [h: number, w: number]
  /** Rows and columns that a window may reach beyond the image, on either side. Default [0, 0]. */
  padding?: readonly [vertical: number, horizontal: number]
  /** Probabilities of turning a window upside down, and of mirroring it. Default 0. */
  vertical?: number
  horizontal?: number
  /** What lies beyond the image. Default 0. */
  fill?: number
}

const cropFlipOp: Op = defineOp({
  name: 'cropFlip',
  attrs: ['top', 'left', 'vertical', 'horizontal', 'fill', 'stream', 'back'],
  shape: ([x, step], _, asked) => {
    checkFloat('cropFlip', x as Tensor)
    checkStep('cropFlip', step as Tensor)
    return [{ shape: asked, dtype: 'float32' }]
  },
  // A pixel comes from one place at most, so the gradient goes back there by the same draws.
  backward: ([g], { inputs: [x, step], attrs }) => [
    apply1(
      cropFlipOp,
      [g as Tensor, step as Tensor],
      { ...attrs, back: 1 - (attrs.back as number) },
      (x as Tensor).shape,
    ),
    undefined,
  ],
})

/**
 * Of each image [h, w, c] of x [n, h, w, c] a window of its own at a random place, upside down or mirrored by chance: exact
 * copies of pixels, the same on every device.
 */
export function cropFlip(x: Tensor, options: CropFlipOptions = {}): Tensor {
  const {
    size,
    padding = [0, 0],
    vertical = 0,
    horizontal = 0,
    fill = 0,
    ...random
  } = checkOptions('cropFlip', options, [
    'size',
    'padding',
    'vertical',
    'horizontal',
    'fill',
    'step',
    'stream',
  ]) as CropFlipOptions
  checkTensors('cropFlip', x)
  if (x.rank !== 4) throw expectTensor('images [n, h, w, c]', 'cropFlip', x)
  const [n, h, w, c] = x.shape as [number, number, number, number]
  const [top, left] = padding.map((beyond) => checkInteger('padding of cropFlip', beyond, { min: 0, max: 2 ** 20 }))
  const most = [h + 2 * (top as number), w + 2 * (left as number)]
  const window = (size ?? [h, w]).map((side, i) =>
    checkInteger('size of cropFlip', side, { min: 1, max: most[i] as number }),
  )
  checkFinite('vertical of cropFlip', vertical, { min: 0, max: 1 })
  checkFinite('horizontal of cropFlip', horizontal, { min: 0, max: 1 })
  const { step, stream } = source('cropFlip', random)
  const attrs = { top, left, vertical, horizontal, fill: checkFinite('fill of cropFlip', fill), stream, back: 0 }
  return apply1(cropFlipOp, [x, step], attrs as Record<string, number>, [n, ...window, c] as Shape)
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
  checkInteger('samples', samples, { min: shuffle === 'replacement' ? 1 : batch, max: 2 ** 31 - 1 })
  checkOneOf('shuffle', shuffle, shuffles)
  const graph = currentGraph('sampleRows()')
  const step = graph.useStep(state)
  graph.useRows(step, batch, samples)
  return apply1(sampleRowsOp, [step], { samples, shuffle: shuffles.indexOf(shuffle) }, [batch])
}
