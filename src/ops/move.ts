// Operations that place elements without changing them: copies, views, joins, cuts, repeats and row look-ups, and the one
// effect of the language, `assign`.

import type { DType } from '../dtype.js'
import { checkFinite, checkInteger, checkOneOf, checkOptions, expected, GradlineError } from '../errors.js'
import { apply1, currentGraph } from '../graph.js'
import { type Attrs, checkFloat, checkRank, checkTensors, defineOp, expectTensor, type Op } from '../op.js'
import { broadcastShapes, checkList, checkShape, maxRank, type Shape, sameShape, showShape, sizeOf } from '../shape.js'
import { type Tensor, Variable } from '../tensor.js'
import { sum } from './reduce.js'

const reshapeOp = defineOp({
  name: 'reshape',
  alias: true,
  shape: ([x], _, asked) => [{ shape: asked, dtype: (x as Tensor).dtype }],
  backward: ([g], { inputs: [x] }) => [reshape(g as Tensor, (x as Tensor).shape)],
})

/** The same elements in the same order under another shape; one size may be -1. Costs nothing. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  checkTensors('reshape', x)
  checkList('shape of reshape', shape)
  shape.forEach((dim, i) => {
    checkInteger(`shape of reshape[${i}]`, dim, { min: -1 })
  })
  if (sameShape(x.shape, shape)) return x
  const known = shape.filter((dim) => dim !== -1)
  const open = shape.length - known.length
  const rest = x.size / sizeOf(known)
  const full = open === 1 && Number.isInteger(rest) ? shape.map((dim) => (dim === -1 ? rest : dim)) : shape
  if (open > 1 || full.includes(-1) || sizeOf(full) !== x.size) {
    throw new GradlineError(
      'shape',
      `Expected a shape of ${x.size} elements for reshape of ${showShape(x.shape)} but received ${showShape(shape)}`,
    )
  }
  return apply1(reshapeOp, [x], {}, checkShape('shape of reshape', full))
}

const stopGradientOp = defineOp({
  name: 'stopGradient',
  alias: true,
  shape: ([x]) => [{ shape: (x as Tensor).shape, dtype: (x as Tensor).dtype }],
  backward: () => [undefined],
})

/** x itself, through which no gradient flows: for its derivative it is a constant. Costs nothing. */
export function stopGradient(x: Tensor): Tensor {
  return apply1(stopGradientOp, [x])
}

const copyOp: Op = defineOp({
  name: 'copy',
  shape: ([x], { dtype }) => [{ shape: (x as Tensor).shape, dtype: dtypes[dtype ?? 0] as DType }],
  backward: ([g], { inputs: [x] }) => [(x as Tensor).dtype === 'float32' ? (g as Tensor) : undefined],
})
const dtypes: readonly DType[] = ['float32', 'int32', 'uint8']

/** Converts to another element type; float to int32 truncates and saturates. */
export function cast(x: Tensor, dtype: 'float32' | 'int32'): Tensor {
  checkTensors('cast', x)
  checkOneOf('dtype of cast', dtype, ['float32', 'int32'])
  return x.dtype === dtype ? x : apply1(copyOp, [x], { dtype: dtypes.indexOf(dtype) })
}

/** The op that moves a value to another place; the planner uses it where a value must stand somewhere else too. */
export const copy: Op = copyOp

/**
 * variable = value, when the step reaches this line: ops recorded later see the new value. The only effect a program
 * has; recorded programs only.
 */
export function assign(variable: Variable, value: Tensor): void {
  const graph = currentGraph('assign()')
  checkTensors('assign', value)
  if (!(variable instanceof Variable) || variable.region.kind === 'data' || variable.region.kind === 'step') {
    throw expected('a variable that programs may change', 'the target of assign', variable)
  }
  if (!sameShape(variable.shape, value.shape) || variable.dtype !== value.dtype) {
    throw new GradlineError('shape', `Expected a value like ${variable} for assign but received ${value}`)
  }
  graph.assign(copyOp, variable, value)
}

const fillOp = defineOp({
  name: 'fill',
  attrs: ['value'],
  shape: (_, __, asked) => [{ shape: asked, dtype: 'float32' }],
  backward: () => [],
})

/** A tensor whose every element is `value`. */
export function fill(shape: Shape, value: number): Tensor {
  return apply1(fillOp, [], { value: checkFinite('value of fill', value) }, checkShape('shape of fill', shape))
}

const broadcastOp = defineOp({
  name: 'broadcast',
  shape: ([x], _, asked) => {
    const { shape } = x as Tensor
    checkFloat('broadcast', x as Tensor)
    if (!sameShape(broadcastShapes('broadcast', shape, asked), asked)) {
      throw expectTensor(`a tensor that repeats to ${showShape(asked)}`, 'broadcast', x as Tensor)
    }
    return [{ shape: asked, dtype: 'float32' }]
  },
  backward: ([g], { inputs: [x] }) => {
    const { shape } = x as Tensor
    const missing = (g as Tensor).rank - shape.length
    const repeated = (g as Tensor).shape.flatMap((dim, i) => (i < missing || shape[i - missing] !== dim ? [i] : []))
    return [reshape(sum(g as Tensor, { axes: repeated, keepAxes: true }), shape)]
  },
})

/** Repeats x along axes of length 1 and new leading axes until it has the given shape. */
export function broadcast(x: Tensor, shape: Shape): Tensor {
  checkTensors('broadcast', x)
  const asked = checkShape('shape of broadcast', shape)
  return sameShape(x.shape, asked) ? x : apply1(broadcastOp, [x], {}, asked)
}

function perAxis(prefix: string, values: readonly number[], rest: (axis: number) => number): Attrs {
  return Object.fromEntries(Array.from({ length: maxRank }, (_, i) => [`${prefix}${i}`, values[i] ?? rest(i)]))
}
const axisAttrs = (prefix: string): string[] => Array.from({ length: maxRank }, (_, i) => `${prefix}${i}`)

const transposeOp = defineOp({
  name: 'transpose',
  attrs: axisAttrs('p'),
  shape: ([x], attrs) => {
    checkFloat('transpose', x as Tensor)
    const { shape } = x as Tensor
    return [{ shape: shape.map((_, i) => shape[attrs[`p${i}`] as number] as number), dtype: 'float32' }]
  },
  backward: ([g], { inputs: [x], attrs }) => {
    const order = (x as Tensor).shape.map((_, i) => attrs[`p${i}`] as number)
    return [
      transpose(
        g as Tensor,
        order.map((_, axis) => order.indexOf(axis)),
      ),
    ]
  },
})

/** Result axis i is axis order[i] of x. Default: axes reversed. */
export function transpose(x: Tensor, order?: readonly number[]): Tensor {
  checkTensors('transpose', x)
  const from = order ?? x.shape.map((_, i) => x.rank - 1 - i)
  checkList('order of transpose', from)
  from.forEach((axis, i) => {
    checkInteger(`order of transpose[${i}]`, axis)
  })
  const sorted = [...from].sort((a, b) => a - b)
  if (from.length !== x.rank || sorted.some((axis, i) => axis !== i)) {
    throw expected(`each axis from 0 to ${x.rank - 1} once`, 'order of transpose', from)
  }
  return apply1(
    transposeOp,
    [x],
    perAxis('p', from, (i) => i),
  )
}

const maxConcat = 8

const concatOp = defineOp({
  name: 'concat',
  attrs: ['axis'],
  shape: (inputs, { axis }) => {
    checkFloat('concat', ...inputs)
    const [first] = inputs as [Tensor]
    for (const input of inputs) {
      if (input.rank !== first.rank || input.shape.some((dim, i) => i !== axis && dim !== first.shape[i])) {
        throw new GradlineError(
          'shape',
          `Expected shapes that differ only along axis ${axis} for concat but received ` +
            inputs.map((t) => showShape(t.shape)).join(', '),
        )
      }
    }
    const length = inputs.reduce((total, input) => total + (input.shape[axis as number] as number), 0)
    return [{ shape: first.shape.map((dim, i) => (i === axis ? length : dim)), dtype: 'float32' }]
  },
  backward: ([g], { inputs, attrs }) => {
    let begin = 0
    return inputs.map(({ shape }) => {
      const at = shape.map((_, i) => (i === attrs.axis ? begin : 0))
      begin += shape[attrs.axis as number] as number
      return slice(g as Tensor, at, shape)
    })
  },
})

/** Tensors one behind the other along an axis (negative: from the end). */
export function concat(tensors: readonly Tensor[], axis: number): Tensor {
  if (!Array.isArray(tensors) || tensors.length === 0) throw expected('an array of tensors', 'concat', tensors)
  checkTensors('concat', ...tensors)
  const [first] = tensors as [Tensor]
  checkInteger('axis of concat', axis, { min: -first.rank, max: first.rank - 1 })
  if (tensors.length > maxConcat) {
    const [head, tail] = [tensors.slice(0, maxConcat), tensors.slice(maxConcat)]
    return concat([concat(head, axis), ...tail], axis)
  }
  return tensors.length === 1 ? first : apply1(concatOp, tensors, { axis: axis < 0 ? axis + first.rank : axis })
}

const sliceOp: Op = defineOp({
  name: 'slice',
  attrs: axisAttrs('b'),
  shape: ([x], _, asked) => {
    checkFloat('slice', x as Tensor)
    return [{ shape: asked, dtype: 'float32' }]
  },
  backward: ([g], { inputs: [x], attrs }) => [apply1(padOp, [g as Tensor], attrs, (x as Tensor).shape)],
})

const padOp: Op = defineOp({
  name: 'pad',
  attrs: axisAttrs('b'),
  shape: ([x], _, asked) => {
    checkFloat('pad', x as Tensor)
    return [{ shape: asked, dtype: 'float32' }]
  },
  backward: ([g], { inputs: [x], attrs }) => [apply1(sliceOp, [g as Tensor], attrs, (x as Tensor).shape)],
})

function checkBlock(op: string, begin: readonly number[], inner: Shape, outer: Shape): void {
  begin.forEach((b, i) => {
    checkInteger(`begin[${i}] of ${op}`, b, { min: 0 })
  })
  const fits = inner.every((dim, i) => (begin[i] as number) + dim <= (outer[i] as number))
  if (begin.length !== outer.length || inner.length !== outer.length || !fits) {
    throw new GradlineError(
      'shape',
      `Expected a block inside ${showShape(outer)} for ${op} but received one of ${showShape(inner)} at ${showShape(begin)}`,
    )
  }
}

/** A constant vector [k]. It is put together in every step from runs of equal numbers, so keep it short. */
export function vector(values: readonly number[]): Tensor {
  checkList('vector', values)
  const runs: { value: number; length: number }[] = []
  for (const value of values) {
    const last = runs.at(-1)
    if (last && last.value === value) last.length++
    else runs.push({ value, length: 1 })
  }
  return concat(
    runs.map(({ value, length }) => fill([length], value)),
    0,
  )
}

/** The block of the given size whose first element is at `begin`. */
export function slice(x: Tensor, begin: readonly number[], size: Shape): Tensor {
  checkTensors('slice', x)
  checkList('begin of slice', begin)
  const shape = checkShape('size of slice', size)
  checkBlock('slice', begin, shape, x.shape)
  return apply1(
    sliceOp,
    [x],
    perAxis('b', begin, () => 0),
    shape,
  )
}

/** Zeros around x: `before` and `after` elements along each axis. */
export function pad(x: Tensor, before: readonly number[], after: readonly number[]): Tensor {
  checkTensors('pad', x)
  checkList('before of pad', before)
  checkList('after of pad', after)
  for (const [name, widths] of Object.entries({ before, after })) {
    if (widths.length !== x.rank) throw expected(`a width for each of ${x.rank} axes`, `${name} of pad`, widths)
    widths.forEach((width, i) => {
      checkInteger(`${name}[${i}] of pad`, width, { min: 0 })
    })
  }
  const shape = checkShape(
    'result of pad',
    x.shape.map((dim, i) => (before[i] ?? 0) + dim + (after[i] ?? 0)),
  )
  checkBlock('pad', before, x.shape, shape)
  return apply1(
    padOp,
    [x],
    perAxis('b', before, () => 0),
    shape,
  )
}

const gatherOp = defineOp({
  name: 'gather',
  attrs: ['factor', 'offset'],
  shape: ([table, indices]) => {
    const [rows, which] = [table as Tensor, indices as Tensor]
    if (which.dtype !== 'int32' || which.rank !== 1) throw expectTensor('int32 indices [n]', 'gather', which)
    if (rows.rank === 0) throw expectTensor('a table [rows, ...]', 'gather', rows)
    const dtype = rows.dtype === 'int32' ? 'int32' : 'float32'
    return [{ shape: [which.size, ...rows.shape.slice(1)], dtype }]
  },
  backward: ([g], { inputs: [table, indices], attrs }) => [
    (table as Tensor).dtype === 'float32'
      ? apply1(
          gatherGradOp,
          [g as Tensor, indices as Tensor],
          { factor: attrs.factor as number },
          (table as Tensor).shape,
        )
      : undefined,
    undefined,
  ],
})

const gatherGradOp: Op = defineOp({
  name: 'gatherGrad',
  attrs: ['factor'],
  shape: ([dy, indices], _, asked) => {
    checkFloat('gatherGrad', dy as Tensor)
    checkRank('gatherGrad', indices as Tensor, 1, '[n]')
    return [{ shape: asked, dtype: 'float32' }]
  },
  backward: ([g], { inputs: [, indices], attrs }) => [
    apply1(gatherOp, [g as Tensor, indices as Tensor], { factor: attrs.factor as number, offset: 0 }),
    undefined,
  ],
})

/**
 * Rows of a table [rows, ...] by int32 indices [n]: gives [n, ...]. Float and uint8 tables give factor * t + offset as
 * float, int32 tables their numbers. An index outside the table fails the step.
 */
export function gather(table: Tensor, indices: Tensor, scale: { factor?: number; offset?: number } = {}): Tensor {
  checkOptions('gather', scale, ['factor', 'offset'])
  const factor = checkFinite('factor of gather', scale.factor ?? 1)
  const offset = checkFinite('offset of gather', scale.offset ?? 0)
  return apply1(gatherOp, [table, indices], { factor, offset })
}
