// Element types of tensors and the typed arrays that carry them between JavaScript and native memory.
// A float is 32 bits wide; programs of numerics class fp64 (reference device only) widen every float to 64 bits.

export type DType = 'float32' | 'int32' | 'uint8'
export type TypedArray = Float32Array | Float64Array | Int32Array | Uint8Array
export type Numerics = 'fp32' | 'fp64'

/** Bytes of one element in a program of the given numerics class. */
export function bytesOf(dtype: DType, numerics: Numerics = 'fp32'): number {
  if (dtype === 'uint8') return 1
  return dtype === 'float32' && numerics === 'fp64' ? 8 : 4
}

/** A zeroed array for `size` elements. */
export function allocate(dtype: DType, size: number, numerics: Numerics = 'fp32'): TypedArray {
  if (dtype === 'uint8') return new Uint8Array(size)
  if (dtype === 'int32') return new Int32Array(size)
  return numerics === 'fp64' ? new Float64Array(size) : new Float32Array(size)
}

/** The same numbers in the array type of `dtype`; the array itself when it has that type already. */
export function convert(data: ArrayLike<number>, dtype: DType, numerics: Numerics = 'fp32'): TypedArray {
  if (dtype === 'uint8') return data instanceof Uint8Array ? data : Uint8Array.from(data)
  if (dtype === 'int32') return data instanceof Int32Array ? data : Int32Array.from(data)
  if (numerics === 'fp64') return data instanceof Float64Array ? data : Float64Array.from(data)
  return data instanceof Float32Array ? data : Float32Array.from(data)
}

/** The bytes of a typed array, without copying. */
export function bytesView(data: TypedArray): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
}
