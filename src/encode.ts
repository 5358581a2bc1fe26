// The program as bytes: the records of native/abi.h, little-endian, in the order of the header's counts. A test compares
// the record sizes and the op table with those of the native build.

import type { Numerics } from './dtype.js'
import { GradlineError } from './errors.js'
import type { Node, Site, UpdateSettings } from './graph.js'
import { type Lowered, storedAs } from './lower.js'
import type { MemoryPlan, Placement } from './plan.js'
import type { Tensor, Variable } from './tensor.js'

const magic = 0x31504c47
const version = 1
const none = 0xffffffff
const max = { rank: 6, inputs: 8, outputs: 4, epilogues: 4, attrs: 12 }
const regionKinds = ['param', 'opt', 'state', 'step', 'data', 'grad', 'act', 'input', 'metric'] as const
const dtypeCodes = { float32: 0, int32: 1, uint8: 2 }
const float64 = 3
const numericsCodes = { fp32: 0, fp64: 1, fast: 2, tf32: 3, bf16: 4 }

export const recordSizes = {
  ProgramHeader: 48,
  RegionRecord: 16,
  ValueRecord: 72,
  OpRecord: 232,
  SegmentRecord: 56,
} as const

export interface Encoded {
  readonly bytes: Uint8Array
  /** Values in encoded order: what `%4` means in messages. */
  readonly values: readonly Tensor[]
  /** Nodes in encoded order; views are not among them. */
  readonly nodes: readonly Node[]
}

/** A stretch of a parameter region that one update treats alike. */
interface Segment {
  readonly region: number
  readonly offset: number
  readonly count: number
  readonly settings: UpdateSettings
}

export function encode(
  program: Lowered,
  memory: MemoryPlan,
  numerics: Numerics,
  opcodes: ReadonlyMap<string, number>,
): Encoded {
  const nodes = program.nodes.filter((node) => !node.op.alias)
  const ids = new Map<Tensor, number>()
  const id = (tensor: Tensor): number => {
    if (!ids.has(tensor)) ids.set(tensor, ids.size)
    return ids.get(tensor) as number
  }
  for (const { tensor } of program.inputs) id(tensor)
  for (const node of nodes) {
    for (const tensor of [...node.inputs, ...node.epilogues.flatMap((e) => e.operand ?? []), ...node.outputs])
      id(tensor)
  }
  for (const { tensor } of program.outputs) id(tensor)
  const values = [...ids.keys()]
  const segments = segmentsOf(program, memory)
  const { text, lines } = siteTable(nodes)

  const listed = program.inputs.length + program.outputs.length
  const total =
    recordSizes.ProgramHeader +
    memory.regions.length * recordSizes.RegionRecord +
    values.length * recordSizes.ValueRecord +
    nodes.length * recordSizes.OpRecord +
    segments.length * recordSizes.SegmentRecord +
    (listed + (listed % 2)) * 4 +
    text.byteLength
  const out = new Writer(total)

  out.u32(magic, version, numericsCodes[numerics], memory.regions.length, values.length, nodes.length)
  out.u32(segments.length, program.inputs.length, program.outputs.length, text.byteLength, 0, 0)
  for (const region of memory.regions) {
    out.u32(regionKinds.indexOf(region.kind), 0)
    out.u64(region.bytes)
  }
  for (const tensor of values) {
    const { region, offset } = placeOf(tensor, memory)
    out.u32(region, tensor.dtype === 'float32' && numerics === 'fp64' ? float64 : dtypeCodes[tensor.dtype])
    out.u64(offset)
    out.u32(tensor.rank, 0)
    for (let axis = 0; axis < max.rank; axis++) out.u64(tensor.shape[axis] ?? 0)
  }
  for (const node of nodes) encodeNode(out, node, id, opcodes, lines)
  for (const { region, offset, count, settings } of segments) {
    out.u32(region, 0)
    out.u64(offset)
    out.u64(count)
    for (const number of [settings.rate, settings.decay, settings.l1, settings.l2]) out.f64(number)
  }
  for (const { tensor } of [...program.inputs, ...program.outputs]) out.u32(id(tensor))
  if (listed % 2) out.u32(0)
  out.raw(text)
  return { bytes: out.bytes, values, nodes }
}

function encodeNode(
  out: Writer,
  node: Node,
  id: (tensor: Tensor) => number,
  opcodes: ReadonlyMap<string, number>,
  lines: ReadonlyMap<string, number>,
): void {
  const code = (name: string): number => {
    const found = opcodes.get(name)
    if (found === undefined) throw new GradlineError('native', `The native build has no op ${name}; build it again`)
    return found
  }
  const { op, attrs, inputs, outputs, epilogues } = node
  out.u32(code(op.name), lines.get(siteLine(node.site)) as number, inputs.length, outputs.length, epilogues.length, 0)
  for (let i = 0; i < max.attrs; i++) out.f64(attrs[op.attrs[i] ?? ''] ?? 0)
  for (let i = 0; i < max.inputs; i++) out.u32(inputs[i] ? id(inputs[i] as Tensor) : none)
  for (let i = 0; i < max.outputs; i++) out.u32(outputs[i] ? id(outputs[i] as Tensor) : none)
  for (let i = 0; i < max.epilogues; i++) {
    const epilogue = epilogues[i]
    out.u32(epilogue ? code(epilogue.op.name) : 0, epilogue?.operand ? id(epilogue.operand) : none)
    out.f64(epilogue?.attr ?? 0)
  }
}

export function placeOf(tensor: Tensor, memory: MemoryPlan): Placement {
  const place = memory.places.get(tensor) ?? memory.places.get(storedAs(tensor))
  if (!place) throw new GradlineError('native', `No place was planned for ${tensor}`)
  return place
}

// One segment per parameter that has a gradient; what none covers (frozen parameters, padding) is never updated. The
// gradients of one region may stand in several buffers (before and after they are clipped); their settings are equal.
function segmentsOf(program: Lowered, memory: MemoryPlan): Segment[] {
  const found = new Map<Variable, Segment>()
  for (const { region, parts } of program.gradientBuffers) {
    const index = memory.regions.findIndex(({ external }) => external === region)
    if (index === -1) continue
    for (const { variable, settings } of parts) {
      const { offset, size } = variable
      found.set(variable, { region: index, offset: offset / 4, count: size, settings })
    }
  }
  return [...found.values()].sort((a, b) => a.region - b.region || a.offset - b.offset)
}

const siteLine = ({ path, line }: Site): string => [path, line].filter(Boolean).join('  ')

function siteTable(nodes: readonly Node[]): { text: Uint8Array; lines: ReadonlyMap<string, number> } {
  const lines = new Map<string, number>()
  for (const { site } of nodes) if (!lines.has(siteLine(site))) lines.set(siteLine(site), lines.size)
  return { text: new TextEncoder().encode([...lines.keys()].map((line) => `${line}\n`).join('')), lines }
}

class Writer {
  readonly bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(size: number) {
    this.bytes = new Uint8Array(size)
    this.#view = new DataView(this.bytes.buffer)
  }

  u32(...values: number[]): void {
    for (const value of values) {
      this.#view.setUint32(this.#at, value, true)
      this.#at += 4
    }
  }

  u64(value: number): void {
    this.#view.setBigUint64(this.#at, BigInt(value), true)
    this.#at += 8
  }

  f64(value: number): void {
    this.#view.setFloat64(this.#at, value, true)
    this.#at += 8
  }

  raw(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.#at)
    this.#at += bytes.length
  }
}
