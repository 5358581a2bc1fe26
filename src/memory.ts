// Memory of regions: attached to a region when a program that uses it is loaded or its first value is written. Reads and
// writes copy; while a program that uses the region is queued or runs they are refused, so nobody sees half a step.

import { Device, device } from './device.js'
import { allocate, bytesView, convert, type DType, dtypes, type TypedArray } from './dtype.js'
import { checkOneOf, checkOptions, checkText, expected, GradlineError } from './errors.js'
import { type NativeStorage, translate } from './native.js'
import { checkShape, type Shape, showShape, sizeOf } from './shape.js'
import { decodeStep, encodeStep, type StepFields } from './step.js'
import { Region, Variable } from './tensor.js'

const memories = new WeakMap<Region, { device: Device; storage: NativeStorage }>()

/** The memory of a region, allocated at the first call with the initial values of its variables. A region lives on one device. */
export function storageOf(region: Region, on: Device): NativeStorage {
  const known = memories.get(region)
  if (known) {
    if (known.device !== on) {
      throw new GradlineError(
        'state',
        `${region.name} lives on ${known.device.describe()} and cannot be used on ${on.describe()}`,
      )
    }
    return known.storage
  }
  const storage = translate(() => on.native.storage(Math.max(region.bytes, 64)))
  for (const { initial, offset } of region.variables) if (initial) storage.write(offset, bytesView(initial))
  region.sealed = true
  memories.set(region, { device: on, storage })
  return storage
}

export const hasMemory = (region: Region): boolean => memories.has(region)

/** Gives the memory of a region back that nothing was computed in, such as data that turned out not to fit. */
export function releaseMemory(region: Region): void {
  memories.get(region)?.storage.release()
  memories.delete(region)
}

/** A copy of the variable's elements; its initial ones if nothing was ever written or run. Throws while a program uses its region. */
export function read(variable: Variable): TypedArray {
  if (!(variable instanceof Variable)) throw expected('a variable', 'read', variable)
  const data = allocate(variable.dtype, variable.size)
  const memory = memories.get(variable.region)
  if (!memory) data.set(variable.initial ?? [])
  else translate(() => memory.storage.read(variable.offset, bytesView(data)))
  return data
}

/** Sets all elements of the variable. Throws when the number of elements differs or a program uses its region. */
export function write(variable: Variable, values: ArrayLike<number>, on: Device = device()): void {
  if (!(variable instanceof Variable)) throw expected('a variable', 'write', variable)
  if (typeof values?.length !== 'number')
    throw expected('an array of numbers', `the elements of ${variable.name}`, values)
  if (!(on instanceof Device)) throw expected('a device such as device()', 'write', on)
  if (values.length !== variable.size) {
    throw new GradlineError(
      'shape',
      `Expected ${variable.size} elements for ${variable.name} ${showShape(variable.shape)} but received ${values.length}`,
    )
  }
  const storage = memories.get(variable.region)?.storage ?? storageOf(variable.region, on)
  translate(() => storage.write(variable.offset, bytesView(convert(values, variable.dtype))))
}

export interface VariableOptions {
  name?: string
  /** Initial elements, or one number for all. Default 0. */
  value?: number | ArrayLike<number>
  dtype?: DType
}

/** A variable in a region of its own, for programs written with record(): a parameter, a state, a table of data. */
export function variable(shape: Shape, options: VariableOptions = {}): Variable {
  const known = ['name', 'value', 'dtype']
  const { name = 'variable', value = 0, dtype = 'float32' } = checkOptions('variable', options, known)
  checkText('name of variable', name)
  checkOneOf(`element type of ${name}`, dtype, dtypes)
  const size = sizeOf(checkShape(`shape of ${name}`, shape))
  // Memory begins as zeros.
  if (value === 0) return new Region('param', name).add(name, [...shape], dtype)
  if (typeof value !== 'number' && typeof value?.length !== 'number')
    throw expected('numbers', `value of ${name}`, value)
  const initial =
    typeof value === 'number'
      ? allocate(dtype, size).fill(convert([value], dtype)[0] as number)
      : convert(value, dtype).slice()
  if (initial.length !== size) throw expected(`${size} elements`, `value of ${name} ${showShape(shape)}`, value)
  return new Region('param', name).add(name, [...shape], dtype, initial)
}

function checkState(name: string, state: Variable): void {
  const isState = state instanceof Variable && state.region.kind === 'step'
  if (!isState) throw expected('a step state, such as program.step or updater.step,', name, state)
}

/** The fields of a step state. */
export function readStep(state: Variable): StepFields {
  checkState('readStep', state)
  return decodeStep(read(state) as Uint8Array)
}

/** Changes some fields of a step state between runs. */
export function writeStep(state: Variable, fields: Partial<StepFields>, on: Device = device()): void {
  checkState('writeStep', state)
  const bytes = read(state) as Uint8Array
  encodeStep(bytes, fields ?? {})
  write(state, bytes, on)
}
