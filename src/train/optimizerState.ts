// Everything an optimizer at work remembers: its moments, its average of the weights and its step state. The weights
// themselves are the model's own snapshot.

import type { Device } from '../device.js'
import type { TypedArray } from '../dtype.js'
import { expected, GradlineError } from '../errors.js'
import { read, write } from '../memory.js'
import { Updater } from '../optimizers/optimizer.js'
import type { Variable } from '../tensor.js'

export interface OptimizerSnapshot {
  /** Moments, and the average of the weights where one is kept, of all parameter regions. */
  readonly slots: readonly TypedArray[]
  /** Counters, learning rate, seed. */
  readonly step: TypedArray
}

export function snapshotOptimizer(updater: Updater): OptimizerSnapshot {
  return { slots: vectorsOf(updater).map(read), step: read(updater.step) }
}

// In the order in which they were made.
function vectorsOf(updater: Updater): Variable[] {
  if (!(updater instanceof Updater)) throw expected('an optimizer at work, such as run.updater,', 'updater', updater)
  return [...updater.slots.values(), ...updater.averages.values()].flat()
}

export function restoreOptimizer(updater: Updater, snapshot: OptimizerSnapshot, on: Device): void {
  const vectors = vectorsOf(updater)
  const { slots, step } = snapshot ?? {}
  if (
    !step ||
    !Array.isArray(slots) ||
    slots.length !== vectors.length ||
    slots.some((slot, i) => slot?.length !== vectors[i]?.size)
  ) {
    throw new GradlineError(
      'shape',
      `Expected a snapshot of ${updater.optimizer.kind} at work on these parameters but received another`,
    )
  }
  vectors.forEach((vector, i) => {
    write(vector, slots[i] as TypedArray, on)
  })
  write(updater.step, step, on)
}
