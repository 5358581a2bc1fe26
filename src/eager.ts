// Eager mode: an op outside a recording runs at once, as a program of that one op through the same door as any other, so
// it cannot drift from recorded mode. It is for looking at values; training belongs into programs.

import { convert, type DType, dtypes } from './dtype.js'
import { checkOneOf, checkOptions, expected } from './errors.js'
import { apply, type Context, setEagerContext } from './graph.js'
import { read } from './memory.js'
import type { Attrs, Op } from './op.js'
import { type InputSpecs, type Program, record } from './program.js'
import { checkShape, type Shape, sizeOf } from './shape.js'
import { encodeStep, stepBytes } from './step.js'
import { Tensor, Variable } from './tensor.js'

const programs = new Map<string, Program<InputSpecs, Tensor[]>>()
const maxPrograms = 256

const eager: Context = {
  apply(op: Op, inputs: readonly Tensor[], attrs: Attrs, asked: Shape): readonly Tensor[] {
    if (op.effect) throw expected('a recorded program', op.name, 'a call outside record()')
    if (op.alias) {
      return op
        .shape(inputs, attrs, asked)
        .map(({ shape, dtype }) => new Tensor(shape, dtype, { data: dataOf(inputs[0] as Tensor) }))
    }
    const signature = inputs.map(({ shape, dtype }) => ({ shape, dtype }))
    const key = JSON.stringify([op.name, attrs, asked, signature])
    let program = programs.get(key)
    if (!program) {
      const specs = Object.fromEntries(signature.map((spec, i) => [`${i}`, spec]))
      program = record((given) => [...apply(op, Object.values(given), attrs, asked)], specs, { name: op.name })
      const oldest = programs.keys().next().value
      if (programs.size >= maxPrograms && oldest !== undefined) {
        programs.get(oldest)?.close()
        programs.delete(oldest)
      }
      programs.set(key, program)
    }
    return program.runSync(Object.fromEntries(inputs.map((input, i) => [`${i}`, dataOf(input)]))) as Tensor[]
  },
}

function dataOf(tensor: Tensor): ArrayLike<number> & Tensor['data'] {
  return tensor instanceof Variable ? read(tensor) : tensor.data
}

/** Makes ops outside a recording run at once on the CPU. */
export function enableEager(): void {
  setEagerContext(eager)
}

/** An eager tensor from nested arrays, or from elements with a shape. */
export function tensor(
  values: NestedNumbers | ArrayLike<number>,
  options: { shape?: Shape; dtype?: DType } = {},
): Tensor {
  checkOptions('tensor', options, ['shape', 'dtype'])
  const nested = typeof values === 'number' || Array.isArray(values)
  if (!nested && !ArrayBuffer.isView(values)) throw expected('numbers, or nested arrays of them', 'tensor', values)
  const shape = checkShape(
    'shape of tensor',
    options.shape ?? (nested ? shapeOf(values as NestedNumbers) : [values.length]),
  )
  const flat = nested ? ([values].flat(Number.POSITIVE_INFINITY) as number[]) : (values as ArrayLike<number>)
  if (flat.length !== sizeOf(shape)) throw expected(`${sizeOf(shape)} elements`, 'tensor', values)
  for (let i = 0; i < flat.length; i++) if (typeof flat[i] !== 'number') throw expected('numbers', 'tensor', flat[i])
  if (options.dtype !== undefined) checkOneOf('dtype of tensor', options.dtype, dtypes)
  const dtype =
    options.dtype ?? (values instanceof Int32Array ? 'int32' : values instanceof Uint8Array ? 'uint8' : 'float32')
  return new Tensor(shape, dtype, { data: convert(flat, dtype) })
}

export type NestedNumbers = number | readonly NestedNumbers[]

function shapeOf(values: NestedNumbers): number[] {
  return typeof values === 'number'
    ? []
    : [values.length, ...(values.length ? shapeOf(values[0] as NestedNumbers) : [])]
}

/** A step state as an eager tensor, to run random ops outside a program. */
export function eagerStep(seed: number, step = 1): Tensor {
  const data = new Uint8Array(stepBytes)
  encodeStep(data, { seed, step })
  return new Tensor([stepBytes], 'uint8', { data })
}
