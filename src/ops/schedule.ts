// The learning rate of a step, computed inside the step from its counters, so that each of a thousand steps in one call
// has its own. Which pieces a schedule is made of is decided in schedules/.

import { checkFinite, checkOneOf, checkOptions, expected } from '../errors.js'
import { apply, currentGraph } from '../graph.js'
import { checkFloat, checkRank, checkStep, defineOp } from '../op.js'
import type { Tensor, Variable } from '../tensor.js'

/** In the order of ScheduleKind in native/abi.h. */
const kinds = ['constant', 'exponential', 'power', 'polynomial', 'cosine', 'steps', 'table'] as const

/** What a schedule counts: updates applied, or finished passes over the data. The first of each is number 0. */
export type ScheduleUnit = 'step' | 'epoch'

/**
 * One piece of a schedule: for begin <= t < end the rate is f(t - begin), with x = t - begin:
 * - `constant`: base
 * - `exponential`: base * b^(x / a)
 * - `power`: base * (1 + x / a)^-b
 * - `polynomial`: c + (base - c) * (1 - min(x / a, 1))^b
 * - `cosine`: b + (base - b) * (1 + cos(pi p)) / 2, p = min(x / a, 1) for c = 0, else the share of the present period,
 *   where the first is a long and each c times as long as the one before
 * - `steps`: base * b^floor(x / a)
 * - `table`: base * table[min(floor(x), n - 1)]
 */
export interface SchedulePiece {
  readonly kind: (typeof kinds)[number]
  readonly begin: number
  /** Default: never. */
  readonly end?: number
  readonly base: number
  readonly a?: number
  readonly b?: number
  readonly c?: number
}

const scheduleRateOp = defineOp({
  name: 'scheduleRate',
  attrs: ['kind', 'unit', 'begin', 'end', 'base', 'a', 'b', 'c'],
  effect: [0],
  shape: ([step, table]) => {
    checkStep('scheduleRate', step as Tensor)
    if (table) {
      checkFloat('scheduleRate', table)
      checkRank('scheduleRate', table, 1, '[entries]')
    }
    return []
  },
})

const never = Number.MAX_SAFE_INTEGER

/** Sets the rate of the step state where the piece applies; elsewhere the rate stays. Computed in double precision. */
export function scheduleRate(step: Variable, unit: ScheduleUnit, piece: SchedulePiece, table?: Tensor): void {
  checkOneOf('unit of scheduleRate', unit, ['step', 'epoch'])
  currentGraph('scheduleRate()').useStep(step)
  checkOptions('scheduleRate', piece ?? null, ['kind', 'begin', 'end', 'base', 'a', 'b', 'c'])
  checkOneOf('kind of scheduleRate', piece.kind, kinds)
  const { begin, end = never, base, a = 0, b = 0, c = 0 } = piece
  checkFinite('begin of scheduleRate', begin, { min: 0 })
  checkFinite('end of scheduleRate', end, { min: begin })
  for (const [name, number] of Object.entries({ base, a, b, c })) checkFinite(`${name} of scheduleRate`, number)
  if ((table !== undefined) !== (piece.kind === 'table')) {
    throw expected("a table for the kind 'table', and for no other,", 'scheduleRate', piece.kind)
  }
  const attrs = { kind: kinds.indexOf(piece.kind), unit: unit === 'step' ? 0 : 1, begin, end, base, a, b, c }
  apply(scheduleRateOp, table ? [step, table] : [step], attrs)
}
