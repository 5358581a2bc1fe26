// Reads and changes encoded programs, byte by byte, as an attacker or a broken file would. It follows the records of
// native/abi.h and shares no code with the encoder.
import type { NativeDevice, NativeProgram, NativeStorage } from '../../src/native.js'

export const sizes = { header: 48, region: 16, value: 72, op: 232, segment: 56 }
export const externalKinds = 5

export interface Layout {
  readonly regions: { kind: number; bytes: number }[]
  readonly values: { region: number; dtype: number; dims: number[] }[]
  readonly ops: { opcode: number; inputs: number; outputs: number; epilogues: number[] }[]
  readonly segments: number
  readonly inputs: number[]
  readonly outputs: number[]
  /** First byte of each part. */
  readonly at: { regions: number; values: number; ops: number; segments: number; ids: number; sites: number }
}

/** The records of a program whose counts fit its length. */
export function layoutOf(bytes: Uint8Array): Layout {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const u32 = (at: number): number => view.getUint32(at, true)
  const u64 = (at: number): number => Number(view.getBigUint64(at, true))
  const counts = [12, 16, 20, 24, 28, 32].map(u32)
  const [regions, values, ops, segments, inputs, outputs] = counts as [number, number, number, number, number, number]
  const at = { regions: sizes.header, values: 0, ops: 0, segments: 0, ids: 0, sites: 0 }
  at.values = at.regions + regions * sizes.region
  at.ops = at.values + values * sizes.value
  at.segments = at.ops + ops * sizes.op
  at.ids = at.segments + segments * sizes.segment
  at.sites = at.ids + (inputs + outputs + ((inputs + outputs) % 2)) * 4
  const each = <T>(count: number, from: number, size: number, read: (at: number) => T): T[] =>
    Array.from({ length: count }, (_, i) => read(from + i * size))
  return {
    regions: each(regions, at.regions, sizes.region, (p) => ({ kind: u32(p), bytes: u64(p + 8) })),
    values: each(values, at.values, sizes.value, (p) => ({
      region: u32(p),
      dtype: u32(p + 4),
      dims: each(Math.min(u32(p + 16), 6), p + 24, 8, u64),
    })),
    ops: each(ops, at.ops, sizes.op, (p) => ({
      opcode: u32(p),
      inputs: u32(p + 8),
      outputs: u32(p + 12),
      epilogues: each(Math.min(u32(p + 16), 4), p + 24 + 12 * 8 + 12 * 4, 16, u32),
    })),
    segments,
    inputs: each(inputs, at.ids, 4, u32),
    outputs: each(outputs, at.ids + inputs * 4, 4, u32),
    at,
  }
}

/** Inputs of a program: floats of 0.5, integers of 1. */
export function inputsFor({ inputs, values }: Layout): Uint8Array[] {
  return inputs.map((id) => {
    const { dtype, dims } = values[id]!
    const size = dims.reduce((a, b) => a * b, 1)
    const data = [
      () => new Float32Array(size).fill(0.5),
      () => new Int32Array(size).fill(1),
      () => new Uint8Array(size).fill(1),
      () => new Float64Array(size).fill(0.5),
    ][dtype]!()
    return new Uint8Array(data.buffer)
  })
}

/** Memory for the regions that outlive a program, as many bytes as it asks for. */
export function storagesFor(device: NativeDevice, { regions }: Layout): (NativeStorage | null)[] {
  return regions.map(({ kind, bytes }) => (kind < externalKinds ? device.storage(bytes) : null))
}

export function run(program: NativeProgram, layout: Layout, steps: number): Uint8Array {
  return program.runSync(steps, inputsFor(layout)).results
}
