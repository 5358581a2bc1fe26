// Assignments without a copy: the elementwise op that makes the new value of a variable writes it there by itself, as
// running statistics and hand-written updates do. Bits stay as they were.

import type { Node } from '../graph.js'
import { type Lowered, operandsOf, overlap, storedAs } from '../lower.js'
import { sameShape } from '../shape.js'
import { type Tensor, Variable } from '../tensor.js'
import { countReads } from './pass.js'

export function assignInPlace(program: Lowered): Lowered {
  const reads = countReads(program)
  const nodes: (Node | undefined)[] = [...program.nodes]
  for (const [to, copy] of program.nodes.entries()) {
    if (copy.op.name !== 'copy' || !copy.effect) continue
    const [value] = copy.inputs as [Tensor]
    const [target] = copy.outputs as [Variable]
    const at = nodes.findIndex((node) => node && !node.effect && node.outputs[0] === value)
    const maker = nodes[at]
    if (!maker?.op.inPlace || maker.outputs.length > 1 || value.dtype !== target.dtype) continue
    if (reads.get(value) !== 1 || program.placed.has(value)) continue
    // The op moves down to where the copy stands, so that what is assigned last stays last: a step that fails on its
    // data has then changed nothing. It must find there what it would have read before.
    const between = nodes.slice(at, to).filter((node) => node?.effect)
    const stays = (operand: Tensor): boolean => !between.some((node) => node?.outputs.some((t) => meets(operand, t)))
    // Element by element it may write what it reads, but not what it still has to read.
    const aligned = (operand: Tensor): boolean =>
      !meets(operand, target) || (storedAs(operand) === target && sameShape(operand.shape, value.shape))
    if (!operandsOf(maker).every((operand) => stays(operand) && aligned(operand))) continue
    nodes[at] = undefined
    nodes[to] = { ...maker, outputs: [target], effect: true }
  }
  return { ...program, nodes: nodes.filter((node) => node !== undefined) }
}

// Whether an operand, or what it is another view of, shares memory with what an effect writes.
function meets(operand: Tensor, written: Tensor): boolean {
  const stored = storedAs(operand)
  return stored instanceof Variable && written instanceof Variable && overlap(stored, written)
}
