// From a recorded graph to the list of nodes that is planned and encoded. `lower` does what every program needs: it
// advances step states first, finds the places that outputs and gradients must have, and drops what nobody reads. The
// passes after it only make the program faster; each can be switched off by name, and none changes what is computed (only
// foldBatchNorm and fuseBiasGrad its rounding).

import { expected } from './errors.js'
import type { Epilogue, GradientBuffer, GradientPart, Graph, Node } from './graph.js'
import { type Op, opTable } from './op.js'
import { sameShape } from './shape.js'
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

// ---- What every program needs --------------------------------------------------------------------------------------

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

function made(name: string, inputs: readonly Tensor[], effect?: readonly Tensor[], attrs: Node['attrs'] = {}): Node {
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

function overlap(a: Variable, b: Variable): boolean {
  return a.region === b.region && a.offset < b.offset + b.size * 4 && b.offset < a.offset + a.size * 4
}

function dropUnused(program: Lowered): Lowered {
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

// ---- Passes --------------------------------------------------------------------------------------------------------

export type Pass = (program: Lowered) => Lowered

/** Constants computed from constants: the gradient of a mean is one number for all elements, known while recording. */
function foldConstants(program: Lowered): Lowered {
  const constants = new Map<Tensor, number>()
  const nodes = program.nodes.map((node) => {
    const [input] = node.inputs
    const [output] = node.outputs as [Tensor]
    const known = input && constants.get(input)
    if (node.op.name === 'fill') constants.set(output, node.attrs.value as number)
    else if (known === undefined || node.effect) return node
    else if (node.op.name === 'scale') {
      constants.set(output, (node.attrs.factor as number) * known + (node.attrs.offset as number))
    } else if (node.op.name === 'broadcast' || node.op.alias) constants.set(output, known)
    const value = constants.get(output)
    if (value === undefined || node.op.alias || node.op.name === 'fill') return node
    return { ...node, op: opTable().get('fill') as Op, inputs: [], attrs: { value } }
  })
  return dropUnused({ ...program, nodes })
}

const activations = ['relu', 'leakyRelu', 'elu', 'sigmoid', 'tanh']
const fuseBias = fuser((op) => op.name === 'add')
const fuseActivation = fuser((op) => activations.includes(op.name))
const fuseActivationGrad = fuser((op) => op.epilogue && op.name.endsWith('Grad'))

const maxEpilogues = 4
const products = ['matmul', 'conv2d', 'conv2dInputGrad']
const hosts = [...products, 'batchNorm', 'batchNormInference']

// Applies an elementwise op that alone reads the result of a matrix product, convolution or batch norm to that result
// before it is stored.
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

const sumHosts = ['matmul', 'conv2dFilterGrad']

// The gradient of a bias is the sum over the rows by which the gradient of the weights multiplies: the product makes both,
// as its second output, and reads them once. The sum is then taken in another order.
function fuseBiasGrad(program: Lowered): Lowered {
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

// A row of channels, or a value of the same shape.
function fits(operand: Tensor, result: Tensor): boolean {
  return sameShape(operand.shape, result.shape) || sameShape(operand.shape, result.shape.slice(-1))
}

function countReads(program: Lowered): Map<Tensor, number> {
  const reads = new Map<Tensor, number>()
  const count = (tensor: Tensor): void => {
    reads.set(tensor, (reads.get(tensor) ?? 0) + 1)
  }
  for (const node of program.nodes) operandsOf(node).forEach(count)
  for (const { tensor } of program.outputs) count(tensor)
  for (const { parts } of program.gradientBuffers) for (const { gradient } of parts) count(gradient)
  return reads
}

// Batch norm by given statistics on the result of a product or convolution becomes a gain and a shift of its channels,
// applied before that result is stored. Both are computed from the parameters in every run. It rounds differently.
function foldBatchNorm(program: Lowered): Lowered {
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
function fuseBatchNormGrad(program: Lowered): Lowered {
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

const passes = {
  foldConstants,
  fuseBias,
  foldBatchNorm,
  fuseBatchNormGrad,
  fuseActivation,
  fuseActivationGrad,
  fuseBiasGrad,
} satisfies Record<string, Pass>

export type PassName = keyof typeof passes
export const passNames = Object.keys(passes) as PassName[]

/** Runs all passes but those named in `without`. */
export function optimize(program: Lowered, without: readonly PassName[] = []): Lowered {
  for (const name of without)
    if (!passNames.includes(name)) throw expected(`one of ${passNames.join(', ')}`, 'without', name)
  return passNames.reduce((at, name) => (without.includes(name) ? at : passes[name](at)), program)
}
