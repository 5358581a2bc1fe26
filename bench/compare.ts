// Two measurements of one entry beside each other: of two files, or of two builds that ran in turn. Only words and numbers;
// the statistics stand in stats.ts.

import type { Entry } from './measure.js'
import { type Interval, isSteady, median, quantile, ratioInterval, type Verdict, verdictOf } from './stats.js'

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
export function comparePairs(now: Entry, before: readonly number[]): Comparison {
  const { samples = [] } = now
  // What drifts for both is no matter: the ratio must hold still.
  const ratios = samples.map((seconds, i) => seconds / (before[i] as number))
  const compared = judge(now, ratioInterval(before, samples, { paired: true }), isSteady(ratios), isDisturbed(now))
  const sides = mediansByOpening(ratios, now.openings).map((ratio) => ratio > 1)
  return doubtUnless(new Set(sides).size < 2, compared)
}

function doubtUnless(
  holds: boolean,
  compared: Comparison,
  why = 'not wherever the memory happened to lie',
): Comparison {
  const { verdict } = compared
  if (holds || (verdict !== 'slower' && verdict !== 'faster')) return compared
  return { ...compared, verdict: 'cannot tell', reason: `${verdict}, but ${why}` }
}

const mediansByOpening = (values: readonly number[], openings: readonly number[] = []): number[] =>
  [...new Set(openings)].map((opening) => median(values.filter((_, i) => openings[i] === opening)))

/**
 * Of an entry of another run. The machine itself may have been faster or slower then, which the ceilings tell: the interval
 * is widened until it holds the ratio with all speeds that the machine showed in the two runs. And every opening of the work
 * in one run must lie on the same side of every opening in the other, as must the middle half of the rounds.
 */
export function compareEntries(now: Entry, before: Entry): Comparison {
  if (!now.samples || !before.samples) return compareCounts(now, before.value)
  const { ratio, low, high, bests } = ratioInterval(before.samples, now.samples, { paired: false })
  const [least, most] = machineChange(now, before)
  const doubted = { ratio, low: low * least, high: high * most, bests }
  const steady = isSteady(before.samples) && isSteady(now.samples)
  const compared = judge(now, doubted, steady, isDisturbed(now) || isDisturbed(before))
  const [is, was] = [now, before].map(({ samples = [], openings }) => mediansByOpening(samples, openings))
  const placed = doubtUnless(areApart(is as number[], was as number[]), compared)
  const [middle, middleThen] = [now, before].map(({ samples = [] }) => [
    quantile(samples, 0.25),
    quantile(samples, 0.75),
  ])
  return doubtUnless(areApart(middle as number[], middleThen as number[]), placed, 'the rounds of a run differ as much')
}

/** Speed of the machine now over then, from the least to the most that the ceilings allow; 1 among them. */
function machineChange(now: Entry, before: Entry): [least: number, most: number] {
  if (!now.peak || !before.peak || now.ceiling === 'bare loop') return [1, 1]
  const { slowest: slowestNow = now.peak } = now
  const { slowest: slowestThen = before.peak } = before
  return [Math.min(1, slowestNow / before.peak), Math.max(1, now.peak / slowestThen)]
}

/** True when the two lists do not overlap, or nothing is known of one. */
const areApart = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === 0 || b.length === 0 || Math.min(...a) > Math.max(...b) || Math.max(...a) < Math.min(...b)

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
