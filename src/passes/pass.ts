// What a pass is, and what several of them ask about a program.

import { type Lowered, operandsOf } from '../lower.js'
import type { Tensor } from '../tensor.js'

export type Pass = (program: Lowered) => Lowered

/** How often each value is read: by nodes, by epilogues, as an output and as a gradient. */
export function countReads(program: Lowered): Map<Tensor, number> {
  const reads = new Map<Tensor, number>()
  const count = (tensor: Tensor): void => {
    reads.set(tensor, (reads.get(tensor) ?? 0) + 1)
  }
  for (const node of program.nodes) operandsOf(node).forEach(count)
  for (const { tensor } of program.outputs) count(tensor)
  for (const { parts } of program.gradientBuffers) for (const { gradient } of parts) count(gradient)
  return reads
}
