// One batch as a source hands it over, { x, y }, [x, y], parts by name or a small data set, turned into arrays as a data set
// stores them. It keeps typed arrays as they are; what is wrong with numbers in them the step finds.

import type { DType } from '../dtype.js'
import { expected, GradlineError } from '../errors.js'
import { type Shape, sameShape, showShape, sizeOf } from '../shape.js'
import { Tensor } from '../tensor.js'
import { type DataArray, type InputData, type LabelData, storedType, toInputs, toLabels } from './arrays.js'
import { Dataset } from './dataset.js'
import { Joined } from './joined.js'

/** Rows of one part: a typed array row by row, nested arrays, an eager tensor [n, ...], or a data set without labels. */
export type BatchPart = InputData | LabelData | Tensor | Dataset
/**
 * Samples of one step: inputs x and labels or targets y, as dataset() takes them (bytes become floats from 0 to 1, whole
 * numbers in y are class labels); or a data set with labels. Typed arrays may be filled anew once the next batch is asked for.
 */
export type Batch = { readonly x: BatchPart; readonly y: BatchPart } | readonly [x: BatchPart, y: BatchPart] | Dataset
/** The same for a model written as a function: its inputs and what the loss needs, by name. */
export type NamedBatch = { readonly [name: string]: BatchPart } | Joined

/** What a model is given under a name. */
interface Wanted {
  readonly shape: Shape
  readonly dtype: 'float32' | 'int32'
}

/** Parts by name, all of one number of rows. */
export type Parts = Readonly<Record<string, DataArray>>

export const storedDtype = ({ data }: DataArray): DType =>
  data instanceof Uint8Array ? 'uint8' : data instanceof Int32Array ? 'int32' : 'float32'

/** Parts of a batch for a model of one input x, whose labels are y. */
export function toPair(batch: unknown, input: Wanted, where: string): Parts {
  if (batch instanceof Dataset) {
    if (!batch.labels) throw expected('labels', where, null, { where: batch.name })
    return { x: fitting('x', batch.inputs, input, where), y: batch.labels }
  }
  const given = Array.isArray(batch) && batch.length === 2 ? { x: batch[0], y: batch[1] } : batch
  const { x, y } = (typeof given === 'object' && given !== null ? given : {}) as { x?: unknown; y?: unknown }
  if (x === undefined || y === undefined) {
    throw expected('{ x, y } or [x, y]', where, batch, { fix: 'Data that are there as a whole are given by dataset()' })
  }
  const inputs = inputOf('x', x, input, where)
  return { x: inputs, y: labelsOf('y', y, inputs.shape[0] as number, where) }
}

/** Parts of a batch for a model of named inputs; parts that are no inputs go to the loss. */
export function toNamed(batch: unknown, inputs: Readonly<Record<string, Wanted>>, where: string): Parts {
  const given = batch instanceof Joined ? batch.parts : batch
  if (typeof given !== 'object' || given === null || ArrayBuffer.isView(given) || Array.isArray(given)) {
    throw expected(`parts by name (${Object.keys(inputs).join(', ')} and what the loss needs)`, where, batch)
  }
  const parts: Record<string, DataArray> = {}
  let rows: number | undefined
  for (const [name, input] of Object.entries(inputs)) {
    parts[name] = inputOf(name, (given as Record<string, unknown>)[name], input, where)
    rows ??= parts[name].shape[0]
    if (parts[name].shape[0] !== rows) throw unequal(name, rows as number, parts[name], where)
  }
  for (const [name, value] of Object.entries(given)) parts[name] ??= labelsOf(name, value, rows as number, where)
  return parts
}

function inputOf(name: string, value: unknown, input: Wanted, where: string): DataArray {
  const { shape } = input
  if (value instanceof Dataset) return fitting(name, value.inputs, input, where)
  if (value instanceof Tensor) return fitting(name, fromTensor(value), input, where)
  const place = `${where}.${name}`
  if (Array.isArray(value)) {
    const isFlat = value.every((row) => typeof row === 'number')
    const rows = isFlat ? value.length / sizeOf(shape) : value.length
    const nested = toInputs(value, isFlat ? [rows, ...shape] : undefined, undefined, place)
    const data = input.dtype === 'int32' ? Int32Array.from(nested.data) : nested.data
    return fitting(name, { ...nested, data }, input, where)
  }
  const data = storedType(value)
  if (data === undefined) throw expected('a typed array, nested arrays or a tensor', name, value, { where })
  const rows = data.length / sizeOf(shape)
  if (rows === 0 || !Number.isInteger(rows)) {
    throw expected(`a multiple of ${sizeOf(shape)} elements (${showShape(shape)} each)`, name, value, {
      code: 'shape',
      where,
    })
  }
  return fitting(name, { data, shape: [rows, ...shape], scale: usualScale(data) }, input, where)
}

function labelsOf(name: string, value: unknown, rows: number, where: string): DataArray {
  let labels: DataArray
  if (value instanceof Dataset) labels = value.inputs
  else if (value instanceof Tensor) labels = fromTensor(value)
  else {
    labels = toLabels(value, undefined, rows, `${where}.${name}`)
    // Whole numbers row by row: one label each, or several.
    const each = labels.data.length / rows
    if (labels.shape.length === 1 && each > 1 && Number.isInteger(each)) labels = { ...labels, shape: [rows, each] }
  }
  if (labels.shape[0] !== rows) throw unequal(name, rows, labels, where)
  return labels
}

function fitting(name: string, array: DataArray, { shape, dtype }: Wanted, where: string): DataArray {
  const stored = storedDtype(array)
  const received = stored === 'uint8' ? 'float32' : stored
  if (received === dtype && sameShape(array.shape.slice(1), shape)) return array
  throw new GradlineError(
    'shape',
    `Expected ${dtype} [n${shape.map((size) => `, ${size}`).join('')}] for ${name} but received ${stored} ` +
      showShape(array.shape),
    { where },
  )
}

const unequal = (name: string, rows: number, { shape }: DataArray, where: string): GradlineError =>
  expected(`${rows} rows, as many as there are inputs,`, name, shape[0], { code: 'shape', where })

const fromTensor = ({ data, shape }: Tensor): DataArray => ({
  data: data as DataArray['data'],
  shape,
  scale: { factor: 1, offset: 0 },
})

const usualScale = (data: DataArray['data']): DataArray['scale'] =>
  data instanceof Uint8Array ? { factor: 1 / 255, offset: 0 } : { factor: 1, offset: 0 }
