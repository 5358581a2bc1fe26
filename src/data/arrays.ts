// Turns what people hand in (typed arrays, nested arrays, labels of any integer type) into the arrays of a data set, and
// checks every value once. It knows nothing of splits or batches.

import {
  checkFinite,
  checkInteger,
  checkOptions,
  describeValue,
  type ErrorCode,
  expected,
  GradlineError,
} from '../errors.js'
import { maxElements, maxRank, showShape, sizeOf } from '../shape.js'

/** What a model sees of a stored value t: factor * t + offset. */
export interface Scale {
  readonly factor: number
  readonly offset: number
}

export interface DataArray {
  /** Row-major values; not copied, so do not change them while the data set is in use. */
  readonly data: Float32Array | Uint8Array | Int32Array
  /** [n, ...sample]: n samples. */
  readonly shape: readonly number[]
  readonly scale: Scale
}

/** Rows of rows of numbers, all of one length per level; typed arrays may serve as the innermost rows. */
export type NestedNumbers = readonly number[] | readonly Float32Array[] | readonly NestedNumbers[]

/** Float64 is stored as float32; Uint8 and Int32 stay what they are. */
export type InputData = Float32Array | Float64Array | Uint8Array | Uint8ClampedArray | Int32Array | NestedNumbers

/** Whole numbers are class labels, stored as int32; Float32, Float64 and nested arrays are targets, stored as float32. */
export type LabelData =
  | Int8Array
  | Int16Array
  | Int32Array
  | Uint8Array
  | Uint8ClampedArray
  | Uint16Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | Float32Array
  | Float64Array
  | NestedNumbers

/** Factor, or factor and offset. */
export type ScaleOption = number | { readonly factor: number; readonly offset?: number } | undefined

// Rows and labels are int32 in the training program.
const maxRows = 2 ** 31 - 1
/** Largest class label, and largest number of classes. */
export const maxLabel = 2 ** 31 - 1
const unscaled: Scale = { factor: 1, offset: 0 }

// ---- Inputs and labels as stored

export function toInputs(
  inputs: unknown,
  shape: readonly number[] | undefined,
  scale: ScaleOption,
  name: string,
): DataArray {
  if (isNested(inputs)) {
    const nested = fromNested('inputs', inputs, name)
    // A list of numbers is one feature per sample.
    const own = nested.shape.length === 1 ? [...nested.shape, 1] : nested.shape
    if (shape !== undefined) checkSizes('inputs', shape, nested.data.length, name)
    return { ...nested, shape: [...(shape ?? own)], scale: toScale(scale, unscaled, name) }
  }
  const data = storedType(inputs)
  if (data === undefined) {
    throw expected(
      'a Float32Array, Float64Array, Uint8Array, Uint8ClampedArray, Int32Array or nested arrays of numbers',
      'inputs',
      inputs,
      {
        where: name,
        fix: 'Convert with Float32Array.from (measurements) or Int32Array.from (indices).',
      },
    )
  }
  checkNotEmpty('inputs', data.length, name)
  if (shape === undefined) {
    throw expected('[samples, ...sample shape], since a typed array does not tell it,', 'shape', shape, {
      code: 'shape',
      where: name,
      fix: `For one value per sample give { shape: [${data.length}, 1] }.`,
    })
  }
  checkSizes('inputs', shape, data.length, name)
  if (data instanceof Float32Array) checkAllFinite('inputs', data, inputs, shape, name)
  if (data instanceof Int32Array && scale !== undefined) {
    throw expected('no scale, since Int32 inputs are indices,', 'scale', scale, { where: name })
  }
  const usual = data instanceof Uint8Array ? { factor: 1 / 255, offset: 0 } : unscaled
  return { data, shape: [...shape], scale: toScale(scale, usual, name) }
}

export function toLabels(
  labels: unknown,
  labelShape: readonly number[] | undefined,
  rows: number,
  name: string,
  ignoreLabel?: number,
): DataArray {
  let data: Float32Array | Int32Array
  let shape: readonly number[]
  if (isNested(labels) && isNested(labels[0])) {
    const nested = fromNested('labels', labels, name)
    data = nested.data
    shape = labelShape ?? nested.shape
  } else if (labels instanceof Float32Array || labels instanceof Float64Array) {
    checkNotEmpty('labels', labels.length, name)
    data = storedFloats(labels)
    const width = labels.length / rows
    if (labelShape === undefined && !Number.isInteger(width)) {
      throw expected(`a multiple of the ${rows} samples`, 'the number of labels', labels.length, {
        code: 'shape',
        where: name,
      })
    }
    shape = labelShape ?? [rows, width]
  } else {
    data = toClassLabels(labels, name, ignoreLabel)
    shape = labelShape ?? [data.length]
  }
  checkSizes('labels', shape, data.length, name)
  if (data instanceof Float32Array) checkAllFinite('labels', data, labels, shape, name)
  return { data, shape: [...shape], scale: unscaled }
}

function toClassLabels(labels: unknown, name: string, ignoreLabel: number | undefined): Int32Array {
  const isIntegers = ArrayBuffer.isView(labels) && !(labels instanceof DataView)
  if (!isIntegers && !Array.isArray(labels)) {
    throw expected('an integer typed array, a Float32Array or arrays of numbers', 'labels', labels, { where: name })
  }
  const values = labels as ArrayLike<unknown>
  checkNotEmpty('labels', values.length, name)
  if (labels instanceof Int32Array) return plain(labels, Int32Array)
  const data = allocate(new Int32Array(), values.length, name)
  for (let i = 0; i < data.length; i += 1) {
    const given = values[i]
    const label = typeof given === 'bigint' ? Number(given) : given
    const inRange = typeof label === 'number' && Number.isInteger(label) && label >= 0 && label <= maxLabel
    if (!inRange && label !== ignoreLabel) {
      throw wrongLabel(i, given, undefined, name)
    }
    data[i] = label as number
  }
  return data
}

// Returns the number of classes, the label that is ignored not counted.
export function checkLabels(
  labels: Int32Array,
  classes: number | undefined,
  name: string,
  ignoreLabel?: number,
): number {
  let largest = 0
  for (let i = 0; i < labels.length; i += 1) {
    const label = labels[i] ?? 0
    if (label === ignoreLabel) continue
    if (label < 0 || label >= (classes ?? maxLabel)) throw wrongLabel(i, label, classes, name)
    if (label > largest) largest = label
  }
  return classes ?? largest + 1
}

function wrongLabel(index: number, received: unknown, classes: number | undefined, name: string): GradlineError {
  const range =
    classes === undefined ? 'a class label (an integer, 0 or more)' : `a class label from 0 to ${classes - 1}`
  const isFraction = typeof received === 'number' && Number.isFinite(received) && !Number.isInteger(received)
  const fix = isFraction
    ? 'For targets that are not classes give nested arrays ([[0.5], [1.5]]) or a Float32Array.'
    : undefined
  return expected(range, `labels[${index}]`, received, { code: 'data', where: name, fix })
}

function toScale(scale: ScaleOption, usual: Scale, name: string): Scale {
  if (scale === undefined) return usual
  const given = typeof scale === 'object' ? checkOptions('scale', scale, ['factor', 'offset']) : { factor: scale }
  const { factor, offset = 0 } = { offset: undefined, ...given }
  if (factor === 0) throw expected('a number other than 0', 'the factor of scale', factor, { where: name })
  return {
    factor: checkFinite('the factor of scale', factor, { where: name }),
    offset: checkFinite('the offset of scale', offset, { where: name }),
  }
}

export function storedType(inputs: unknown): DataArray['data'] | undefined {
  if (inputs instanceof Float32Array || inputs instanceof Float64Array) return storedFloats(inputs)
  if (inputs instanceof Int32Array) return plain(inputs, Int32Array)
  if (inputs instanceof Uint8Array) return plain(inputs, Uint8Array)
  if (inputs instanceof Uint8ClampedArray) return new Uint8Array(inputs.buffer, inputs.byteOffset, inputs.length)
  return undefined
}

function storedFloats(data: Float32Array | Float64Array): Float32Array {
  return data instanceof Float32Array ? plain(data, Float32Array) : Float32Array.from(data)
}

interface ArrayType<T> {
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): T
}

// A Buffer or another subclass may cut and copy by rules of its own, so it is replaced by the plain type over the same bytes.
function plain<T extends DataArray['data']>(data: T, Type: ArrayType<T>): T {
  return data.constructor === Type ? data : new Type(data.buffer, data.byteOffset, data.length)
}

// ---- Nested arrays

function isRow(value: unknown): value is ArrayLike<unknown> {
  return Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView))
}

function isNested(value: unknown): value is readonly unknown[] {
  return Array.isArray(value)
}

/** Flattens nested arrays to float32; the first row of each level sets the size that the others must have. */
function fromNested(
  what: string,
  nested: readonly unknown[],
  name: string,
): { readonly data: Float32Array; readonly shape: readonly number[]; readonly scale: Scale } {
  const shape: number[] = []
  for (let row: unknown = nested; isRow(row); row = row[0]) {
    if (shape.length === maxRank) {
      throw expected(`at most ${maxRank} levels of arrays`, what, nested, { code: 'shape', where: name })
    }
    shape.push(row.length)
    checkNotEmpty(what, row.length, name)
  }
  const data = allocate(new Float32Array(), checkedProduct(what, shape, name), name)
  let filled = 0
  const position: number[] = []
  const at = (): string => `${what}${position.map((index) => `[${index}]`).join('')}`
  const visit = (row: unknown, level: number): void => {
    const size = shape[level] ?? 0
    if (!isRow(row)) throw expected(`a row of ${size}`, at(), row, { code: 'shape', where: name })
    if (row.length !== size) {
      throw new GradlineError(
        'shape',
        `Expected ${size} values for ${at()}, as in the first row, but received ${row.length}`,
        {
          where: name,
        },
      )
    }
    for (let i = 0; i < size; i += 1) {
      position[level] = i
      const item = row[i]
      if (level + 1 < shape.length) {
        visit(item, level + 1)
      } else if (typeof item === 'number' && Number.isFinite(Math.fround(item))) {
        data[filled] = item
        filled += 1
      } else {
        throw notFinite(at(), item, name)
      }
    }
    position.length = level
  }
  visit(nested, 0)
  return { data, shape, scale: unscaled }
}

function notFinite(position: string, received: unknown, name: string): GradlineError {
  const code: ErrorCode = typeof received === 'number' ? 'data' : isRow(received) ? 'shape' : 'argument'
  const isTooLarge = typeof received === 'number' && Number.isFinite(received)
  return expected(isTooLarge ? 'a number that float32 can hold' : 'a finite number', position, received, {
    code,
    where: name,
  })
}

// ---- Sizes and values

export function rowsOf(array: DataArray): number {
  return array.shape[0] ?? 0
}

export function sampleSize(array: DataArray): number {
  return array.data.length / rowsOf(array)
}

export function allocate<T extends DataArray['data']>(like: T, length: number, name: string): T
export function allocate(like: DataArray['data'], length: number, name: string): DataArray['data'] {
  try {
    if (like instanceof Float32Array) return new Float32Array(length)
    return like instanceof Int32Array ? new Int32Array(length) : new Uint8Array(length)
  } catch (cause) {
    throw new GradlineError('data', `No memory for ${length} values`, { where: name, cause })
  }
}

function checkNotEmpty(what: string, length: number, name: string): void {
  if (length === 0)
    throw new GradlineError('data', `Expected at least one value for ${what} but received none`, { where: name })
}

export function checkArray(what: string, array: DataArray, name: string): void {
  const { data, shape } = array
  if (!(data instanceof Float32Array || data instanceof Uint8Array || data instanceof Int32Array)) {
    throw expected('a Float32Array, Uint8Array or Int32Array', `${what}.data`, data, { where: name })
  }
  checkNotEmpty(what, data.length, name)
  checkSizes(what, shape, data.length, name)
}

function checkSizes(what: string, shape: readonly number[], length: number, name: string): void {
  const details = { code: 'shape', where: name } as const
  if (!Array.isArray(shape) || shape.length === 0 || shape.length > maxRank) {
    throw expected(`1 to ${maxRank} sizes, [samples, ...],`, `the shape of ${what}`, shape, details)
  }
  for (const [axis, size] of shape.entries()) {
    checkInteger(`size ${axis} of the shape of ${what}`, size, { ...details, min: 1 })
  }
  const product = checkedProduct(what, shape, name)
  if (product !== length) {
    const samples = length / product
    const hint = `The number of samples comes first: [${samples}, ${shape.join(', ')}].`
    throw new GradlineError(
      'shape',
      `Expected ${product} values for ${what} of shape ${showShape(shape)} but received ${length}`,
      { where: name, fix: Number.isInteger(samples) && shape.length < maxRank ? hint : undefined },
    )
  }
  checkInteger(`the number of samples of ${what}`, shape[0], { ...details, min: 1, max: maxRows })
}

function checkedProduct(what: string, shape: readonly number[], name: string): number {
  const product = sizeOf(shape)
  if (product <= maxElements) return product
  throw expected('sizes with a product of at most 2^40', `the shape of ${what}`, shape, { code: 'shape', where: name })
}

/** `original` holds the values as given: what float32 cannot hold is reported as the person wrote it. */
function checkAllFinite(
  what: string,
  data: Float32Array,
  original: unknown,
  shape: readonly number[],
  name: string,
): void {
  for (let i = 0; i < data.length; i += 1) {
    if (Number.isFinite(data[i])) continue
    const received: unknown = original instanceof Float64Array ? original[i] : data[i]
    throw notFinite(`${what} ${positionOf(i, shape)}`, received, name)
  }
}

function positionOf(index: number, shape: readonly number[]): string {
  const position: number[] = []
  let rest = index
  for (const size of [...shape].reverse()) {
    position.unshift(rest % size)
    rest = Math.floor(rest / size)
  }
  const [row, ...inner] = position
  if (inner.length === 0) return `at row ${row}`
  return inner.length === 1 ? `at row ${row}, column ${inner[0]}` : `at row ${row}, position ${describeValue(inner)}`
}
