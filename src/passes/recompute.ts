// A pass that trades a little arithmetic for memory: the result of a large batch norm is not kept from the forward to the
// backward half of a step, but made again from what its gradient needs anyway (In-place ABN, Rota Bulo et al. 2018, keeps the
// other of the two). It changes no bits and knows nothing of offsets; plan.ts finds the shorter lifetimes by itself.

import { bytesOf } from '../dtype.js'
import type { Node } from '../graph.js'
import { type Lowered, made, operandsOf, storedAs } from '../lower.js'
import type { Tensor } from '../tensor.js'

// Below this a result stays in a cache and making it again saves nothing that matters. Bytes.
const large = 1 << 20

export function recomputeBatchNorm(program: Lowered): Lowered {
  const nodes = [...program.nodes]
  for (const norm of program.nodes) {
    if (norm.op.name !== 'batchNorm') continue
    const [y, mean, variance] = norm.outputs as [Tensor, Tensor, Tensor]
    if (y.size * bytesOf(y.dtype, 'fp32') < large || program.placed.has(y)) continue
    const at = nodes.indexOf(norm)
    const readers = nodes.flatMap((node, i) => (operandsOf(node).includes(y) ? [i] : []))
    if (readers.some((i) => nodes[i]?.op.alias)) continue
    const from = backward(at, readers)
    // What it is made from must live that long by itself and be what it was.
    const [x] = norm.inputs as [Tensor]
    const kept = (t: Tensor): boolean =>
      nodes.findLastIndex((node) => operandsOf(node).some((u) => storedAs(u) === storedAs(t))) > (from ?? 0)
    if (from === undefined || ![x, mean, variance].every(kept)) continue
    if (nodes.slice(at, from).some(({ effect }) => effect)) continue

    const again = made('batchNormInference', [...norm.inputs, mean, variance], undefined, norm.attrs)
    const copy = again.outputs[0] as Tensor
    for (const i of readers.filter((reader) => reader >= from)) nodes[i] = reading(nodes[i] as Node, y, copy)
    nodes.splice(from, 0, { ...again, outputs: [copy], site: norm.site, epilogues: norm.epilogues })
  }
  return { ...program, nodes }
}

// The first reader after the longest time that nobody reads the value, if that is the longer part of its life.
function backward(made: number, readers: readonly number[]): number | undefined {
  const waits = readers.map((reader, i) => reader - (readers[i - 1] ?? made))
  const longest = Math.max(...waits)
  const from = readers[waits.indexOf(longest)]
  return readers.length > 1 && 2 * longest > (readers.at(-1) as number) - made && from !== readers[0] ? from : undefined
}

function reading(node: Node, old: Tensor, copy: Tensor): Node {
  const swap = (t: Tensor): Tensor => (t === old ? copy : t)
  const epilogues = node.epilogues.map((each) => ({ ...each, operand: each.operand && swap(each.operand) }))
  return { ...node, inputs: node.inputs.map(swap), epilogues }
}
