// The suite's own honesty: a build compared with itself must raise no alarm, and one that waits 5 % longer must be called
// slower. Both are tried again and again on short entries, as two builds in turn and as two runs one after the other.

import { loadavg } from 'node:os'
import { openCeilings } from './ceiling.js'
import { type Comparison, compareEntries, comparePairs, describe, keyOf } from './compare.js'
import { type Build, type Case, type Entry, measure } from './measure.js'

const slowdown = 0.05
/** Short entries of each kind: multiply-adds, bandwidth, many small ops. */
export const shortEntries = /^(matmul 128x784x512 NN|batch norm \+ relu 512x1024.*|step 784-128-10 b32 adam) @/

export interface SelfTestOptions {
  readonly rounds: number
  /** Comparisons of each entry. */
  readonly runs: number
}

export async function selfTest(cases: readonly Case[], build: Build, { rounds, runs }: SelfTestOptions): Promise<void> {
  if (!Number.isInteger(runs) || runs < 1) throw new Error(`--runs: expected a number, received ${runs}`)
  const ceilings = openCeilings(Math.max(...cases.map(({ threads }) => threads)))
  const load = (): string => (loadavg()[0] as number).toFixed(2)
  const before = load()
  let pairAlarms = 0
  let runAlarms = 0
  let found = 0
  for (const item of cases) {
    const alarm = (what: string, comparison: Comparison): number => {
      if (comparison.verdict !== 'slower' && comparison.verdict !== 'faster') return 0
      console.log(`  alarm, ${what}: ${describe(comparison)}`)
      return 1
    }
    const options = { rounds, seconds: 0.012, ceilings, other: build }
    let last: Entry | undefined
    let foundHere = 0
    for (let i = 0; i < runs; i++) {
      const same = await measure(item, build, { ...options, slowdown: 0 })
      pairAlarms += alarm('two builds', comparePairs(same.entry, same.other as number[]))
      if (last) runAlarms += alarm('two runs', compareEntries(same.entry, last))
      last = same.entry
      const slow = await measure(item, build, { ...options, slowdown })
      if (comparePairs(slow.entry, slow.other as number[]).verdict === 'slower') foundHere++
    }
    found += foundHere
    console.log(`${keyOf(item)}: 5 % slower found ${foundHere} of ${runs} times`)
  }
  const total = cases.length * runs
  console.log(`load ${before} before, ${load()} after
${total} comparisons of a build with itself: ${pairAlarms} alarms
${total - cases.length} comparisons of a run with the one before: ${runAlarms} alarms
${total} comparisons with a build 5 % slower: ${found} found`)
  await ceilings.close()
  if (pairAlarms + runAlarms > 0) process.exitCode = 1
}
