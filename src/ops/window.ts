// What convolution and pooling share: how people write sizes and padding of a window, and what follows from them.

import { checkInteger, expected } from '../errors.js'
import { windowLength } from '../shape.js'

/** One number for both directions, or [vertical, horizontal]. */
export type Pair = number | readonly [number, number]
/** 'valid': none. 'same': output size = input size / stride rounded up, the odd pixel at the far side. */
export type Padding = 'valid' | 'same' | Pair

// Of a window, its steps and the zeros around it; native code has the same bound.
const longest = 2 ** 20

export function checkPair(name: string, value: Pair, min: number): [number, number] {
  const pair = typeof value === 'number' ? [value, value] : value
  if (!Array.isArray(pair) || pair.length !== 2) throw expected('a number or [vertical, horizontal]', name, value)
  for (const part of pair) checkInteger(name, part, { min, max: longest })
  return [pair[0] as number, pair[1] as number]
}

/** Checks what can be checked of a window without its input. */
export function checkPlace(
  kind: string,
  { stride, padding = 'valid', dilation }: { stride?: Pair; padding?: Padding; dilation?: Pair },
): void {
  if (stride !== undefined) checkPair(`stride of ${kind}`, stride, 1)
  if (dilation !== undefined) checkPair(`dilation of ${kind}`, dilation, 1)
  checkPadding(kind, padding)
}

// Pairs are given back as [vertical, horizontal].
function checkPadding(kind: string, padding: Padding): 'same' | [number, number] {
  if (padding === 'same') return padding
  if (typeof padding === 'string' && padding !== 'valid') {
    throw expected("'valid', 'same', a number or [vertical, horizontal]", `padding of ${kind}`, padding)
  }
  return checkPair(`padding of ${kind}`, padding === 'valid' ? 0 : padding, 0)
}

export interface WindowPlace {
  /** Padding before the first row or column. */
  before: number
  /** Output length. */
  length: number
}

/** Padding and output length along one axis (0 vertical, 1 horizontal). */
export function placeWindow(
  op: string,
  axis: 0 | 1,
  size: number,
  kernel: number,
  stride: number,
  padding: Padding,
  dilation = 1,
): WindowPlace {
  const name = `${op} (${axis === 0 ? 'height' : 'width'})`
  const given = checkPadding(op, padding)
  if (given === 'same') {
    const length = Math.ceil(size / stride)
    const total = Math.max(0, (length - 1) * stride + dilation * (kernel - 1) + 1 - size)
    return { before: Math.floor(total / 2), length }
  }
  const each = given[axis]
  return { before: each, length: windowLength(name, size, kernel, stride, 2 * each, dilation) }
}
