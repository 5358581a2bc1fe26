// Writes packs: programs as they cross into native code, with all they need to run there again without Node. It watches a
// device and keeps what it sees; what a pack holds byte by byte, and who reads it, stands in native/replay/pack.h.

import type { Device } from 'gradline'

type NativeDevice = Device['native']
type NativeProgram = ReturnType<NativeDevice['load']>
type NativeStorage = ReturnType<NativeDevice['storage']>

/** One call that runs a program. */
export interface Run {
  readonly program: Uint8Array
  /** By region, null where the program owns it. */
  readonly storages: readonly (NativeStorage | null)[]
  readonly inputs: readonly Uint8Array[]
  readonly steps: number
}

/** What may happen at the border to native code, by name of the method. */
export type Calls = Map<string, number>

export interface Watched {
  /** Called before each run. */
  onRun: ((run: Run) => void) | undefined
  readonly calls: Calls
}

/** Replaces methods of one native object by ones that report first. Own properties, so others of its class are untouched. */
function report<T extends object>(
  object: T,
  names: readonly (keyof T & string)[],
  seen: (name: string, args: never[]) => void,
) {
  for (const name of names) {
    const method = object[name] as (...args: never[]) => unknown
    Object.defineProperty(object, name, {
      value: (...args: never[]) => {
        seen(name, args)
        return method.apply(object, args)
      },
      configurable: true,
      writable: true,
    })
  }
}

/** Watches what programs loaded from now on are run with, and counts calls. For good: devices live as long as the process. */
export function watch({ native }: { readonly native: NativeDevice }): Watched {
  const calls: Calls = new Map()
  const watched: Watched = { onRun: undefined, calls }
  const count = (name: string): void => {
    calls.set(name, (calls.get(name) ?? 0) + 1)
  }
  report(native, ['describe', 'measure'], count)
  const { storage, load } = { storage: native.storage.bind(native), load: native.load.bind(native) }
  Object.defineProperty(native, 'storage', {
    value: (bytes: number) => {
      count('storage')
      const made = storage(bytes)
      report(made, ['read', 'write', 'release'], count)
      return made
    },
  })
  Object.defineProperty(native, 'load', {
    value: (program: Uint8Array, storages: (NativeStorage | null)[]): NativeProgram => {
      count('load')
      const made = load(program, storages)
      const seen = (name: string, [steps, inputs]: readonly never[]): void => {
        count(name)
        if (steps !== undefined) watched.onRun?.({ program, storages, inputs: inputs as never, steps })
      }
      report(made, ['run', 'runSync', 'stop', 'release'], seen)
      return made
    },
  })
  return watched
}

// ---- What is checked of a run

/** How far a result may be from that of the oracle; `factor` is c * sqrt(K). */
export type Bound =
  | { readonly kind: 'exact' }
  | { readonly kind: 'terms'; readonly factor: number; readonly terms: ArrayLike<number> }
  | { readonly kind: 'largest'; readonly factor: number; readonly scale?: number }
  | { readonly kind: 'step'; readonly factor: number }

export type Check = {
  readonly region: number
  readonly dtype: number
  readonly offset: number
  readonly count: number
} & {
  readonly bound: Bound
}

export interface Place {
  readonly region: number
  readonly dtype: number
  readonly offset: number
  readonly count: number
}

/** Regions, places of values and outputs, as native/abi.h lays a program out. */
export function readProgram(bytes: Uint8Array): {
  regions: { kind: number; bytes: number }[]
  values: Place[]
  outputs: Place[]
} {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const u32 = (at: number): number => view.getUint32(at, true)
  const u64 = (at: number): number => Number(view.getBigUint64(at, true))
  const [regionCount, valueCount, opCount, segments, inputs, outputs] = [12, 16, 20, 24, 28, 32].map(u32) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  const valuesAt = 48 + regionCount * 16
  const outputsAt = valuesAt + valueCount * 72 + opCount * 232 + segments * 56 + inputs * 4
  const values = Array.from({ length: valueCount }, (_, i) => {
    const at = valuesAt + i * 72
    const count = Array.from({ length: u32(at + 16) }, (_, axis) => u64(at + 24 + axis * 8)).reduce((n, d) => n * d, 1)
    return { region: u32(at), dtype: u32(at + 4), offset: u64(at + 8), count }
  })
  return {
    regions: Array.from({ length: regionCount }, (_, i) => ({ kind: u32(48 + i * 16), bytes: u64(56 + i * 16) })),
    values,
    outputs: Array.from({ length: outputs }, (_, i) => values[u32(outputsAt + i * 4)] as Place),
  }
}

const kinds = { step: 3, data: 4 }
const externalKinds = 5
const [float32, uint8, stepBytes] = [0, 2, 256]

/**
 * Checks of everything a training step leaves: outputs, and all regions that outlive it. Floats are held against the largest
 * of their region.
 */
export function everythingLeft(program: Uint8Array, factor: number): Check[] {
  const { regions, values, outputs } = readProgram(program)
  const floats = (dtype: number): Bound => (dtype === float32 ? { kind: 'largest', factor } : { kind: 'exact' })
  const checks: Check[] = outputs.map((place) => ({ ...place, bound: floats(place.dtype) }))
  for (const [region, { kind, bytes }] of regions.entries()) {
    if (kind >= externalKinds || kind === kinds.data) continue
    if (kind === kinds.step) {
      for (let offset = 0; offset + stepBytes <= bytes; offset += stepBytes) {
        checks.push({ region, dtype: uint8, offset, count: stepBytes, bound: { kind: 'step', factor } })
      }
      continue
    }
    const dtypes = new Set(values.filter((value) => value.region === region).map(({ dtype }) => dtype))
    const isFloat = dtypes.size === 1 && dtypes.has(float32)
    const [dtype, count] = isFloat ? [float32, Math.floor(bytes / 4)] : [uint8, bytes]
    checks.push({ region, dtype, offset: 0, count, bound: floats(dtype) })
  }
  return checks
}

// ---- The file

const boundKinds = { exact: 0, terms: 1, largest: 2, step: 3 } as const

export class Pack {
  readonly names: string[] = []
  readonly #parts: Uint8Array[] = []

  /** Keeps a run as it is about to happen, of so many steps. */
  add(name: string, run: Run, steps: number, checks: readonly Check[]): void {
    if (this.names.includes(name)) throw new Error(`two cases of the name ${name}`)
    this.names.push(name)
    const title = new TextEncoder().encode(name)
    const inputs = run.inputs.reduce((total, { byteLength }) => total + byteLength, 0)
    this.#u32(title.length)
    this.#parts.push(title)
    this.#u32(steps)
    this.#u64(run.program.byteLength)
    this.#parts.push(run.program.slice())
    this.#u64(inputs)
    this.#parts.push(...run.inputs.map((bytes) => bytes.slice()))
    this.#u32(run.storages.length)
    for (const storage of run.storages) {
      const content = new Uint8Array(storage?.bytes ?? 0)
      storage?.read(0, content)
      this.#u64(content.length)
      this.#parts.push(content)
    }
    this.#u32(checks.length)
    for (const { region, dtype, offset, count, bound } of checks) {
      this.#u32(region, dtype)
      this.#u64(offset, count)
      this.#u32(boundKinds[bound.kind])
      const scale = bound.kind === 'largest' ? (bound.scale ?? 0) : 0
      this.#bytes(new Float64Array(['factor' in bound ? bound.factor : 0, scale]))
      if (bound.kind === 'terms') this.#bytes(Float32Array.from(bound.terms))
    }
  }

  get bytes(): Uint8Array {
    const head = new Uint8Array(16)
    head.set(new TextEncoder().encode('GLREPLAY'))
    new DataView(head.buffer).setUint32(8, 1, true)
    new DataView(head.buffer).setUint32(12, this.names.length, true)
    return Buffer.concat([head, ...this.#parts])
  }

  #u32(...numbers: number[]): void {
    this.#bytes(Uint32Array.from(numbers))
  }

  #u64(...numbers: number[]): void {
    this.#bytes(BigUint64Array.from(numbers, BigInt))
  }

  // Little-endian like every machine this runs on.
  #bytes(array: Uint32Array | BigUint64Array | Float64Array | Float32Array): void {
    this.#parts.push(new Uint8Array(array.buffer, array.byteOffset, array.byteLength))
  }
}
