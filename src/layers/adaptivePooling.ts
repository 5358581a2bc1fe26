// Pooling to a given output size: window i of o covers rows floor(i h / o) to ceil((i + 1) h / o), as PyTorch has it. The
// windows of one axis do not depend on the other, so each axis is pooled by itself: width first, so that the gradient of a
// maximum goes to the first largest element row by row, as in any other maximum pooling.

import { checkInteger, checkOptions } from '../errors.js'
import { concat, slice } from '../ops/move.js'
import { avgPool2d, maxPool2d } from '../ops/pool.js'
import { checkPair, type Pair } from '../ops/window.js'
import type { Tensor } from '../tensor.js'
import { checkImage, type Layer, layer } from './layer.js'

type Pool = typeof maxPool2d

/**
 * Largest element of each of oh x ow windows: [n, h, w, c] gives [n, oh, ow, c]. Windows differ in size by at most one row
 * and column and overlap where h is no multiple of oh.
 * PyTorch: torch.nn.AdaptiveMaxPool2d; Keras: none
 */
export function adaptiveMaxPool2d(size: Pair, options: { name?: string } = {}): Layer {
  return adaptive('adaptiveMaxPool2d', maxPool2d, size, options)
}

/**
 * Mean of each of oh x ow windows: [n, h, w, c] gives [n, oh, ow, c]. Windows differ in size by at most one row and column
 * and overlap where h is no multiple of oh.
 * PyTorch: torch.nn.AdaptiveAvgPool2d; Keras: none
 */
export function adaptiveAvgPool2d(size: Pair, options: { name?: string } = {}): Layer {
  return adaptive('adaptiveAvgPool2d', avgPool2d, size, options)
}

function adaptive(kind: string, pool: Pool, size: Pair, options: { name?: string }): Layer {
  checkOptions(kind, options, ['name'])
  const [oh, ow] = checkPair(`size of ${kind}`, size, 1)
  return layer(
    kind,
    (x) => {
      checkImage(kind, x)
      return along(kind, pool, along(kind, pool, x, 2, ow), 1, oh)
    },
    options.name,
  )
}

// Windows that are not all alike are ops of their own, so there is an end to their number.
const mostWindows = 1024

function along(kind: string, pool: Pool, x: Tensor, axis: 1 | 2, count: number): Tensor {
  const size = x.shape[axis] as number
  checkInteger(`size of ${kind}`, count, { min: 1, max: Math.max(size, mostWindows) })
  const pair = (length: number): [number, number] => (axis === 1 ? [length, 1] : [1, length])
  const windows = Array.from({ length: count }, (_, i) => {
    const begin = Math.floor((i * size) / count)
    return { begin, length: Math.ceil(((i + 1) * size) / count) - begin }
  })
  // One op where all windows have one size and one distance.
  const [first, second] = windows as [{ begin: number; length: number }, { begin: number } | undefined]
  const stride = second ? second.begin - first.begin : 1
  if (stride > 0 && windows.every(({ begin, length }, i) => begin === i * stride && length === first.length)) {
    return pool(x, pair(first.length), { stride: pair(stride) })
  }
  return concat(
    windows.map(({ begin, length }) => {
      const at = x.shape.map((_, i) => (i === axis ? begin : 0))
      const block = slice(
        x,
        at,
        x.shape.map((dim, i) => (i === axis ? length : dim)),
      )
      return pool(block, pair(length))
    }),
    axis,
  )
}
