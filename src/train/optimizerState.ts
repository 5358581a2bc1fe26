// Everything an optimizer at work remembers: its moments and its step state. Weights are the model's own snapshot.

import type { Device } from '../device.js'
import type { TypedArray } from '../dtype.js'
import { read, write } from '../memory.js'
import type { Updater } from '../optimizers/optimizer.js'

export interface OptimizerSnapshot {
  /** By moment, of all parameter regions one after the other. */
  readonly slots: readonly TypedArray[]
  /** Counters, learning rate, seed. */
  readonly step: TypedArray
}

export function snapshotOptimizer(updater: Updater): OptimizerSnapshot {
  return { slots: [...updater.slots.values()].flat().map(read), step: read(updater.step) }
}

export function restoreOptimizer(updater: Updater, snapshot: OptimizerSnapshot, on: Device): void {
  const slots = [...updater.slots.values()].flat()
  for (const [i, values] of snapshot.slots.entries()) {
    const slot = slots[i]
    if (slot) write(slot, values, on)
  }
  write(updater.step, snapshot.step, on)
}
