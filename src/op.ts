// An operation: a name, a shape rule and a derivative written in operations. Every op that native code runs is defined
// once with `defineOp`, under the name it has in native/ops.def, in the family file that has the same name in every room.

import type { DType } from './dtype.js'
import { expected, GradlineError } from './errors.js'
import { type Shape, sameShape, showShape } from './shape.js'
import { Tensor } from './tensor.js'

/** Numbers fixed when the op is recorded. Whatever changes between steps is a tensor instead. */
export type Attrs = Readonly<Record<string, number>>

export interface Value {
  readonly shape: Shape
  readonly dtype: DType
}

export interface Application {
  readonly inputs: readonly Tensor[]
  readonly outputs: readonly Tensor[]
  readonly attrs: Attrs
}

/** One gradient per input; undefined where none flows (labels, indices, comparisons). */
export type Backward = (grads: readonly (Tensor | undefined)[], at: Application) => readonly (Tensor | undefined)[]

export interface OpSpec {
  readonly name: string
  /** Attribute names in encoded order. */
  readonly attrs?: readonly string[]
  /**
   * Outputs from inputs; the place where people's arguments are checked. `asked` is the output's shape where inputs and
   * attributes do not determine it (fill, slice, conv2dInputGrad), else empty.
   */
  readonly shape: (inputs: readonly Tensor[], attrs: Attrs, asked: Shape) => readonly Value[]
  /** Absent: asking for a gradient through this op is an error that says so. */
  readonly backward?: Backward
  /** Output 0 may take the place of an input of the same shape that is not needed afterwards. */
  readonly inPlace?: boolean
  /** May be applied to a tile of a matrix product or convolution before it is stored (its input 0). */
  readonly epilogue?: boolean
  /** The inputs, by position, that the op changes in place and that are its outputs. */
  readonly effect?: readonly number[]
  /** Only another view of input 0: no kernel runs. */
  readonly alias?: boolean
}

export type Op = Readonly<Required<Pick<OpSpec, 'name' | 'attrs' | 'shape' | 'inPlace' | 'epilogue' | 'alias'>>> & {
  readonly backward: Backward | undefined
  readonly effect: readonly number[] | undefined
}

const table = new Map<string, Op>()

export function defineOp(spec: OpSpec): Op {
  if (table.has(spec.name)) throw new GradlineError('argument', `The op ${spec.name} is defined twice`)
  const op: Op = {
    name: spec.name,
    attrs: spec.attrs ?? [],
    shape: spec.shape,
    backward: spec.backward,
    inPlace: spec.inPlace ?? false,
    epilogue: spec.epilogue ?? false,
    effect: spec.effect,
    alias: spec.alias ?? false,
  }
  table.set(op.name, op)
  return op
}

/** All ops defined so far, by name. */
export function opTable(): ReadonlyMap<string, Op> {
  return table
}

// ---- Checks shared by the shape rules ------------------------------------------------------------------------------

/** Throws unless all are tensors: asked by `apply`, and before it by every function that reads an operand itself. */
export function checkTensors(name: string, ...values: unknown[]): void {
  for (const value of values) if (!(value instanceof Tensor)) throw expected('a tensor', name, value)
}

/** `Expected a float tensor for matmul but received int32 [3, 4]` */
export function expectTensor(what: string, op: string, received: Tensor): GradlineError {
  return new GradlineError(
    'shape',
    `Expected ${what} for ${op} but received ${received.dtype} ${showShape(received.shape)}`,
  )
}

export function checkFloat(op: string, ...tensors: Tensor[]): void {
  for (const tensor of tensors) if (tensor.dtype !== 'float32') throw expectTensor('a float tensor', op, tensor)
}

export function checkRank(op: string, tensor: Tensor, rank: number, axes: string): void {
  checkTensors(op, tensor)
  if (tensor.rank !== rank) throw expectTensor(`a tensor of ${rank} axes ${axes}`, op, tensor)
}

export function checkSameShape(op: string, a: Tensor, b: Tensor): void {
  if (!sameShape(a.shape, b.shape)) {
    throw new GradlineError(
      'shape',
      `Expected equal shapes for ${op} but received ${showShape(a.shape)} and ${showShape(b.shape)}`,
    )
  }
}

export function checkStep(op: string, tensor: Tensor): void {
  if (tensor.dtype !== 'uint8' || !sameShape(tensor.shape, [256])) throw expectTensor('a step state', op, tensor)
}
