// Element types of tensors and the typed arrays that carry them between JavaScript and native memory.
// A float is 32 bits wide; programs of numerics class fp64 (reference device only) widen every float to 64 bits. What the
// classes promise stands in docs/architecture.md under "Numbers".

import { checkInteger, expected, GradlineError } from './errors.js'

export const dtypes = ['float32', 'int32', 'uint8'] as const
export type DType = (typeof dtypes)[number]
export type TypedArray = Float32Array | Float64Array | Int32Array | Uint8Array
export const numericsClasses = ['fp32', 'fast', 'tf32', 'bf16', 'fp64'] as const
export type Numerics = (typeof numericsClasses)[number]

/** Bytes of one element in a program of the given numerics class. */
export function bytesOf(dtype: DType, numerics: Numerics = 'fp32'): number {
  if (dtype === 'uint8') return 1
  return dtype === 'float32' && numerics === 'fp64' ? 8 : 4
}

/** A zeroed array for `size` elements. */
export function allocate(dtype: DType, size: number, numerics: Numerics = 'fp32'): TypedArray {
  try {
    return new (arrayTypeOf(dtype, numerics))(size)
  } catch (cause) {
    throw new GradlineError('argument', `No memory for ${size} elements`, { cause })
  }
}

/**
 * The same numbers in the array type of `dtype`; the array itself when it has that type already. Throws for elements that
 * are no numbers, such as rows of rows, which JavaScript would turn into NaN, and for numbers that an integer type lacks, of
 * which it would keep some bits.
 */
export function convert(data: ArrayLike<number>, dtype: DType, numerics: Numerics = 'fp32'): TypedArray {
  const Type = arrayTypeOf(dtype, numerics)
  if (data instanceof Type) return data
  const values: ArrayLike<unknown> = data
  const [low, high] = dtype === 'uint8' ? [0, 255] : [-(2 ** 31), 2 ** 31 - 1]
  for (let i = 0; i < values.length; i++) {
    const value = values[i]
    if (typeof value !== 'number') throw expected('a number', `element ${i} of ${dtype} data`, value)
    if (dtype !== 'float32') checkInteger(`element ${i} of ${dtype} data`, value, { min: low, max: high })
  }
  return Type.from(data)
}

function arrayTypeOf(dtype: DType, numerics: Numerics) {
  if (dtype === 'uint8') return Uint8Array
  if (dtype === 'int32') return Int32Array
  return numerics === 'fp64' ? Float64Array : Float32Array
}

/** The bytes of a typed array, without copying. */
export function bytesView(data: TypedArray): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
}
