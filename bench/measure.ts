// The one place that takes time: interleaved rounds of ceiling and work, of one build or of two in turn. What is measured
// stands in kernels.ts, steps.ts and whole.ts; what it means in stats.ts.

import { loadavg } from 'node:os'
import type { Ceiling, Ceilings } from './ceiling.js'
import type { Opponent } from './peers/peers.js'
import type { Task } from './peers/task.js'
import { median } from './stats.js'

export type Library = typeof import('gradline')

/** Classes that are measured; entries of 'fast' carry it in their name, their operations are counted as if none were saved. */
export type Numerics = 'fp32' | 'fast'
export const suffixOf = (numerics: Numerics): string => (numerics === 'fast' ? ' fast' : '')

/** A built checkout, loaded. */
export interface Build {
  readonly lib: Library
  /** Its folder, and the URL of its entry file. */
  readonly folder: string
  readonly entry: string
}

/** Work that is ready to run. */
export interface Work {
  /** Seconds of so many iterations. */
  time(iterations: number): number | Promise<number>
  /** Seconds of the same iterations done the barest way, for the ceiling 'bare loop'. */
  bare?(iterations: number): number | Promise<number>
  close(): void
}

/** What a share is taken of. 'none' measures the multiply-adds as well, to notice disturbances. */
export type CeilingKind = 'multiply-adds' | 'copy bandwidth' | 'update bandwidth' | 'bare loop' | 'none'

/** What a peer reached in the same rounds. */
export interface PeerFigure {
  readonly mode: string
  readonly value: number
  readonly median?: number
  /** Seconds of an iteration, by round. */
  readonly samples?: readonly number[]
}

export interface Case {
  readonly name: string
  readonly threads: number
  readonly unit: 'GFLOP/s' | 'GB/s' | 'us' | 'ms'
  readonly ceiling: CeilingKind
  /** Operations or bytes of one iteration; 0 where only the time counts. */
  readonly amount: number
  /** False: left out by --quick. */
  readonly quick: boolean
  /** What it does, in words that peers know. */
  readonly task?: Task | undefined
  open(build: Build): Work | Promise<Work>
}

/** A number that is read, not timed. */
export interface Fact {
  readonly name: string
  readonly unit: 'bytes'
  readonly task?: Task
  read(build: Build): number
  /** The same without sharing memory between values. */
  unshared?(build: Build): number
}

/** What is known of one case; the form of an entry of the JSON file. */
export interface Entry {
  readonly name: string
  /** Of the best round. */
  readonly value: number
  readonly unit: string
  readonly threads: number
  /** Of the median round. */
  readonly median?: number
  /** Share of the best ceiling of the same rounds. */
  readonly ofPeak?: number
  readonly ceiling?: CeilingKind | 'memory without sharing'
  /** Best ceiling, in operations, bytes or iterations per second. */
  readonly peak?: number
  /** Lowest mean ceiling of the rounds kept: how slow the machine was at times. */
  readonly slowest?: number
  /** Rounds kept although something else ran, since too many had to be repeated. */
  readonly disturbed?: number
  /** Load average of the machine after the rounds. */
  readonly load?: number
  /** Seconds of an iteration, by round. */
  readonly samples?: readonly number[]
  /** By round, how often the work had been opened anew. */
  readonly openings?: readonly number[]
  /** The best peer with its version and mode, its figure, and ours over it: above 1 we are faster, or smaller. */
  readonly peer?: string
  readonly peerValue?: number
  readonly ratio?: number
  /** All peers by name and version. */
  readonly peers?: Readonly<Record<string, PeerFigure>>
}

export interface MeasureOptions {
  readonly rounds: number
  /** Least seconds of work in a round. */
  readonly seconds: number
  readonly ceilings: Ceilings
  /** Measured in turn with the first build. */
  readonly other?: Build | undefined
  /** Peers that do the same work in the same rounds. */
  readonly opponents?: readonly Opponent[]
  /** Share by which the first build is slowed down, for the self-test. */
  readonly slowdown: number
}

export interface Measured {
  readonly entry: Entry
  /** Samples of the other build, round by round beside those of the entry. */
  readonly other?: readonly number[]
}

/** The work is opened anew so often: where its memory happens to lie makes a difference of several percent. */
const openings = { one: 3, two: 5 }
/** A round counts as disturbed when its ceiling is below this share of the best seen. */
const quiet = 0.9
/** So many rounds are repeated at most, as a share of the rounds asked for. */
const repeats = 2

export async function measure(item: Case, build: Build, options: MeasureOptions): Promise<Measured> {
  const { rounds, other, opponents = [] } = options
  const works: Work[] = []
  const close = (): void => {
    for (const work of works.splice(0)) work.close()
  }
  const open = async (turn: number): Promise<void> => {
    close()
    const builds = other ? [build, other] : [build]
    for (const each of turn % 2 === 0 ? builds : builds.toReversed()) {
      const work = await item.open(each)
      if (each === build) works.unshift(work)
      else works.push(work)
    }
  }
  try {
    await open(0)
    const iterations = await calibrate(works[0] as Work, options.seconds)
    for (const work of works) await work.time(iterations)
    const roundsOfOpening = Math.ceil(rounds / (other ? openings.two : openings.one))
    let opening = 0

    const kept: { seconds: number[]; peers: number[]; ceiling: Ceiling; opening: number }[] = []
    const put: typeof kept = []
    for (let round = 0; kept.length < rounds && round < rounds * (1 + repeats); round++) {
      if (round > 0 && round % roundsOfOpening === 0) {
        await open(++opening)
        for (const work of works) await work.time(iterations)
      }
      const own = works[0] as Work
      const ceiling = await ceilingOf(item, own, iterations, options.ceilings)
      const peers: number[] = []
      const meet = async (): Promise<void> => {
        for (const opponent of opponents) peers.push(await opponent.time(options.seconds))
      }
      if (round % 2 === 1) await meet()
      const seconds: number[] = []
      const order = round % 2 === 0 ? works : works.toReversed()
      for (const work of order) {
        const took = await work.time(iterations)
        const delay = work === own ? took * options.slowdown : 0
        seconds[works.indexOf(work)] = (took + (delay > 0 ? wait(delay) : 0)) / iterations
      }
      if (round % 2 === 0) await meet()
      kept.push({ seconds, peers, ceiling, opening })
      // The best may have been seen only now: rounds that were kept can turn out to be disturbed.
      const best = Math.max(ceiling.undisturbed, ...[...kept, ...put].map(({ ceiling: { mean } }) => mean))
      const disturbed = kept.filter(({ ceiling: { mean, share = 1 } }) => mean < quiet * best || share < quiet)
      for (const each of disturbed) kept.splice(kept.indexOf(each), 1)
      put.push(...disturbed)
    }
    // The least disturbed of those put aside fill up what is missing.
    put.sort((a, b) => b.ceiling.mean - a.ceiling.mean)
    const filled = put.slice(0, rounds - kept.length)
    kept.push(...filled)
    const samples = kept.map(({ seconds }) => seconds[0] as number)
    const peak = Math.max(...kept.map(({ ceiling }) => ceiling.best))
    const slowest = Math.min(...kept.map(({ ceiling }) => ceiling.mean))
    return {
      entry: {
        ...entryOf(item, samples, peak, filled.length),
        slowest,
        openings: kept.map(({ opening }) => opening),
        ...against(
          item,
          Math.min(...samples),
          opponents.map(({ peer, mode }, i) => ({ peer, mode, samples: kept.map(({ peers }) => peers[i] as number) })),
        ),
      },
      ...(other ? { other: kept.map(({ seconds }) => seconds[1] as number) } : {}),
    }
  } finally {
    close()
  }
}

function entryOf(item: Case, samples: readonly number[], peak: number, disturbed: number): Entry {
  const { name, threads, unit, ceiling, amount } = item
  const best = Math.min(...samples)
  const rate = (ceiling === 'bare loop' ? 1 : amount) / best
  return {
    name,
    value: figureOf(item, best),
    unit,
    threads,
    median: figureOf(item, median(samples)),
    ...(ceiling === 'none' ? {} : { ofPeak: rate / peak, ceiling }),
    peak,
    disturbed,
    load: loadavg()[0] as number,
    samples,
  }
}

function figureOf({ unit, amount }: Case, seconds: number): number {
  const scale = { us: 1e6, ms: 1e3, 'GFLOP/s': 1e-9, 'GB/s': 1e-9 }[unit]
  return scale * (unit === 'us' || unit === 'ms' ? seconds : amount / seconds)
}

type Rival = Pick<Opponent, 'peer' | 'mode'> & { readonly samples: readonly number[] }

/** Best round against best round. */
function against(item: Case, own: number, rivals: readonly Rival[]): Partial<Entry> {
  const bestOf = ({ samples }: Rival): number => Math.min(...samples)
  const [first] = rivals.toSorted((a, b) => bestOf(a) - bestOf(b))
  if (!first) return {}
  const figure = ({ mode, samples }: Rival): PeerFigure => ({
    ...{ mode, value: figureOf(item, Math.min(...samples)), median: figureOf(item, median(samples)), samples },
  })
  return {
    peer: first.mode ? `${first.peer}, ${first.mode}` : first.peer,
    peerValue: figureOf(item, bestOf(first)),
    ratio: bestOf(first) / own,
    peers: Object.fromEntries(rivals.map((rival) => [rival.peer, figure(rival)])),
  }
}

async function ceilingOf(item: Case, work: Work, iterations: number, ceilings: Ceilings): Promise<Ceiling> {
  if (item.ceiling === 'copy bandwidth' || item.ceiling === 'update bandwidth') {
    // Bandwidth moves by itself, so a load on the cores shows better in the multiply-adds.
    const { mean, undisturbed } = ceilings.compute(item.threads)
    const traffic = item.ceiling === 'copy bandwidth' ? 'copy' : 'update'
    return { ...ceilings.bandwidth(traffic, item.threads), share: mean / undisturbed }
  }
  if (item.ceiling !== 'bare loop' || !work.bare) return ceilings.compute(item.threads)
  const rate = iterations / (await work.bare(iterations))
  return { best: rate, mean: rate, undisturbed: rate }
}

// Iterations that take at least `seconds`.
async function calibrate(work: Work, seconds: number): Promise<number> {
  await work.time(1)
  let iterations = 1
  for (;;) {
    const took = await work.time(iterations)
    if (took >= seconds) return iterations
    iterations = Math.max(iterations + 1, Math.ceil(iterations * Math.min(10, (1.1 * seconds) / took)))
  }
}

/** Seconds of a function. */
export function timed(body: () => void): number {
  const began = performance.now()
  body()
  return (performance.now() - began) / 1000
}

function wait(seconds: number): number {
  return timed(() => {
    const end = performance.now() + 1000 * seconds
    while (performance.now() < end);
  })
}
