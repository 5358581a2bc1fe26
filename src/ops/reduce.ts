// Reductions: sums, means, maxima and the position of a maximum.

import { checkOptions } from '../errors.js'
import { apply1 } from '../graph.js'
import { checkFloat, checkTensors, defineOp, expectTensor } from '../op.js'
import { normalizeAxes, type Shape } from '../shape.js'
import type { Tensor } from '../tensor.js'
import { div, equal, mul, scale } from './elementwise.js'
import { broadcast, reshape } from './move.js'

export interface ReduceOptions {
  /** Axes to reduce, negative ones from the end. Default: all. */
  axes?: number | readonly number[]
  /** Keep reduced axes with length 1. Default false. */
  keepAxes?: boolean
}

function reducedShape(shape: Shape, mask: number): Shape {
  return shape.map((dim, axis) => ((mask >> axis) & 1 ? 1 : dim))
}

const sumOp = defineOp({
  name: 'sum',
  attrs: ['axes'],
  shape: ([x], { axes }) => {
    checkFloat('sum', x as Tensor)
    return [{ shape: reducedShape((x as Tensor).shape, axes as number), dtype: 'float32' }]
  },
  backward: ([g], { inputs: [x] }) => [broadcast(g as Tensor, (x as Tensor).shape)],
})

const maxOp = defineOp({
  name: 'max',
  attrs: ['axes'],
  shape: ([x], { axes }) => {
    checkFloat('max', x as Tensor)
    return [{ shape: reducedShape((x as Tensor).shape, axes as number), dtype: 'float32' }]
  },
  // Equal maxima share the gradient.
  backward: ([g], { inputs: [x], outputs: [y], attrs }) => {
    const winners = equal(x as Tensor, y as Tensor)
    const count = apply1(sumOp, [winners], attrs)
    return [mul(winners, div(g as Tensor, count))]
  },
})

const argmaxOp = defineOp({
  name: 'argmax',
  shape: ([x]) => {
    checkFloat('argmax', x as Tensor)
    if ((x as Tensor).rank === 0) throw expectTensor('a tensor with at least one axis', 'argmax', x as Tensor)
    return [{ shape: (x as Tensor).shape.slice(0, -1), dtype: 'int32' }]
  },
  backward: () => [undefined],
})

function reduce(op: typeof sumOp, x: Tensor, options: ReduceOptions): Tensor {
  checkTensors(op.name, x)
  checkOptions(op.name, options, ['axes', 'keepAxes'])
  const axes = normalizeAxes(`axes of ${op.name}`, options.axes, x.rank)
  const mask = axes.reduce((bits, axis) => bits | (1 << axis), 0)
  const kept = apply1(op, [x], { axes: mask })
  return options.keepAxes
    ? kept
    : reshape(
        kept,
        kept.shape.filter((_, axis) => !axes.includes(axis)),
      )
}

/** Sum over axes. */
export function sum(x: Tensor, options: ReduceOptions = {}): Tensor {
  return reduce(sumOp, x, options)
}

/** Mean over axes. */
export function mean(x: Tensor, options: ReduceOptions = {}): Tensor {
  const total = sum(x, options)
  return scale(total, total.size / x.size)
}

/** Largest element over axes; NaN wins. Equal maxima share the gradient. */
export function max(x: Tensor, options: ReduceOptions = {}): Tensor {
  return reduce(maxOp, x, options)
}

/** int32 index of the first largest element of the last axis. No gradient flows. */
export function argmax(x: Tensor): Tensor {
  return apply1(argmaxOp, [x])
}
