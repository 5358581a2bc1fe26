// Samples as predict() takes them: checked against the inputs of a model, and cut into batches of scaled numbers. It runs
// nothing.

import { type DataArray, Dataset } from '../data/dataset.js'
import { Joined } from '../data/joined.js'
import { convert } from '../dtype.js'
import { checkInteger, checkOptions, expected, GradlineError } from '../errors.js'
import { type Shape, sameShape, showShape, sizeOf } from '../shape.js'
import { Tensor } from '../tensor.js'
import { checkPart, type ModelInput, type Samples } from './graphModel.js'

/** Some rows of the samples, by input; the last batch is smaller. */
export interface SampleBatch {
  readonly inputs: Record<string, Float32Array | Int32Array>
  /** Number of the first row. */
  readonly row: number
  /** Rows here, and in all. */
  readonly count: number
  readonly rows: number
}

interface Source extends Pick<DataArray, 'data' | 'scale'> {
  readonly name: string
  readonly dtype: ModelInput['dtype']
  /** Elements per row. */
  readonly size: number
}

/** Samples by the names of the inputs, cut into batches. `model` is its name, for messages. */
export function* batchesOf(
  model: string,
  inputs: Readonly<Record<string, ModelInput>>,
  samples: Joined | Readonly<Record<string, Samples>>,
  batchSize = 256,
): Generator<SampleBatch> {
  checkInteger('batchSize', batchSize, { min: 1 })
  const names = Object.keys(inputs)
  if (!(samples instanceof Joined)) checkOptions(`the samples of ${model}`, samples, names)
  const given = (samples instanceof Joined ? samples.parts : samples) as Readonly<Record<string, Samples>>
  const sources = names.map((name) => sourceOf(model, name, inputs[name] as ModelInput, given?.[name]))
  const [rows, ...others] = sources.map(({ data, size }) => data.length / size) as [number, ...number[]]
  const odd = others.findIndex((count) => count !== rows)
  if (odd >= 0) throw expected(`${rows} samples, as of ${names[0]},`, `input ${names[odd + 1]}`, others[odd])
  for (let row = 0; row < rows; row += batchSize) {
    const count = Math.min(batchSize, rows - row)
    const parts = sources.map((source) => [source.name, rowsOf(source, row, count)])
    yield { inputs: Object.fromEntries(parts), row, count, rows }
  }
}

function rowsOf(
  { data, scale: { factor, offset }, dtype, size }: Source,
  row: number,
  count: number,
): Float32Array | Int32Array {
  const part = convert(data.subarray(row * size, (row + count) * size), dtype) as Float32Array | Int32Array
  return factor === 1 && offset === 0 ? part : part.map((value) => Math.fround(factor) * value + offset)
}

function sourceOf(model: string, name: string, input: ModelInput, samples: Samples | undefined): Source {
  const { shape, dtype } = input
  const facts = { name, dtype, size: sizeOf(shape) }
  if (samples instanceof Dataset) {
    checkPart('samples', samples, name, model, input)
    return { ...facts, ...samples.inputs }
  }
  const data = convert(elementsOf(model, name, shape, samples), dtype) as DataArray['data']
  return { ...facts, data, scale: { factor: 1, offset: 0 } }
}

function elementsOf(model: string, name: string, shape: Shape, samples: Tensor | ArrayLike<number> | undefined) {
  if (samples instanceof Tensor) {
    const sample = samples.shape.slice(1)
    if (sameShape(sample, shape)) return samples.data
    throw new GradlineError(
      'shape',
      `Expected samples ${showShape(shape)} for ${model} but received ${showShape(sample)}`,
    )
  }
  const where = name === 'x' ? 'predict' : `input ${name} of predict`
  if (Array.isArray(samples) && samples.some((value) => typeof value !== 'number')) {
    throw expected('numbers row by row', where, samples, { fix: 'Rows of rows are given by dataset() or tensor()' })
  }
  const isList = Array.isArray(samples) || (ArrayBuffer.isView(samples) && 'length' in samples)
  if (!isList || samples.length === 0 || samples.length % sizeOf(shape) !== 0) {
    throw expected(`a multiple of ${sizeOf(shape)} elements (${showShape(shape)} each)`, where, samples)
  }
  return samples
}
