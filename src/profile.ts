// Where the time of a step goes: one row per op, from the clock readings of several steps. It computes medians and shares;
// running the steps is program.ts, printing them print.ts.

import type { Node } from './graph.js'

export interface ProfileRow {
  /** Name of the op. */
  readonly op: string
  /** Path of the layer that recorded it, '' outside of layers. */
  readonly layer: string
  /** Line of the code that recorded it: `mnist.ts:12`. */
  readonly site: string
  /** Median over the steps. */
  readonly seconds: number
  /** Of the sum of all rows, 0 to 1. */
  readonly share: number
  /** Threads that share the op. */
  readonly threads: number
  /** Kernel, instruction set, threads and units, as print() shows them. */
  readonly plan: string
}

export class Profile {
  /** In the order of the program. */
  readonly rows: readonly ProfileRow[]
  /** Of one step: the sum of the rows. */
  readonly seconds: number
  /** Steps measured. */
  readonly steps: number

  /** @param times Seconds of every op, step by step. */
  constructor(
    nodes: readonly Node[],
    plans: readonly string[],
    threads: readonly number[],
    steps: number,
    times: Float64Array,
  ) {
    const medians = nodes.map((_, op) => {
      const sorted = Float64Array.from({ length: steps }, (_, step) => times[step * nodes.length + op] as number).sort()
      const middle = steps >> 1
      return steps % 2 === 1
        ? (sorted[middle] as number)
        : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2
    })
    this.steps = steps
    this.seconds = medians.reduce((sum, seconds) => sum + seconds, 0)
    this.rows = nodes.map(({ op, site }, i) => ({
      op: op.name,
      layer: site.path,
      site: site.line,
      seconds: medians[i] as number,
      share: this.seconds > 0 ? (medians[i] as number) / this.seconds : 1 / nodes.length,
      threads: threads[i] as number,
      plan: plans[i] as string,
    }))
  }
}
