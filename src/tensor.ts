// The value that everything else speaks about: a shape and an element type, and where the value comes from. While a
// program is recorded a tensor has no data; an eager tensor holds its elements; a variable names a place in a region
// that outlives the program. No operation is defined here.

import type { DType, TypedArray } from './dtype.js'
import { expected, GradlineError } from './errors.js'
import type { Node } from './graph.js'
import { type Shape, showShape, sizeOf } from './shape.js'

export class Tensor {
  readonly shape: Shape
  readonly dtype: DType
  /** The recorded application that makes this value; undefined for inputs, variables and eager data. */
  readonly node: Node | undefined
  readonly #data: TypedArray | undefined

  constructor(shape: Shape, dtype: DType, from: { node?: Node; data?: TypedArray } = {}) {
    if (!Array.isArray(shape)) throw expected('an array of sizes', 'the shape of a tensor', shape)
    this.shape = shape
    this.dtype = dtype
    this.node = from.node
    this.#data = from.data
  }

  get rank(): number {
    return this.shape.length
  }

  get size(): number {
    return sizeOf(this.shape)
  }

  /** True when `data` can be read. */
  get isEager(): boolean {
    return this.#data !== undefined
  }

  /** The elements, row by row. Throws for a tensor of a recorded program: its elements exist only while a step runs. */
  get data(): TypedArray {
    if (this.#data === undefined) throw readWhileRecording(this)
    return this.#data
  }

  /** The only element of a tensor of size 1. */
  item(): number {
    const data = this.data
    if (data.length !== 1) {
      throw new GradlineError('shape', `Expected one element for item() but received shape ${showShape(this.shape)}`)
    }
    return data[0] as number
  }

  // A symbolic tensor used as a number would freeze a branch or a constant into the program; these refuse instead.
  valueOf(): number {
    return this.item()
  }

  toJSON(): { shape: Shape; dtype: DType; data: number[] } {
    return { shape: this.shape, dtype: this.dtype, data: Array.from(this.data) }
  }

  toString(): string {
    return `Tensor ${this.dtype} ${showShape(this.shape)}`
  }
}

function readWhileRecording(tensor: Tensor): GradlineError {
  const site = tensor.node?.site
  const where = site ? ` made at ${[site.path, site.line].filter(Boolean).join(', ')}` : ''
  return new GradlineError(
    'recording',
    `The value of ${tensor}${where} was read while its program is recorded, when no data exists yet. ` +
      'Return it from the recorded function to get it after a step, or choose between tensors with ops.select()',
  )
}

export type RegionKind = 'param' | 'opt' | 'state' | 'step' | 'data'

/** Every value starts at a multiple of this many bytes. */
export const alignment = 64

/**
 * Memory that outlives programs: variables side by side at fixed places. It is only a plan; the machine room attaches
 * memory to it when a program that uses it is loaded, and from then on no variable can be added.
 */
export class Region {
  readonly kind: RegionKind
  readonly name: string
  readonly variables: Variable[] = []
  /** Bytes so far, a multiple of the alignment. */
  bytes = 0
  /** Set once memory exists. */
  sealed = false

  constructor(kind: RegionKind, name: string) {
    this.kind = kind
    this.name = name
  }

  /**
   * Adds a variable behind the others. `initial` is what it holds once memory exists, zeros if absent.
   * Throws when memory for the region already exists.
   */
  add(name: string, shape: Shape, dtype: DType, initial?: TypedArray): Variable {
    if (this.sealed) {
      throw new GradlineError(
        'state',
        `Cannot add ${name} to ${this.name}: its memory is already in use. Create every variable before the first run`,
      )
    }
    const variable = new Variable(name, shape, dtype, this, this.bytes, initial)
    const bytes = variable.size * (dtype === 'uint8' ? 1 : 4)
    this.bytes += Math.ceil(bytes / alignment) * alignment
    this.variables.push(variable)
    return variable
  }

  /** The whole region as one float vector, padding included: what the flat optimizer step works on. */
  flat(): Variable {
    return new Variable(this.name, [this.bytes / 4], 'float32', this, 0)
  }
}

/** What a layer asks of the updates of its parameter: penalties added to the gradient, a bound kept after the step. */
export interface ParameterRules {
  /** Penalty l1 * sum |w|. */
  readonly l1?: number
  /** Penalty l2 / 2 * sum w^2. */
  readonly l2?: number
  /** Largest L2 norm of the incoming weights of a unit (all axes but the last). */
  readonly maxNorm?: number
}

/** A value with a fixed place in a region: a parameter, a moment, a running statistic, a data set, the step state. */
export class Variable extends Tensor {
  readonly name: string
  readonly region: Region
  /** Bytes from the start of the region. */
  readonly offset: number
  /** Elements before the first write or step; zeros if absent. */
  readonly initial: TypedArray | undefined
  /** What every optimizer that updates the variable obeys. */
  rules: ParameterRules = {}

  constructor(name: string, shape: Shape, dtype: DType, region: Region, offset: number, initial?: TypedArray) {
    super(shape, dtype)
    this.name = name
    this.region = region
    this.offset = offset
    this.initial = initial
  }

  override toString(): string {
    return `${this.name} ${this.dtype} ${showShape(this.shape)}`
  }
}
