// Two-dimensional convolution (cross-correlation, as everywhere in this field) of NHWC images, and its two adjoints.

import { checkInteger, checkOptions, GradlineError } from '../errors.js'
import { apply1 } from '../graph.js'
import { checkFloat, checkRank, defineOp } from '../op.js'
import { type Shape, showShape } from '../shape.js'
import type { Tensor } from '../tensor.js'
import { checkPair, type Padding, type Pair, placeWindow } from './window.js'

const attrs = ['strideH', 'strideW', 'padTop', 'padLeft', 'dilationH', 'dilationW', 'groups']

// All three ops take two of (image, filter, gradient of the result) and give the third, whose shape is asked for.
function checkOperands(name: string, a: Tensor, b: Tensor, asked: Shape): void {
  checkFloat(name, a, b)
  checkRank(name, a, 4, name === 'conv2dInputGrad' ? '[n, oh, ow, co]' : '[n, h, w, ci]')
  checkRank(name, b, 4, name === 'conv2dFilterGrad' ? '[n, oh, ow, co]' : '[kh, kw, ci / groups, co]')
  if (asked.length !== 4) throw new GradlineError('shape', `Expected a result of 4 axes for ${name}`)
}

const conv2dOp = defineOp({
  name: 'conv2d',
  attrs,
  shape: ([x, w], { groups }, asked) => {
    const [image, filter] = [x as Tensor, w as Tensor]
    checkOperands('conv2d', image, filter, asked)
    const channels = image.shape[3] as number
    const [, , perGroup, out] = filter.shape as [number, number, number, number]
    if (perGroup * (groups as number) !== channels || out % (groups as number) !== 0) {
      throw new GradlineError(
        'shape',
        `Expected a filter [kh, kw, ${channels} / ${groups}, multiple of ${groups}] for conv2d of an image ` +
          `${showShape(image.shape)} in ${groups} group(s) but received ${showShape(filter.shape)}`,
      )
    }
    return [{ shape: asked, dtype: 'float32' }]
  },
  backward: ([g], { inputs: [x, w], attrs }) => [
    apply1(inputGradOp, [g as Tensor, w as Tensor], attrs, (x as Tensor).shape),
    apply1(filterGradOp, [x as Tensor, g as Tensor], attrs, (w as Tensor).shape),
  ],
})

const inputGradOp = defineOp({
  name: 'conv2dInputGrad',
  attrs,
  shape: ([dy, w], _, asked) => {
    checkOperands('conv2dInputGrad', dy as Tensor, w as Tensor, asked)
    return [{ shape: asked, dtype: 'float32' }]
  },
  backward: ([g], { inputs: [dy, w], attrs }) => [
    apply1(conv2dOp, [g as Tensor, w as Tensor], attrs, (dy as Tensor).shape),
    apply1(filterGradOp, [g as Tensor, dy as Tensor], attrs, (w as Tensor).shape),
  ],
})

const filterGradOp = defineOp({
  name: 'conv2dFilterGrad',
  attrs,
  shape: ([x, dy], _, asked) => {
    checkOperands('conv2dFilterGrad', x as Tensor, dy as Tensor, asked)
    return [{ shape: asked, dtype: 'float32' }]
  },
  backward: ([g], { inputs: [x, dy], attrs }) => [
    apply1(inputGradOp, [dy as Tensor, g as Tensor], attrs, (x as Tensor).shape),
    apply1(conv2dOp, [x as Tensor, g as Tensor], attrs, (dy as Tensor).shape),
  ],
})

export interface Conv2dOptions {
  /** Default 1. */
  stride?: Pair
  /** Default 'valid'. */
  padding?: Padding
  /** Distance of filter taps. Default 1. */
  dilation?: Pair
  /** Channels are split into this many independent convolutions. Default 1. */
  groups?: number
}

/**
 * x [n, h, w, ci] with filter w [kh, kw, ci / groups, co] gives [n, oh, ow, co],
 * oh = floor((h + padding - dilation * (kh - 1) - 1) / stride) + 1.
 */
export function conv2d(x: Tensor, w: Tensor, options: Conv2dOptions = {}): Tensor {
  checkOptions('conv2d', options, ['stride', 'padding', 'dilation', 'groups'])
  checkRank('conv2d', x, 4, '[n, h, w, ci]')
  checkRank('conv2d', w, 4, '[kh, kw, ci / groups, co]')
  const [strideH, strideW] = checkPair('stride of conv2d', options.stride ?? 1, 1)
  const [dilationH, dilationW] = checkPair('dilation of conv2d', options.dilation ?? 1, 1)
  const groups = checkInteger('groups of conv2d', options.groups ?? 1, { min: 1 })
  const padding = options.padding ?? 'valid'
  const [n, h, width] = x.shape as [number, number, number]
  const [kh, kw, , co] = w.shape as [number, number, number, number]
  const vertical = placeWindow('conv2d', 0, h, kh, strideH, padding, dilationH)
  const horizontal = placeWindow('conv2d', 1, width, kw, strideW, padding, dilationW)
  const place = { strideH, strideW, padTop: vertical.before, padLeft: horizontal.before, dilationH, dilationW, groups }
  return apply1(conv2dOp, [x, w], place, [n, vertical.length, horizontal.length, co])
}

export interface ConvTranspose2dOptions {
  /** Default 1. */
  stride?: Pair
  /** Rows and columns taken away on either side; 'same': output size = input size * stride. Default 'valid': none. */
  padding?: Padding
  /** Rows and columns added at the far side, fewer than the stride or the dilation. Default 0. */
  outputPadding?: Pair
  /** Distance of filter taps. Default 1. */
  dilation?: Pair
  /** Channels are split into this many independent convolutions. Default 1. */
  groups?: number
}

/**
 * The adjoint of conv2d: x [n, h, w, ci] with filter w [kh, kw, co / groups, ci] gives [n, oh, ow, co],
 * oh = (h - 1) * stride - 2 * padding + dilation * (kh - 1) + outputPadding + 1.
 */
export function convTranspose2d(x: Tensor, w: Tensor, options: ConvTranspose2dOptions = {}): Tensor {
  const name = 'convTranspose2d'
  checkOptions(name, options, ['stride', 'padding', 'outputPadding', 'dilation', 'groups'])
  checkRank(name, x, 4, '[n, h, w, ci]')
  checkRank(name, w, 4, '[kh, kw, co / groups, ci]')
  const strides = checkPair(`stride of ${name}`, options.stride ?? 1, 1)
  const dilations = checkPair(`dilation of ${name}`, options.dilation ?? 1, 1)
  const extra = checkPair(`outputPadding of ${name}`, options.outputPadding ?? 0, 0)
  const groups = checkInteger(`groups of ${name}`, options.groups ?? 1, { min: 1 })
  const { padding = 'valid' } = options
  const [n, h, width, ci] = x.shape as [number, number, number, number]
  const [kh, kw, perGroup, filterChannels] = w.shape as [number, number, number, number]
  if (filterChannels !== ci || ci % groups !== 0) {
    throw new GradlineError(
      'shape',
      `Expected a filter [kh, kw, filters / ${groups}, ${ci}] and channels divisible by ${groups} group(s) for ${name} ` +
        `of ${showShape(x.shape)} but received ${showShape(w.shape)}`,
    )
  }
  const [vertical, horizontal] = ([0, 1] as const).map((axis) => {
    const [size, kernel] = axis === 0 ? [h, kh] : [width, kw]
    const [stride, dilation, added] = [strides[axis], dilations[axis], extra[axis] as number]
    const most = padding === 'same' ? 0 : Math.max(stride, dilation) - 1
    checkInteger(`outputPadding of ${name}`, added, { min: 0, max: most })
    // 'same' is the adjoint of the 'same' convolution that makes `size` of size * stride.
    if (padding === 'same') {
      return {
        length: size * stride,
        before: placeWindow(name, axis, size * stride, kernel, stride, padding, dilation).before,
      }
    }
    // Of a window as large as its kernel only the padding is asked for: its kind is checked there.
    const { before } = placeWindow(name, axis, dilation * (kernel - 1) + 1, kernel, stride, padding, dilation)
    const length = (size - 1) * stride - 2 * before + dilation * (kernel - 1) + added + 1
    if (length < 1) {
      throw new GradlineError(
        'shape',
        `Expected less padding for ${name} of ${showShape(x.shape)} but received ${before}`,
      )
    }
    return { length, before }
  }) as [{ length: number; before: number }, { length: number; before: number }]
  const place = {
    strideH: strides[0],
    strideW: strides[1],
    padTop: vertical.before,
    padLeft: horizontal.before,
    dilationH: dilations[0],
    dilationW: dilations[1],
    groups,
  }
  return apply1(inputGradOp, [x, w], place, [n, vertical.length, horizontal.length, perGroup * groups])
}
