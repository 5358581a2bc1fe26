// The statistics of the performance suite on made-up samples: a loss of 5 % is found, no loss raises no alarm. Times nothing.
import { describe, expect, it } from 'vitest'
import { compareCounts, compareEntries, comparePairs } from '../../bench/compare.js'
import type { Entry } from '../../bench/measure.js'
import { isSteady, median, quantile, ratioInterval, stream, verdictOf } from '../../bench/stats.js'

const rounds = 15

/**
 * Seconds as a shared machine gives them: 1 with a spread of `noise`, in which disturbances only add, now and then a lot.
 * `drift` is common to all who are given the same list.
 */
function samples(next: () => number, factor = 1, noise = 0.01, drift: readonly number[] = [], bursts = 0.1): number[] {
  return Array.from({ length: rounds }, (_, i) => {
    const spread = noise * (next() + next())
    const burst = next() < bursts ? next() : 0
    return factor * (1 + spread + burst) * (drift[i] ?? 1)
  })
}

const entry = (list: readonly number[], peak = 1): Entry => ({
  name: 'work',
  value: Math.min(...list),
  unit: 'us',
  threads: 1,
  peak,
  samples: list,
})

describe('stream', () => {
  it('gives the same numbers for the same seed', () => {
    const [a, b, other] = [stream(7), stream(7), stream(8)]
    const drawn = Array.from({ length: 1000 }, a)
    expect(drawn).toEqual(Array.from({ length: 1000 }, b))
    expect(drawn).not.toEqual(Array.from({ length: 1000 }, other))
    expect(Math.min(...drawn)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...drawn)).toBeLessThan(1)
    expect(drawn.reduce((sum, value) => sum + value) / 1000).toBeCloseTo(0.5, 1)
  })
})

describe('quantile', () => {
  it('lies between neighbours', () => {
    expect(median([3, 1, 2])).toBe(2)
    expect(median([4, 1, 2, 3])).toBe(2.5)
    expect(quantile([10, 20], 0.25)).toBe(12.5)
    expect(quantile([5], 0.9)).toBe(5)
  })
})

describe('ratioInterval', () => {
  it('is the same for the same samples and holds the ratio', () => {
    const next = stream(1)
    const [before, now] = [samples(next), samples(next, 1.2)]
    for (const paired of [false, true]) {
      const interval = ratioInterval(before, now, { paired })
      expect(ratioInterval(before, now, { paired })).toEqual(interval)
      expect(interval.low).toBeLessThanOrEqual(interval.ratio)
      expect(interval.high).toBeGreaterThanOrEqual(interval.ratio)
      expect(interval.ratio).toBeCloseTo(1.2, 1)
    }
  })

  it('holds the true ratio in at least 97 of 100 cases', () => {
    const held = Array.from({ length: 100 }, (_, seed) => {
      const next = stream(seed)
      const { low, high } = ratioInterval(samples(next), samples(next, 1.1), { paired: false })
      return low <= 1.1 && 1.1 <= high
    })
    expect(held.filter(Boolean).length).toBeGreaterThanOrEqual(97)
  })
})

describe('verdicts', () => {
  const drifting = (next: () => number): number[] => Array.from({ length: rounds }, () => 1 + 0.3 * next())

  it.each([
    ['slower', 1.05],
    ['faster', 1 / 1.05],
  ])(
    'call a change of 5 % %s in all of fifty runs of pairs, in nearly all where every tenth round is disturbed',
    (verdict, factor) => {
      const found = (bursts: number): number => {
        const verdicts = Array.from({ length: 50 }, (_, seed) => {
          const next = stream(100 + seed)
          const drift = drifting(next)
          const now = samples(next, factor, 0.004, drift, bursts)
          return comparePairs(entry(now), samples(next, 1, 0.004, drift, bursts)).verdict
        })
        expect(new Set([verdict, 'cannot tell', ...verdicts]).size).toBe(2)
        return verdicts.filter((each) => each === verdict).length
      }
      expect(found(0)).toBe(50)
      expect(found(0.1)).toBeGreaterThanOrEqual(42)
    },
  )

  it('raise no alarm in fifty A/A runs, in pairs and apart, on a calm and on a noisy machine', () => {
    for (let seed = 0; seed < 50; seed++) {
      for (const noise of [0.002, 0.01, 0.05]) {
        const next = stream(1000 + seed)
        const drift = drifting(next)
        const alarms = ['slower', 'faster']
        const pairs = comparePairs(entry(samples(next, 1, noise, drift)), samples(next, 1, noise, drift))
        expect(alarms).not.toContain(pairs.verdict)
        const apart = compareEntries(entry(samples(next, 1, noise)), entry(samples(next, 1, noise)))
        expect(alarms).not.toContain(apart.verdict)
      }
    }
  })

  it('find 5 % between two runs of a calm machine and nothing in 1 %', () => {
    const next = stream(5)
    const before = entry(samples(next, 1, 0.004))
    expect(compareEntries(entry(samples(next, 1.05, 0.004)), before).verdict).toBe('slower')
    expect(compareEntries(entry(samples(next, 1.01, 0.004)), before).verdict).toBe('same')
  })

  it('do not blame the code for a machine that is slower as a whole', () => {
    const next = stream(6)
    const before = entry(samples(next, 1, 0.004), 100)
    expect(compareEntries(entry(samples(next, 1.08, 0.004), 92), before).verdict).toBe('cannot tell')
  })

  it('cannot tell between two runs when the ceilings of one moved as far as the times', () => {
    const next = stream(7)
    const calm = (factor: number): number[] => samples(next, factor, 0.004)
    const before = { ...entry(calm(1), 100), slowest: 99 }
    expect(compareEntries({ ...entry(calm(1.06), 100), slowest: 98 }, before).verdict).toBe('slower')
    expect(compareEntries({ ...entry(calm(1.06), 100), slowest: 92 }, before).verdict).toBe('cannot tell')
    expect(compareEntries({ ...entry(calm(0.94), 100), slowest: 98 }, before).verdict).toBe('faster')
    expect(compareEntries({ ...entry(calm(0.94), 100) }, { ...before, slowest: 91 }).verdict).toBe('cannot tell')
  })

  it('cannot tell between two runs unless every opening of one is on the same side of every opening of the other', () => {
    const next = stream(8)
    const openings = Array.from({ length: rounds }, (_, i) => Math.floor(i / 3))
    const opened = (factors: readonly number[]): Entry => {
      const lists = openings.map((opening) => (factors[opening] as number) * (1 + 0.002 * next()))
      return { ...entry(lists), openings }
    }
    const before = opened([1, 1.03, 1, 1, 1])
    expect(compareEntries(opened([1.05, 1.06, 1.05, 1.04, 1.05]), before).verdict).toBe('slower')
    const { verdict, reason } = compareEntries(opened([1.05, 1.06, 1.02, 1.04, 1.05]), before)
    expect(verdict).toBe('cannot tell')
    expect(reason).toContain('memory')
  })

  it('want a ratio beyond the threshold, an interval on one side, and best rounds that agree', () => {
    expect(verdictOf({ ratio: 1.06, low: 1.04, high: 1.08, bests: 1.05 })).toBe('slower')
    expect(verdictOf({ ratio: 1.06, low: 0.99, high: 1.08, bests: 1.05 })).toBe('cannot tell')
    expect(verdictOf({ ratio: 1.06, low: 1.04, high: 1.08, bests: 1.0 })).toBe('cannot tell')
    expect(verdictOf({ ratio: 1.02, low: 1.01, high: 1.025, bests: 1.02 })).toBe('same')
    expect(verdictOf({ ratio: 1.02, low: 1.01, high: 1.04, bests: 1.02 })).toBe('cannot tell')
    expect(verdictOf({ ratio: 0.9, low: 0.88, high: 0.93, bests: 0.9 })).toBe('faster')
  })

  it('doubt a change where the halves of the rounds differ', () => {
    const next = stream(9)
    const calm = (factor: number): number[] => samples(next, factor, 0.002, [], 0)
    const warming = calm(1.1).map((s, i) => s * (i < rounds / 2 ? 1 : 1.2))
    expect(isSteady(warming)).toBe(false)
    const { verdict, reason } = comparePairs(entry(warming), calm(1))
    expect(verdict).toBe('cannot tell')
    expect(reason).toContain('halves')
    expect(isSteady(samples(stream(10), 1, 0.01))).toBe(true)
  })

  it('blame nothing on code whose rounds were mostly disturbed', () => {
    const next = stream(11)
    const now = { ...entry(samples(next, 1.2, 0.002)), disturbed: 8 }
    const { verdict, reason } = comparePairs(now, samples(next, 1, 0.002))
    expect(verdict).toBe('cannot tell')
    expect(reason).toContain('disturbed')
  })

  it('name every byte that is counted', () => {
    const counted = { name: 'package', value: 1000, unit: 'bytes', threads: 1 }
    expect(compareCounts(counted, 1000).verdict).toBe('same')
    expect(compareCounts(counted, 999)).toMatchObject({ verdict: 'larger', ratio: 1000 / 999 })
    expect(compareEntries(counted, { ...counted, value: 1001 }).verdict).toBe('smaller')
  })
})
