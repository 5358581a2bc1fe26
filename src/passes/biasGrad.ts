// The gradient of a bias beside the gradient of its weights.

import type { Node } from '../graph.js'
import { type Lowered, operandsOf, storedAs } from '../lower.js'
import type { Tensor } from '../tensor.js'

const sumHosts = ['matmul', 'conv2dFilterGrad']

// The gradient of a bias is the sum over the rows by which the gradient of the weights multiplies: the product makes both,
// as its second output, and reads them once. The sum is then taken in another order.
export function fuseBiasGrad(program: Lowered): Lowered {
  const nodes: (Node | undefined)[] = [...program.nodes]
  const made = new Map<Tensor, number>(program.gradientBuffers.map(({ flat }) => [flat, nodes.length]))
  for (const [i, node] of program.nodes.entries()) if (!node.effect) for (const t of node.outputs) made.set(t, i)

  for (const [i, sum] of program.nodes.entries()) {
    const rows = summedRows(sum)
    if (!rows) continue
    const at = nodes.findIndex((node, j) => node && makes(node, rows) && meet(Math.min(i, j), Math.max(i, j)))
    if (at === -1) continue
    const host = nodes[at] as Node
    nodes[Math.max(i, at)] = undefined
    nodes[Math.min(i, at)] = { ...host, outputs: [...host.outputs, ...sum.outputs] }
  }
  return { ...program, nodes: nodes.filter((node) => node !== undefined) }

  // Whether the later of two nodes can move up to the first: what it reads stands by then, and nothing changes it.
  function meet(first: number, last: number): boolean {
    return (
      operandsOf(program.nodes[last] as Node).every((operand) => (made.get(storedAs(operand)) ?? -1) < first) &&
      !nodes.slice(first, last).some((between) => between?.effect)
    )
  }
}

// The operand of a sum over all axes but the last.
function summedRows({ op, inputs: [x], outputs: [y] }: Node): Tensor | undefined {
  const columns = x?.shape.at(-1)
  return op.name === 'sum' && y?.size === columns && y?.shape.at(-1) === columns ? x : undefined
}

// Whether `node` can sum the same rows of the same value beside its product.
function makes({ op, attrs, inputs: [, b], outputs }: Node, rows: Tensor): boolean {
  return (
    sumHosts.includes(op.name) &&
    !attrs.transposeB &&
    outputs.length === 1 &&
    storedAs(b as Tensor) === storedAs(rows) &&
    b?.shape.at(-1) === rows.shape.at(-1)
  )
}
