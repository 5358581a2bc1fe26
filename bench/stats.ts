// The statistics of the suite: what a change in time between two lists of samples is called, and how sure that is. Pure and
// seeded, so that it can be tested with made-up samples; nothing here measures time.

/** A seeded stream of numbers in [0, 1): mulberry32, good enough to choose samples. */
export function stream(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Quantile `q` of a list that is not empty, between neighbours by their distance. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const at = q * (sorted.length - 1)
  const below = sorted[Math.floor(at)] as number
  const above = sorted[Math.ceil(at)] as number
  return below + (at - Math.floor(at)) * (above - below)
}

export const median = (values: readonly number[]): number => quantile(values, 0.5)

export interface Interval {
  /** Time now over time before: above 1 is slower. */
  readonly ratio: number
  /** 99 % interval of the ratio. */
  readonly low: number
  readonly high: number
  /** The same ratio of the best rounds alone. */
  readonly bests: number
}

/** Differences below this share are of no practical meaning. */
export const threshold = 0.03
const resamples = 1000
const tail = 0.005

/**
 * The ratio of medians with its bootstrap interval (Efron 1979). In pairs, measured one after the other, the median of the
 * ratios is taken and pairs are drawn together, since what disturbs a pair disturbs both.
 */
export function ratioInterval(
  before: readonly number[],
  now: readonly number[],
  options: { paired: boolean; seed?: number },
): Interval {
  const { paired, seed = 1 } = options
  const next = stream(seed)
  const draw = (values: readonly number[]): number[] =>
    values.map(() => values[Math.floor(next() * values.length)] as number)
  const ratios = paired ? now.map((seconds, i) => seconds / (before[i] as number)) : []
  const ratio = paired ? median(ratios) : median(now) / median(before)
  const seen = Array.from({ length: resamples }, () =>
    paired ? median(draw(ratios)) : median(draw(now)) / median(draw(before)),
  )
  return {
    ratio,
    low: quantile(seen, tail),
    high: quantile(seen, 1 - tail),
    bests: Math.min(...now) / Math.min(...before),
  }
}

export type Verdict = 'faster' | 'slower' | 'same' | 'cannot tell'

/**
 * 'slower' and 'faster' need three things: an interval on one side of 1, a ratio beyond the threshold, and best rounds that
 * went at least half of it in the same direction, since disturbances cannot make a round faster. 'same' needs an interval
 * within the threshold. Everything else is 'cannot tell'.
 */
export function verdictOf({ ratio, low, high, bests }: Interval): Verdict {
  const limit = 1 + threshold
  const half = 1 + threshold / 2
  if (low > 1 && ratio >= limit && bests >= half) return 'slower'
  if (high < 1 && ratio <= 1 / limit && bests <= 1 / half) return 'faster'
  return low > 1 / limit && high < limit ? 'same' : 'cannot tell'
}

/** The control without any change: false when the first and the second half of the rounds already look like two builds. */
export function isSteady(samples: readonly number[]): boolean {
  const half = Math.floor(samples.length / 2)
  if (half < 3) return true
  const verdict = verdictOf(ratioInterval(samples.slice(0, half), samples.slice(-half), { paired: false }))
  return verdict !== 'slower' && verdict !== 'faster'
}
