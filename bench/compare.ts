// Two measurements of one entry beside each other: of two files, or of two builds that ran in turn. Only words and numbers;
// the statistics stand in stats.ts.

import type { Entry } from './measure.js'
import { type Interval, isSteady, median, ratioInterval, type Verdict, verdictOf } from './stats.js'

export interface Comparison {
  readonly name: string
  readonly threads: number
  /** Time, or bytes, now over before. */
  readonly ratio: number
  readonly low: number
  readonly high: number
  /** 'larger' and 'smaller' only for what is counted, where every byte is a difference. */
  readonly verdict: Verdict | 'larger' | 'smaller'
  /** Why it cannot be told, where more is known than the interval. */
  readonly reason?: string
}

export const keyOf = ({ name, threads }: { name: string; threads: number }): string => `${name} @${threads}`

/** Of two builds whose rounds alternated; a difference must have shown in every opening of the two. */
export function comparePairs(now: Entry, before: readonly number[], openings: readonly number[] = []): Comparison {
  const samples = now.samples as readonly number[]
  // What drifts for both is no matter: the ratio must hold still.
  const ratios = samples.map((seconds, i) => seconds / (before[i] as number))
  const compared = judge(now, ratioInterval(before, samples, { paired: true }), isSteady(ratios), isDisturbed(now))
  const { verdict } = compared
  const sides = [...new Set(openings)].map((opening) => median(ratios.filter((_, i) => openings[i] === opening)) > 1)
  if ((verdict !== 'slower' && verdict !== 'faster') || new Set(sides).size < 2) return compared
  return { ...compared, verdict: 'cannot tell', reason: `${verdict}, but not wherever the memory happened to lie` }
}

/**
 * Of an entry of another run. The machine itself may have been faster or slower then, which its ceiling tells: the interval
 * is widened until it holds the ratio with and without that.
 */
export function compareEntries(now: Entry, before: Entry): Comparison {
  if (!now.samples || !before.samples) return compareCounts(now, before.value)
  const { ratio, low, high, bests } = ratioInterval(before.samples, now.samples, { paired: false })
  const machine = now.peak && before.peak && now.ceiling !== 'bare loop' ? now.peak / before.peak : 1
  const [less, more] = [Math.min(1, machine), Math.max(1, machine)]
  const doubted = { ratio, low: low * less, high: high * more, bests }
  return judge(now, doubted, isSteady(before.samples) && isSteady(now.samples), isDisturbed(now) || isDisturbed(before))
}

export function compareCounts({ name, threads, value }: Entry, before: number): Comparison {
  const verdict = value === before ? 'same' : value > before ? 'larger' : 'smaller'
  const ratio = value / before
  return { name, threads, ratio, low: ratio, high: ratio, verdict }
}

/** True when something else ran in most of the rounds. */
const isDisturbed = ({ disturbed = 0, samples = [] }: Entry): boolean => 2 * disturbed > samples.length

function judge({ name, threads }: Entry, interval: Interval, steady: boolean, disturbed: boolean): Comparison {
  const { ratio, low, high } = interval
  const verdict = verdictOf(interval)
  const judged = { name, threads, ratio, low, high, verdict }
  if (verdict === 'cannot tell' || verdict === 'same') return judged
  if (disturbed) return { ...judged, verdict: 'cannot tell', reason: `${verdict}, but most rounds were disturbed` }
  if (steady) return judged
  return { ...judged, verdict: 'cannot tell', reason: `${verdict}, but the halves of the rounds differ as well` }
}

/** One line per comparison that is not `same`, after a count of each verdict. */
export function report(comparisons: readonly Comparison[]): string {
  const counts = new Map<string, number>()
  for (const { verdict } of comparisons) counts.set(verdict, (counts.get(verdict) ?? 0) + 1)
  const lines = comparisons
    .filter(({ verdict }) => verdict !== 'same')
    .map((each) => `  ${keyOf(each).padEnd(66)} ${describe(each)}`)
  return [`${[...counts].map(([verdict, count]) => `${count} ${verdict}`).join(', ')}`, ...lines].join('\n')
}

export function describe({ ratio, low, high, verdict, reason }: Comparison): string {
  const range = low === high ? '' : ` [${low.toFixed(3)}, ${high.toFixed(3)}]`
  return `${ratio.toFixed(3)}${range} ${verdict}${reason ? ` (${reason})` : ''}`
}
