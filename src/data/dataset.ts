// A data set in memory: rows of inputs, with or without labels, checked once when it is made. It holds numbers and cuts them
// into parts; batches, order and scaling to floats happen in the training program, so bytes stay bytes here.

import { checkInteger, checkOneOf, checkOptions, expected } from '../errors.js'
import {
  allocate,
  checkArray,
  checkLabels,
  type DataArray,
  type InputData,
  type LabelData,
  maxLabel,
  rowsOf,
  type ScaleOption,
  sampleSize,
  toInputs,
  toLabels,
} from './arrays.js'
import { permutation } from './permutation.js'

export type { DataArray, InputData, LabelData, NestedNumbers, Scale } from './arrays.js'

export interface DatasetOptions {
  /** [n, ...sample] of inputs given as a typed array; nested arrays tell it themselves. A list of numbers is [n, 1]. */
  readonly shape?: readonly number[]
  /** [n, ...] of labels given as a typed array. Default [n] for class labels, [n, values per sample] for targets. */
  readonly labelShape?: readonly number[]
  /** Number of classes. Default for class labels: the largest label + 1. */
  readonly classes?: number
  /** Class label of samples that a loss with the same `ignoreIndex` leaves out; the only one that may be below 0. */
  readonly ignoreLabel?: number
  /** Factor, or factor and offset, applied to inputs. Default 1/255 for Uint8 inputs, else 1. Not for Int32 inputs. */
  readonly scale?: Exclude<ScaleOption, undefined>
  /** Used in error messages. */
  readonly name?: string
}

export interface SplitOptions {
  /** A whole number is a number of samples, a number between 0 and 1 a share. */
  readonly validation: number
  /** Chooses the permutation. Default 0. */
  readonly seed?: number
  /** Default true. With false the last samples are the validation part, and nothing is copied. */
  readonly shuffle?: boolean
}

export interface Split {
  readonly train: Dataset
  readonly validation: Dataset
}

/** Made by `dataset()`, which checks the values; the constructor checks only that the sizes fit. */
export class Dataset {
  readonly inputs: DataArray
  /** int32 class labels or float32 targets; null if the data set has none. */
  readonly labels: DataArray | null
  /** Number of classes; null without class labels, unless it was given. */
  readonly classes: number | null
  readonly name: string

  constructor(inputs: DataArray, labels: DataArray | null, classes: number | null = null, name = 'dataset') {
    checkArray('inputs', inputs, name)
    if (labels !== null) {
      checkArray('labels', labels, name)
      const rows = inputs.shape[0]
      if (labels.shape[0] !== rows) {
        throw expected(`${rows} labels, one per sample,`, 'labels', labels.shape[0], { code: 'shape', where: name })
      }
    }
    this.inputs = inputs
    this.labels = labels
    this.classes = classes
    this.name = name
  }

  /** Number of samples. */
  get length(): number {
    return rowsOf(this.inputs)
  }

  /** Shape of one input, without the number of samples. */
  get sampleShape(): readonly number[] {
    return this.inputs.shape.slice(1)
  }

  /** The first `count` samples, as a view. */
  take(count: number): Dataset {
    return this.slice(0, checkInteger('take', count, { min: 1, max: this.length, where: this.name }))
  }

  /** Samples from `begin` up to but without `end` (default: all the rest), as a view. Empty parts are refused. */
  slice(begin: number, end: number = this.length): Dataset {
    checkInteger('the begin of slice', begin, { min: 0, max: this.length - 1, where: this.name })
    checkInteger('the end of slice', end, { min: begin + 1, max: this.length, where: this.name })
    return this.#each((array) => {
      const size = sampleSize(array)
      return {
        ...array,
        data: array.data.subarray(begin * size, end * size),
        shape: [end - begin, ...array.shape.slice(1)],
      }
    })
  }

  /**
   * Two disjoint parts that together hold every sample, neither empty. Shuffled parts are copies; the same seed and number of
   * samples give the same parts on every machine.
   */
  split(options: SplitOptions): Split {
    const where = `${this.name}.split`
    const { validation, seed = 0, shuffle = true } = checkOptions(where, options, ['validation', 'seed', 'shuffle'])
    checkInteger('seed', seed, { min: 0, where })
    checkOneOf('shuffle', shuffle, [true, false], { where })
    const held = this.#validationCount(validation, where)
    const kept = this.length - held
    if (!shuffle) return { train: this.slice(0, kept), validation: this.slice(kept) }
    const order = permutation(this.length, seed)
    return { train: this.#pick(order.subarray(held)), validation: this.#pick(order.subarray(0, held)) }
  }

  #validationCount(validation: number | undefined, where: string): number {
    if (this.length < 2) throw expected('at least 2 samples', 'a split', this.length, { code: 'data', where })
    const most = this.length - 1
    if (typeof validation === 'number' && validation > 0 && validation < 1) {
      return Math.min(most, Math.max(1, Math.round(this.length * validation)))
    }
    if (typeof validation === 'number' && Number.isInteger(validation) && validation >= 1 && validation <= most) {
      return validation
    }
    throw expected(`a number of samples from 1 to ${most}, or a share between 0 and 1,`, 'validation', validation, {
      where,
    })
  }

  #pick(rows: Uint32Array): Dataset {
    return this.#each((array) => {
      const size = sampleSize(array)
      const data = allocate(array.data, rows.length * size, this.name)
      for (let i = 0; i < rows.length; i += 1) {
        const row = rows[i] ?? 0
        data.set(array.data.subarray(row * size, (row + 1) * size), i * size)
      }
      return { ...array, data, shape: [rows.length, ...array.shape.slice(1)] }
    })
  }

  #each(change: (array: DataArray) => DataArray): Dataset {
    return new Dataset(change(this.inputs), this.labels && change(this.labels), this.classes, this.name)
  }
}

/**
 * Makes a data set of `inputs` and, unless null, `labels`. Typed arrays are kept, not copied, where their type is one that is
 * stored. Throws GradlineError: `data` for values that are empty, NaN, infinite or outside the classes, `shape` for sizes that
 * disagree, `argument` for wrong types; the message names the first position.
 */
export function dataset(inputs: InputData, labels: LabelData | null = null, options?: DatasetOptions): Dataset {
  const known = ['shape', 'labelShape', 'classes', 'ignoreLabel', 'scale', 'name']
  const { shape, labelShape, classes, ignoreLabel, scale, name = 'dataset' } = checkOptions('dataset', options, known)
  if (typeof name !== 'string') throw expected('text', 'name', name, { where: 'dataset' })
  if (classes !== undefined) checkInteger('classes', classes, { min: 1, max: maxLabel, where: name })
  if (ignoreLabel !== undefined)
    checkInteger('ignoreLabel', ignoreLabel, { min: -maxLabel, max: maxLabel, where: name })

  const stored = toInputs(inputs, shape, scale, name)
  if (labels === null || labels === undefined) {
    if (labelShape !== undefined) throw expected('labels', 'labelShape', labels, { where: name })
    return new Dataset(stored, null, classes ?? null, name)
  }
  const target = toLabels(labels, labelShape, rowsOf(stored), name, ignoreLabel)
  if (target.data instanceof Int32Array) {
    return new Dataset(stored, target, checkLabels(target.data, classes, name, ignoreLabel), name)
  }
  const width = target.shape.at(-1)
  if (classes !== undefined && width !== classes) {
    throw expected(`${classes} values per sample, one per class,`, 'labels', width, { code: 'shape', where: name })
  }
  return new Dataset(stored, target, classes ?? null, name)
}
