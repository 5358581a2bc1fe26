// Pooling of NHWC images: the largest or the mean element of each window, per channel.

import { checkOptions, expected } from '../errors.js'
import { apply1 } from '../graph.js'
import { checkFloat, checkRank, defineOp, type Op } from '../op.js'
import type { Tensor } from '../tensor.js'
import { mean } from './reduce.js'
import { checkPair, type Padding, type Pair, placeWindow } from './window.js'

const windowAttrs = ['kernelH', 'kernelW', 'strideH', 'strideW', 'padTop', 'padLeft']

const maxPool2dGradOp = defineOp({
  name: 'maxPool2dGrad',
  attrs: windowAttrs,
  shape: ([dy, x, y]) => {
    checkFloat('maxPool2dGrad', dy as Tensor, x as Tensor, y as Tensor)
    return [{ shape: (x as Tensor).shape, dtype: 'float32' }]
  },
})

const maxPool2dOp = defineOp({
  name: 'maxPool2d',
  attrs: windowAttrs,
  shape: ([x], _, asked) => {
    checkFloat('maxPool2d', x as Tensor)
    return [{ shape: asked, dtype: 'float32' }]
  },
  backward: ([g], { inputs: [x], outputs: [y], attrs }) => [
    apply1(maxPool2dGradOp, [g as Tensor, x as Tensor, y as Tensor], attrs),
  ],
})

const avgPool2dOp: Op = defineOp({
  name: 'avgPool2d',
  attrs: [...windowAttrs, 'countPadding'],
  shape: ([x], _, asked) => {
    checkFloat('avgPool2d', x as Tensor)
    return [{ shape: asked, dtype: 'float32' }]
  },
  backward: ([g], { inputs: [x], attrs }) => [apply1(avgPool2dGradOp, [g as Tensor], attrs, (x as Tensor).shape)],
})

const avgPool2dGradOp: Op = defineOp({
  name: 'avgPool2dGrad',
  attrs: [...windowAttrs, 'countPadding'],
  shape: ([dy], _, asked) => {
    checkFloat('avgPool2dGrad', dy as Tensor)
    return [{ shape: asked, dtype: 'float32' }]
  },
  backward: ([g], { inputs: [dy], attrs }) => [apply1(avgPool2dOp, [g as Tensor], attrs, (dy as Tensor).shape)],
})

export interface Pool2dOptions {
  /** Default: the kernel size, so that windows do not overlap. */
  stride?: Pair
  /** Default 'valid'. At most half the kernel, so that every window holds an element. */
  padding?: Padding
}

function pool(op: Op, x: Tensor, kernel: Pair, options: Pool2dOptions, extra: Record<string, number>): Tensor {
  checkOptions(op.name, options, ['stride', 'padding', ...Object.keys(extra)])
  checkRank(op.name, x, 4, '[n, h, w, c]')
  const [kernelH, kernelW] = checkPair(`kernel of ${op.name}`, kernel, 1)
  const [strideH, strideW] = checkPair(`stride of ${op.name}`, options.stride ?? kernel, 1)
  const padding = options.padding ?? 'valid'
  const [n, h, w, c] = x.shape as [number, number, number, number]
  const vertical = placeWindow(op.name, 0, h, kernelH, strideH, padding)
  const horizontal = placeWindow(op.name, 1, w, kernelW, strideW, padding)
  if (2 * vertical.before > kernelH || 2 * horizontal.before > kernelW) {
    throw expected('at most half the kernel', `padding of ${op.name}`, padding)
  }
  const place = { kernelH, kernelW, strideH, strideW, padTop: vertical.before, padLeft: horizontal.before, ...extra }
  return apply1(op, [x], place, [n, vertical.length, horizontal.length, c])
}

/** Largest element of each window; padding never wins. The gradient goes to the first largest element, row by row. */
export function maxPool2d(x: Tensor, kernel: Pair, options: Pool2dOptions = {}): Tensor {
  return pool(maxPool2dOp, x, kernel, options, {})
}

export interface AvgPool2dOptions extends Pool2dOptions {
  /** Divide by the whole window even where it hangs over the edge. Default false: by the elements inside. */
  countPadding?: boolean
}

/** Mean of each window. */
export function avgPool2d(x: Tensor, kernel: Pair, options: AvgPool2dOptions = {}): Tensor {
  return pool(avgPool2dOp, x, kernel, options, { countPadding: options?.countPadding ? 1 : 0 })
}

/** Mean over height and width: [n, h, w, c] gives [n, c]. */
export function globalAvgPool2d(x: Tensor): Tensor {
  checkRank('globalAvgPool2d', x, 4, '[n, h, w, c]')
  return mean(x, { axes: [1, 2] })
}
