// Reverse-mode differentiation: graph in, graph out. The walk visits the recorded ops from the loss backwards and records
// each one's derivative, itself written in ops. Nothing is computed here.

import { GradlineError } from './errors.js'
import { apply1, currentGraph, type Node } from './graph.js'
import { checkTensors, type Op, opTable } from './op.js'
import { checkList, type Shape, showShape } from './shape.js'
import { type Tensor, Variable } from './tensor.js'

/**
 * Gradients of a scalar with respect to tensors or variables of the program being recorded, in the order of `wrt` and
 * each of the shape of its tensor. A tensor that does not influence `loss` gets zeros.
 * @throws when `loss` is not a scalar, when an op on the way has no derivative, or when a variable that the derivative
 * needs has been assigned since.
 */
export function grad(loss: Tensor, wrt: readonly Tensor[]): Tensor[] {
  const graph = currentGraph('grad()')
  checkTensors('the loss of grad', loss)
  checkList('what grad is taken with respect to', wrt, 'an array of tensors')
  checkTensors('what grad is taken with respect to', ...wrt)
  if (loss.size !== 1 || loss.dtype !== 'float32') {
    throw new GradlineError(
      'shape',
      `Expected a float scalar for the loss in grad() but received ${loss.dtype} ${showShape(loss.shape)}; ` +
        'reduce it with ops.mean() or ops.sum()',
    )
  }
  // By name, since this room may not import the ops.
  const add = opTable().get('add') as Op
  const fill = (shape: Shape, value: number): Tensor => apply1(opTable().get('fill') as Op, [], { value }, shape)
  const recorded = graph.nodes.slice()
  const influenced = reachable(recorded, wrt)
  const adjoint = new Map<Tensor, Tensor>([[loss, fill(loss.shape, 1)]])

  for (const node of recorded.reverse()) {
    const grads = node.outputs.map((output) => adjoint.get(output))
    if (node.effect || !node.outputs.some((t) => influenced.has(t)) || grads.every((g) => g === undefined)) continue
    const { backward } = node.op
    if (!backward) throw noDerivative(node)
    for (const input of node.inputs) {
      if (input instanceof Variable && graph.assignedSince(input, node)) throw assignedMeanwhile(node, input)
    }
    const inputGrads = graph.inLayer(node.site.path, () => backward(grads, node))
    inputGrads.forEach((g, i) => {
      const input = node.inputs[i] as Tensor
      if (g === undefined || !influenced.has(input)) return
      const sum = adjoint.get(input)
      adjoint.set(input, sum ? apply1(add, [sum, g]) : g)
    })
  }
  return wrt.map((tensor) => adjoint.get(tensor) ?? fill(tensor.shape, 0))
}

// Everything computed from `from`, itself included: only there can a gradient be asked for.
function reachable(nodes: readonly Node[], from: readonly Tensor[]): Set<Tensor> {
  const reached = new Set<Tensor>(from)
  for (const node of nodes) {
    if (!node.effect && node.inputs.some((input) => reached.has(input))) for (const t of node.outputs) reached.add(t)
  }
  return reached
}

function noDerivative(node: Node): GradlineError {
  const where = [node.site.path, node.site.line].filter(Boolean).join(', ')
  return new GradlineError(
    'recording',
    `The op ${node.op.name} (${where}) has no derivative, but the loss depends on it`,
  )
}

function assignedMeanwhile(node: Node, variable: Variable): GradlineError {
  return new GradlineError(
    'recording',
    `The derivative of ${node.op.name} needs the value that ${variable.name} had before it was assigned. ` +
      'Call grad() before assign()',
  )
}
