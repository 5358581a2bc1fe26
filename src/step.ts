// The step state: the 256 bytes in which everything stands that changes from step to step. Its fields and their rules are
// those of StepState in native/abi.h; this file only knows their places.

import { checkFinite, checkInteger, checkOptions, checkText } from './errors.js'
import { Region, type Variable } from './tensor.js'

export const stepBytes = 256

/** Fields by name. 64-bit counters are exact up to 2^53. */
export interface StepFields {
  /** Key of every random stream. */
  seed: number
  /** Steps begun. */
  step: number
  /** Updates applied: Adam's t. */
  updates: number
  /** Updates left out since a gradient was not finite. */
  skipped: number
  /** Passes over the data finished. */
  epoch: number
  /** Rows of this epoch handed out. */
  cursor: number
  /** Learning rate. A schedule writes it anew in every step. */
  rate: number
  /** Factor on the learning rate beside any schedule; 1 unless a callback such as reduceOnPlateau lowered it. */
  rateFactor: number
  /** Global norm of the last gradients, before clipping. */
  gradNorm: number
  /** Micro-batches of the group whose gradients are being accumulated, and their rows. */
  groupSteps: number
  groupRows: number
  /** 1 while the group waits for more of them. */
  pending: number
}

const places: Record<keyof StepFields, { offset: number; kind: 'u64' | 'f64' }> = {
  seed: { offset: 0, kind: 'u64' },
  step: { offset: 8, kind: 'u64' },
  updates: { offset: 16, kind: 'u64' },
  skipped: { offset: 24, kind: 'u64' },
  epoch: { offset: 32, kind: 'u64' },
  cursor: { offset: 40, kind: 'u64' },
  rate: { offset: 56, kind: 'f64' },
  gradNorm: { offset: 64, kind: 'f64' },
  rateFactor: { offset: 88, kind: 'f64' },
  groupSteps: { offset: 104, kind: 'u64' },
  groupRows: { offset: 112, kind: 'u64' },
  pending: { offset: 120, kind: 'u64' },
}

/** A step state of its own, e.g. one per optimizer; fields not given start at 0, rateFactor at 1. */
export function stepState(name = 'step', fields: Partial<StepFields> = {}): Variable {
  checkText('the name of a step state', name)
  const bytes = new Uint8Array(stepBytes)
  encodeStep(bytes, { rateFactor: 1, ...fields })
  return new Region('step', name).add(name, [stepBytes], 'uint8', bytes)
}

/** Writes the given fields into the bytes of a step state; the others keep their values. */
export function encodeStep(bytes: Uint8Array, fields: Partial<StepFields>): void {
  checkOptions('a step state', fields, Object.keys(places))
  const view = new DataView(bytes.buffer, bytes.byteOffset, stepBytes)
  for (const [name, value] of Object.entries(fields) as [keyof StepFields, number][]) {
    const { offset, kind } = places[name]
    if (kind === 'u64') view.setBigUint64(offset, BigInt(checkInteger(name, value, { min: 0 })), true)
    else view.setFloat64(offset, name === 'gradNorm' ? value : checkFinite(name, value), true)
  }
}

export function decodeStep(bytes: Uint8Array): StepFields {
  const view = new DataView(bytes.buffer, bytes.byteOffset, stepBytes)
  const read = (name: keyof StepFields): number => {
    const { offset, kind } = places[name]
    return kind === 'u64' ? Number(view.getBigUint64(offset, true)) : view.getFloat64(offset, true)
  }
  return {
    seed: read('seed'),
    step: read('step'),
    updates: read('updates'),
    skipped: read('skipped'),
    epoch: read('epoch'),
    cursor: read('cursor'),
    rate: read('rate'),
    rateFactor: read('rateFactor'),
    gradNorm: read('gradNorm'),
    groupSteps: read('groupSteps'),
    groupRows: read('groupRows'),
    pending: read('pending'),
  }
}
