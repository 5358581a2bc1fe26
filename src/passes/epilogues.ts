// Epilogues: biases, activations and the derivatives of activations are applied to the result of the op before them
// (a product, batch norm, the derivative of a pool) while it is in registers or a cache. Bits stay as they were.

import type { Epilogue, Node } from '../graph.js'
import type { Op } from '../op.js'
import { sameShape } from '../shape.js'
import type { Tensor } from '../tensor.js'
import { countReads, type Pass } from './pass.js'

const activations = ['relu', 'leakyRelu', 'elu', 'sigmoid', 'tanh']
export const fuseBias = fuser((op) => op.name === 'add')
export const fuseActivation = fuser((op) => activations.includes(op.name))
export const fuseActivationGrad = fuser((op) => op.epilogue && op.name.endsWith('Grad'))

export const maxEpilogues = 4
/** Matrix products and what is computed as one. */
export const products = ['matmul', 'conv2d', 'conv2dInputGrad']
const hosts = [...products, 'batchNorm', 'batchNormInference', 'maxPool2dGrad', 'avgPool2dGrad']

// Applies an elementwise op that alone reads the result of a host to that result before it is stored.
function fuser(accepts: (op: Op) => boolean): Pass {
  return (program) => {
    const reads = countReads(program)
    const producer = new Map<Tensor, number>()
    const nodes: (Node | undefined)[] = []
    for (const node of program.nodes) {
      if (accepts(node.op) && fused(node)) continue
      for (const output of node.outputs) if (!node.effect) producer.set(output, nodes.length)
      nodes.push(node)
    }
    return { ...program, nodes: nodes.filter((node) => node !== undefined) }

    function fused(node: Node): boolean {
      for (const [position, input] of node.inputs.entries()) {
        const at = producer.get(input)
        const host = at === undefined ? undefined : nodes[at]
        if (at === undefined || !host || !hosts.includes(host.op.name) || host.epilogues.length === maxEpilogues)
          continue
        if (host.outputs[0] !== input || reads.get(input) !== 1 || program.placed.has(input)) continue
        if (position !== 0 && node.op.name !== 'add') continue
        const operand = node.inputs[1 - position]
        if (operand && !fits(operand, input)) continue
        // With an operand the host may have to wait for it: it moves down to where its epilogue stands. Nothing in
        // between may change what it reads, or read what else it makes.
        const between = nodes.slice(at + 1)
        const moves = operand !== undefined
        if (moves && (host.outputs.length > 1 || between.some((other) => other?.effect))) continue
        const epilogue: Epilogue = { op: node.op, operand, attr: (node.attrs[node.op.attrs[0] ?? ''] as number) ?? 0 }
        const outputs = [...node.outputs, ...host.outputs.slice(1)]
        const to = moves ? nodes.push(undefined) - 1 : at
        nodes[at] = undefined
        nodes[to] = { ...host, outputs, epilogues: [...host.epilogues, epilogue] }
        for (const output of outputs) producer.set(output, to)
        return true
      }
      return false
    }
  }
}

// A row of channels, or a value of the same shape.
function fits(operand: Tensor, result: Tensor): boolean {
  return sameShape(operand.shape, result.shape) || sameShape(operand.shape, result.shape.slice(-1))
}
