// Schedules one after the other.

import { checkInteger, expected, GradlineError } from '../errors.js'
import type { Schedule, TablePiece } from './schedule.js'

/** A schedule, or one with the number of units it has in the chain. */
export type ChainLink = Schedule | { readonly schedule: Schedule; readonly steps: number }

/**
 * Runs each schedule for its length and then the next, which counts from 0 again and begins from the optimizer's lr:
 * `chain([warmup({ steps: 500 }), cosine({ steps: 9500 })])`. A schedule without an end (stepDecay, exponential, power,
 * cosineRestarts) is last or is given a length: `{ schedule: exponential({ r: 100 }), steps: 300 }`. At a seam the later
 * schedule holds. All parts count the same unit.
 *
 * PyTorch: torch.optim.lr_scheduler.SequentialLR; Keras: none
 */
export function chain(parts: readonly ChainLink[]): Schedule {
  if (!Array.isArray(parts) || parts.length === 0) throw expected('a list of schedules', 'chain', parts)
  const links = parts.map((part: ChainLink, i) => {
    const given = typeof part === 'object' && part !== null && 'schedule' in part ? part : { schedule: part }
    if (typeof given.schedule?.pieces !== 'function') {
      throw expected('a schedule such as cosine({ steps })', `part ${i + 1} of chain`, part)
    }
    const length = 'steps' in given ? given.steps : given.schedule.length
    if (length === undefined && i < parts.length - 1) {
      throw new GradlineError(
        'argument',
        `Expected a length for part ${i + 1} of chain, as ${given.schedule.kind} has no end`,
        { fix: `Write { schedule: ${given.schedule.kind}(...), steps: ... }` },
      )
    }
    const steps = length === undefined ? undefined : checkInteger(`steps of part ${i + 1} of chain`, length, { min: 1 })
    return { schedule: given.schedule, steps }
  })
  const [first] = links as [(typeof links)[number]]
  const other = links.find(({ schedule }) => schedule.unit !== first.schedule.unit)
  if (other) throw expected(`schedules that count in units of '${first.schedule.unit}'`, 'chain', other.schedule.unit)
  const begins = links.map((_, i) => links.slice(0, i).reduce((sum, { steps }) => sum + (steps ?? 0), 0))
  const last = links.at(-1) as (typeof links)[number]
  return {
    kind: 'chain',
    unit: first.schedule.unit,
    length: last.steps === undefined ? undefined : (begins.at(-1) as number) + last.steps,
    pieces: (lr) =>
      links.flatMap(({ schedule, steps }, i) => {
        const limit = i === links.length - 1 ? undefined : steps
        return schedule.pieces(lr).flatMap((piece) => placed(piece, begins[i] as number, limit))
      }),
  }
}

// The piece `offset` units later, cut off after `limit` units of its schedule.
function placed({ end, ...piece }: TablePiece, offset: number, limit: number | undefined): TablePiece[] {
  if (limit !== undefined && piece.begin >= limit) return []
  const until = Math.min(end ?? Infinity, limit ?? Infinity)
  return [{ ...piece, begin: piece.begin + offset, ...(until === Infinity ? {} : { end: until + offset }) }]
}
