// Places for every value of a program, decided before anything is allocated. Values of the step itself share one region,
// packed by lifetime: a value takes the bytes of values that are dead when it is made. Knows sizes and order, no addresses.

import { bytesOf, type Numerics } from './dtype.js'
import type { GradientBuffer, Node } from './graph.js'
import { type Lowered, operandsOf, storedAs } from './lower.js'
import { sameShape } from './shape.js'
import { alignment, type Region, type RegionKind, type Tensor, Variable } from './tensor.js'

export type OwnedKind = 'grad' | 'act' | 'input' | 'metric'

export interface PlannedRegion {
  readonly kind: RegionKind | OwnedKind
  /** The region outside the program; absent for what the program owns. */
  readonly external?: Region
  bytes: number
}

export interface Placement {
  readonly region: number
  readonly offset: number
}

export interface MemoryPlan {
  readonly regions: readonly PlannedRegion[]
  /** By stored tensor; other views of it share its place. */
  readonly places: ReadonlyMap<Tensor, Placement>
  /** Bytes that values of the step would need without sharing. */
  readonly unshared: number
}

/**
 * 'packed' shares memory between values whose lifetimes do not meet; 'apart' only above 16 MiB, for devices that run ops at
 * the same time: a place that two values share orders the ops that use it; 'none': never, nor in place, to tell bugs apart.
 */
export type PlanMode = 'packed' | 'apart' | 'none'

// Tensors that share one place: a value and those computed in place of it.
interface Block {
  bytes: number
  from: number
  to: number
  offset: number
}

export function planMemory(program: Lowered, numerics: Numerics, mode: PlanMode): MemoryPlan {
  const regions: PlannedRegion[] = []
  const places = new Map<Tensor, Placement>()
  const bytes = (tensor: Tensor): number => roundUp(tensor.size * bytesOf(tensor.dtype, numerics))
  const widening = numerics === 'fp64' ? 2 : 1

  const external = new Map<Region, number>()
  const touch = (tensor: Tensor): void => {
    if (!(tensor instanceof Variable)) return
    const { region, offset } = tensor
    if (!external.has(region)) {
      external.set(region, regions.push({ kind: region.kind, external: region, bytes: region.bytes }) - 1)
    }
    places.set(tensor, { region: external.get(region) as number, offset })
  }
  for (const node of program.nodes) [...operandsOf(node).map(storedAs), ...node.outputs].forEach(touch)

  const gradients = new Map<GradientBuffer, number>()
  for (const buffer of program.gradientBuffers) {
    const index = regions.push({ kind: 'grad', bytes: buffer.region.bytes * widening }) - 1
    gradients.set(buffer, index)
    places.set(buffer.flat, { region: index, offset: 0 })
  }
  const act = regions.push({ kind: 'act', bytes: 0 }) - 1
  const inputs = regions.push({ kind: 'input', bytes: 0 }) - 1
  const metric = regions.push({ kind: 'metric', bytes: 0 }) - 1
  const append = (tensor: Tensor, index: number): void => {
    const region = regions[index] as PlannedRegion
    places.set(tensor, { region: index, offset: region.bytes })
    region.bytes += bytes(tensor)
  }
  for (const { tensor } of program.inputs) append(tensor, inputs)
  for (const [tensor, place] of program.placed) {
    if ('output' in place) append(tensor, metric)
    else {
      const offset = place.variable.offset * widening
      places.set(tensor, { region: gradients.get(place.buffer) as number, offset })
    }
  }

  const blocks = lifetimes(program.nodes, (tensor) => !places.has(tensor), bytes, mode)
  const distinct = [...new Set(blocks.values())]
  const unshared = distinct.reduce((total, block) => total + block.bytes, 0)
  if (mode === 'apart' && unshared <= 16 * 2 ** 20) {
    for (const block of distinct) [block.from, block.to] = [0, program.nodes.length]
  }
  const packed = regions[act] as PlannedRegion
  packed.bytes = pack(distinct)
  for (const [tensor, { offset }] of blocks) places.set(tensor, { region: act, offset })
  return { regions, places, unshared }
}

const roundUp = (bytes: number): number => Math.ceil(bytes / alignment) * alignment

function lifetimes(
  nodes: readonly Node[],
  planned: (tensor: Tensor) => boolean,
  bytes: (tensor: Tensor) => number,
  mode: PlanMode,
): Map<Tensor, Block> {
  const lastUse = new Map<Tensor, number>()
  nodes.forEach((node, i) => {
    for (const operand of operandsOf(node)) lastUse.set(storedAs(operand), i)
  })
  const blocks = new Map<Tensor, Block>()
  nodes.forEach((node, i) => {
    if (node.op.alias) return
    for (const output of node.outputs) {
      if (!planned(output)) continue
      // Without packing every value lives as long as the step, so none can share with another.
      const [from, to] = mode === 'none' ? [0, nodes.length] : [i, lastUse.get(output) ?? i]
      const inPlace = mode !== 'none' && node.op.inPlace && output === node.outputs[0]
      const reused = inPlace ? dyingInput(node, output, i) : undefined
      if (reused) reused.to = to
      blocks.set(output, reused ?? { bytes: bytes(output), from, to, offset: 0 })
    }
  })
  return blocks

  // An input of the same shape that nobody needs after this node, and that the node reads only in that shape.
  function dyingInput(node: Node, output: Tensor, i: number): Block | undefined {
    for (const input of node.inputs) {
      const block = blocks.get(storedAs(input))
      const sharers = operandsOf(node).filter((other) => blocks.get(storedAs(other)) === block)
      if (block?.to === i && sharers.every((t) => t.dtype === output.dtype && sameShape(t.shape, output.shape)))
        return block
    }
    return undefined
  }
}

// Largest first, each at the lowest offset that no block alive at the same time occupies.
function pack(blocks: readonly Block[]): number {
  const done: Block[] = []
  for (const block of blocks.toSorted((a, b) => b.bytes - a.bytes || a.from - b.from)) {
    const neighbours = done.filter((other) => other.from <= block.to && block.from <= other.to)
    block.offset = 0
    for (const { offset, bytes } of neighbours.sort((a, b) => a.offset - b.offset)) {
      if (block.offset + block.bytes <= offset) break
      block.offset = Math.max(block.offset, offset + bytes)
    }
    done.push(block)
  }
  return Math.max(0, ...done.map(({ offset, bytes }) => offset + bytes))
}
