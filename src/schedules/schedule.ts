// What a schedule is: pieces that give the learning rate as a function of a counter of the step state. It is a description;
// the rate is computed inside the step, by the op scheduleRate, before every update.

import { checkOneOf } from '../errors.js'
import { type SchedulePiece, type ScheduleUnit, scheduleRate } from '../ops/schedule.js'
import { Region, type Variable } from '../tensor.js'

/** Given to an optimizer: `adam({ lr: 1e-3, schedule: cosine({ steps: 10_000 }) })`. */
export interface Schedule {
  readonly kind: string
  readonly unit: ScheduleUnit
  /** Units of t after which the rate stays as it is; undefined if it never rests. */
  readonly length: number | undefined
  /**
   * The schedule for an optimizer with the rate `lr`. Options of schedules that are rates (`values`, `min`, `max`, `end`)
   * are the rates themselves; options that are factors (`gamma`, `from`, `multiplier`) refer to `lr`.
   */
  readonly pieces: (lr: number) => readonly TablePiece[]
}

/** A piece, and for the kind `table` its numbers. */
export interface TablePiece extends SchedulePiece {
  readonly table?: readonly number[]
}

export interface UnitOptions {
  /**
   * What is counted, from 0. 'step': updates applied, so that the first update has t = 0 and a skipped one does not count.
   * 'epoch': passes over the data finished, so that t = 0 all through the first. Default 'step'.
   */
  unit?: ScheduleUnit
}

export function unitOf(kind: string, options: UnitOptions): ScheduleUnit {
  return checkOneOf(`unit of ${kind}`, options.unit ?? 'step', ['step', 'epoch'])
}

/** A schedule of one piece that begins at t = 0. */
export function schedule(
  kind: string,
  unit: ScheduleUnit,
  length: number | undefined,
  piece: (lr: number) => Omit<TablePiece, 'begin'>,
): Schedule {
  return { kind, unit, length, pieces: (lr) => [{ begin: 0, ...piece(lr) }] }
}

/** Records the schedule of an optimizer with the rate `lr` into its step state, inside record(). */
export function applySchedule({ kind, unit, pieces }: Schedule, lr: number, step: Variable): void {
  for (const { table, ...piece } of pieces(lr)) {
    const values = table && Float32Array.from(table)
    const variable = values && new Region('data', kind).add(kind, [values.length], 'float32', values)
    scheduleRate(step, unit, piece, variable)
  }
}
