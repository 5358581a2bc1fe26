// From a recorded graph to the list of nodes that is planned and encoded, as every program needs it: step states are
// advanced first, outputs and gradients get the places they must have, what nobody reads is dropped. What only makes a
// program faster stands in passes/.

import type { GradientBuffer, GradientPart, Graph, Node } from './graph.js'
import { type Op, opTable } from './op.js'
import { Tensor, Variable } from './tensor.js'

/** A program before it has addresses. */
export interface Lowered {
  readonly nodes: readonly Node[]
  readonly inputs: readonly { readonly name: string; readonly tensor: Tensor }[]
  readonly outputs: readonly { readonly path: string; readonly tensor: Tensor }[]
  readonly gradientBuffers: readonly GradientBuffer[]
  /** Values that must stand at a given place, by the tensor that is stored there. */
  readonly placed: ReadonlyMap<Tensor, Place>
}

export type Place = { readonly output: number } | { readonly buffer: GradientBuffer; readonly variable: Variable }

/** The tensor whose memory `tensor` shows: itself unless it is another view of it. */
export function storedAs(tensor: Tensor): Tensor {
  let at = tensor
  while (at.node?.op.alias) at = at.node.inputs[0] as Tensor
  return at
}

/** Everything a node reads, operands of its epilogues included. */
export function operandsOf(node: Node): Tensor[] {
  return [...node.inputs, ...node.epilogues.flatMap(({ operand }) => (operand ? [operand] : []))]
}

export function lower(graph: Graph, outputs: readonly { path: string; leaf: Tensor }[]): Lowered {
  const nodes: Node[] = [
    ...[...graph.steps].map(([state, attrs]) => made('advance', [state], [state], attrs)),
    ...graph.nodes,
  ]
  const placed = new Map<Tensor, Place>()

  // A value can be stored in its final place when a kernel makes it and no other place claimed it; else it is copied.
  const claim = (tensor: Tensor, place: Place, insert: (copy: Node) => void): Tensor => {
    const stored = storedAs(tensor)
    const free = stored.node && !stored.node.effect && !placed.has(stored)
    if (free) {
      placed.set(stored, place)
      return tensor
    }
    const copy = made('copy', [tensor])
    const target = copy.outputs[0] as Tensor
    insert(copy)
    placed.set(target, place)
    return target
  }

  const gradientBuffers = graph.gradientBuffers.flatMap(({ region, flat, parts }) => {
    const firstUse = nodes.findIndex((node) => node.inputs.includes(flat))
    if (firstUse === -1) return []
    const buffer = { region, flat, parts: [] as GradientPart[] }
    for (const { variable, gradient, settings } of parts) {
      const place = { buffer, variable }
      buffer.parts.push({
        variable,
        settings,
        gradient: claim(gradient, place, (copy) => nodes.splice(firstUse, 0, copy)),
      })
    }
    return [buffer]
  })
  const results = outputs.map(({ path, leaf }, output) => ({
    path,
    tensor: claim(leaf, { output }, (copy) => nodes.push(copy)),
  }))
  return dropUnused({
    nodes: effectsLast(nodes),
    inputs: graph.inputs,
    outputs: results,
    gradientBuffers,
    placed,
  })
}

/** A node that no line of the program wrote. */
export function made(
  name: string,
  inputs: readonly Tensor[],
  effect?: readonly Tensor[],
  attrs: Node['attrs'] = {},
): Node {
  const op = opTable().get(name) as Op
  const site = inputs[0]?.node?.site ?? { path: '', line: '' }
  const node: { -readonly [K in keyof Node]: Node[K] } = {
    op,
    inputs,
    attrs,
    site,
    outputs: effect ?? [],
    epilogues: [],
    effect: effect !== undefined,
  }
  if (!effect) node.outputs = inputs.map(({ shape, dtype }) => new Tensor(shape, dtype, { node }))
  return node
}

// Assignments move to the end unless something recorded later reads the variable: a step that fails on its data has then
// changed nothing. A value that is itself a variable stays where it was written, since an update may follow.
function effectsLast(nodes: readonly Node[]): Node[] {
  const kept: Node[] = []
  const late: Node[] = []
  nodes.forEach((node, i) => {
    const [target] = node.outputs
    const isAssignment = node.effect && node.op.effect === undefined && target instanceof Variable
    const movable =
      isAssignment &&
      !(storedAs(node.inputs[0] as Tensor) instanceof Variable) &&
      !nodes.slice(i + 1).some((later) => operandsOf(later).some((t) => t instanceof Variable && overlap(t, target)))
    ;(movable ? late : kept).push(node)
  })
  return [...kept, ...late]
}

/** Whether two variables share memory. */
export function overlap(a: Variable, b: Variable): boolean {
  return a.region === b.region && a.offset < b.offset + b.size * 4 && b.offset < a.offset + a.size * 4
}

/** Only the nodes that have an effect or that something needs. */
export function dropUnused(program: Lowered): Lowered {
  const live = new Set<Tensor>(program.outputs.map(({ tensor }) => tensor))
  const buffers = new Map(program.gradientBuffers.map((buffer) => [buffer.flat, buffer]))
  const nodes: Node[] = []
  for (const node of program.nodes.toReversed()) {
    if (!node.effect && !node.outputs.some((output) => live.has(output))) continue
    nodes.push(node)
    for (const operand of operandsOf(node)) {
      live.add(operand)
      for (const { gradient } of buffers.get(operand)?.parts ?? []) live.add(gradient)
    }
  }
  return { ...program, nodes: nodes.reverse() }
}
