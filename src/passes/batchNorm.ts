// Batch norm by given statistics taken into the product before it, and the derivative of batch norm with that of the
// activation behind it.

import type { Node } from '../graph.js'
import { dropUnused, type Lowered, made } from '../lower.js'
import { type Op, opTable } from '../op.js'
import { Tensor } from '../tensor.js'
import { maxEpilogues, products } from './epilogues.js'
import { countReads } from './pass.js'

// Batch norm by given statistics on the result of a product or convolution becomes a gain and a shift of its channels,
// applied before that result is stored. Both are computed from the parameters in every run. It rounds differently.
export function foldBatchNorm(program: Lowered): Lowered {
  const reads = countReads(program)
  const nodes: Node[] = []
  for (const node of program.nodes) {
    const [x, gamma, beta, mean, variance] = node.inputs as [Tensor, Tensor, Tensor, Tensor, Tensor]
    const at = nodes.findLastIndex(({ outputs }) => outputs[0] === x)
    const host = nodes[at]
    const foldable =
      node.op.name === 'batchNormInference' &&
      host &&
      products.includes(host.op.name) &&
      host.epilogues.length + node.epilogues.length <= maxEpilogues - 2 &&
      reads.get(x) === 1 &&
      !program.placed.has(x) &&
      !nodes.slice(at + 1).some(({ effect }) => effect)
    if (!foldable) {
      nodes.push(node)
      continue
    }
    nodes.splice(at, 1)
    const apply = (name: string, inputs: readonly Tensor[], attrs: Node['attrs'] = {}): Tensor => {
      const row = made(name, inputs, undefined, attrs)
      const { site } = node
      const outputs = [new Tensor((inputs[0] as Tensor).shape, 'float32', { node: row })]
      nodes.push({ ...row, site, outputs })
      return outputs[0] as Tensor
    }
    const spread = apply('scale', [variance], { factor: 1, offset: node.attrs.eps as number })
    const gain = apply('div', [gamma, apply('sqrt', [spread])])
    const shift = apply('sub', [beta, apply('mul', [mean, gain])])
    const affine = [
      { op: opTable().get('mul') as Op, operand: gain, attr: 0 },
      { op: opTable().get('add') as Op, operand: shift, attr: 0 },
    ]
    const epilogues = [...host.epilogues, ...affine, ...node.epilogues]
    nodes.push({ ...host, outputs: node.outputs, epilogues })
  }
  return { ...program, nodes }
}

// Takes the gradient of relu or leakyRelu into the gradient of the batch norm before it, which finds the sign of the
// activation's argument from x: the activation's result is neither read nor has to be kept for it.
export function fuseBatchNormGrad(program: Lowered): Lowered {
  const reads = countReads(program)
  const at = new Map(program.nodes.flatMap((node, i) => node.outputs.map((output) => [output, i] as const)))
  const merged = new Set<Node>()
  const nodes = program.nodes.map((node) => {
    if (node.op.name !== 'batchNormGrad') return node
    const [g, x, gamma, mean, variance] = node.inputs as [Tensor, Tensor, Tensor, Tensor, Tensor]
    const derivative = program.nodes[at.get(g) ?? -1]
    const activation = derivative?.inputs[1]?.node
    const [norm, slope] = [activation?.inputs[0]?.node, activation?.attrs.slope ?? 0]
    if (!derivative || !activation || norm?.op.name !== 'batchNorm' || reads.get(g) !== 1 || program.placed.has(g))
      return node
    const known = derivative.op.name === 'reluGrad' || (derivative.op.name === 'leakyReluGrad' && slope > 0)
    const [, mean2, variance2] = norm.outputs
    const beta = norm.inputs[2] as Tensor
    const same = norm.inputs[0] === x && norm.inputs[1] === gamma && mean2 === mean && variance2 === variance
    if (!known || !same || norm.outputs[0] !== activation.inputs[0] || norm.attrs.eps !== node.attrs.eps) return node
    const inputs = [derivative.inputs[0] as Tensor, x, gamma, mean, variance, beta]
    merged.add(derivative)
    return { ...node, inputs, attrs: { ...node.attrs, slope } }
  })
  return dropUnused({ ...program, nodes: nodes.filter((node) => !merged.has(node)) })
}
