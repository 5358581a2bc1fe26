// Sizes: products, broadcasting, axes, and how a shape is written for people. Knows nothing of tensors or devices.

import { checkInteger, expected, GradlineError } from './errors.js'

export type Shape = readonly number[]

/** Axes a native value can have. */
export const maxRank = 6
/** Elements a native value can have; keeps every byte count exactly representable. */
export const maxElements = 2 ** 40

/** Number of elements; 1 for a scalar `[]`. */
export function sizeOf(shape: Shape): number {
  let size = 1
  for (const dim of shape) size *= dim
  return size
}

/** `[32, 28, 28, 1]` */
export function showShape(shape: Shape): string {
  return `[${shape.join(', ')}]`
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dim, i) => dim === b[i])
}

export function checkList(name: string, list: unknown, what = 'an array'): void {
  if (!Array.isArray(list)) throw expected(what, name, list)
}

/** Checks that `shape` is a list of at most six positive integers whose product a device can address, and copies it. */
export function checkShape(name: string, shape: Shape): Shape {
  checkList(name, shape, 'an array of sizes')
  if (shape.length > maxRank) throw expected(`at most ${maxRank} axes`, name, shape)
  shape.forEach((dim, i) => {
    checkInteger(`${name}[${i}]`, dim, { min: 1 })
  })
  if (!(sizeOf(shape) <= maxElements)) throw expected(`at most 2^40 elements`, name, shape)
  return [...shape]
}

/** The joint shape of operands aligned at their last axes, where an axis of length 1 (or missing) repeats, as in NumPy. */
export function broadcastShapes(name: string, ...shapes: Shape[]): Shape {
  const rank = Math.max(...shapes.map((shape) => shape.length))
  const joint: number[] = []
  for (let axis = 0; axis < rank; axis++) {
    const dims = shapes.map((shape) => shape[axis - rank + shape.length] ?? 1)
    const dim = Math.max(...dims)
    if (dims.some((d) => d !== dim && d !== 1)) {
      throw new GradlineError(
        'shape',
        `Expected shapes that broadcast for ${name} but received ${shapes.map(showShape).join(' and ')}: ` +
          `axis ${axis - rank} has lengths ${dims.join(' and ')}`,
      )
    }
    joint.push(dim)
  }
  return joint
}

/** Non-negative, sorted, distinct axes; negative ones count from the end; all axes when undefined. */
export function normalizeAxes(name: string, axes: number | readonly number[] | undefined, rank: number): number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, i) => i)
  const list = (Array.isArray(axes) ? axes : [axes]).map((axis) => {
    checkInteger(name, axis, { min: -rank, max: rank - 1 })
    return axis < 0 ? axis + rank : axis
  })
  if (new Set(list).size !== list.length) throw expected('distinct axes', name, axes)
  return list.sort((a, b) => a - b)
}

/** Output length of a sliding window. Throws when the window does not fit even once. */
export function windowLength(
  name: string,
  size: number,
  kernel: number,
  stride: number,
  padding: number,
  dilation = 1,
): number {
  const extent = dilation * (kernel - 1) + 1
  if (extent > size + padding) {
    throw new GradlineError(
      'shape',
      `Expected an input at least as large as the window for ${name} but received ${size} (+${padding} padding) ` +
        `for a window of ${extent}`,
    )
  }
  return Math.floor((size + padding - extent) / stride) + 1
}
