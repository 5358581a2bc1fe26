// The only file that touches the native addon: loads it and gives its face a type. Everything above speaks TypeScript; nothing
// here interprets what it passes on.

import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { checkBinary, commandFor, type Found, find, findCublasBinding, otherRelease, version } from './binaries.js'
import { GradlineError } from './errors.js'
import { damaged, type Failure, loadError, type Part, refused } from './loadFailure.js'
import { type Platform, platform } from './platform.js'

const require = createRequire(import.meta.url)

/** The interface that this code speaks: kAbiVersion of native/abi.h. */
export const abi = 6

export interface NativeOp {
  readonly name: string
  readonly family: string
  readonly inputs: readonly [fewest: number, most: number]
  readonly outputs: readonly [fewest: number, most: number]
  readonly flags: number
  readonly attrs: readonly string[]
}

export interface NativeStorage {
  readonly bytes: number
  /** True while a queued or running program uses it; reading and writing then throw. */
  readonly busy: boolean
  read(offset: number, into: Uint8Array): void
  write(offset: number, from: Uint8Array): void
  release(): void
}

export interface NativeProgram {
  /** Bytes of the regions the program owns, workspace included. */
  readonly bytes: number
  /** Bytes of outputs one step leaves. */
  readonly resultBytes: number
  /**
   * `continues`: does nothing when the run of this program before it failed. `timed`: gives the seconds of every op, step
   * by step.
   */
  run(
    steps: number,
    inputs: Uint8Array[],
    continues: boolean,
    timed?: boolean,
  ): Promise<{ steps: number; results: Uint8Array; seconds?: Float64Array }>
  runSync(steps: number, inputs: Uint8Array[]): { steps: number; results: Uint8Array }
  /** How many slots the program has for batches that come one by one; makes them at the first call. */
  slots(): number
  /**
   * Copies a batch into a slot and queues one step with it. The slot is taken until the promise settles; steps before it run
   * meanwhile.
   */
  feed(slot: number, inputs: Uint8Array[], continues: boolean): Promise<{ steps: number; results: Uint8Array }>
  /** Ends the running and the queued runs of this program at the next step boundary. */
  stop(): void
  release(): void
}

export interface NativeDevice {
  readonly threads: number
  describe(): string
  /** Multiply-adds of one thread, operations per second, measured now: the ceiling for benchmarks. */
  peak(milliseconds: number): number
  storage(bytes: number): NativeStorage
  measure(program: Uint8Array): { regions: number[]; workspace: number; plans: string[]; threads: number[] }
  load(program: Uint8Array, storages: (NativeStorage | null)[]): NativeProgram
  close(): void
}

export interface Addon {
  readonly abi: number
  /** Of the package it was built for. */
  readonly version: string
  /** Name and version of the compiler. */
  readonly compiler: string
  ops(): NativeOp[]
  layout(): Record<string, number>
  /** `root`: reads the files of another root, for tests. */
  machine(root?: string): { cpu: string; cores: number; memory: number; isas: string[] }
  /** `backend`: 'cpu', 'ref' or the path of a library. `cores`: as if the process might use so many, for tests. */
  open(backend: string, threads: number, isa: string, cores?: number, card?: NativeCard): NativeDevice
  /** Devices of this machine that the library at this path can open. */
  count(library: string): number
}

/** How a card is opened. */
export interface NativeCard {
  index: number
  graph: 'on' | 'off' | 'check' | 'unmerged'
  /** `provider` of the cuBLAS binding; without it products are the backend's own kernels. */
  blas?: unknown
  /** It makes every product, and one that cannot be opened is an error; else large ones only, and it is done without. */
  blasNeeded: boolean
  /** Measure products that the file of measured plans does not know. */
  tune: boolean
}

/** What the addon attaches to the error of a failed step. */
export interface NativeFailure extends Error {
  readonly code?: string
  readonly op?: number
  readonly opName?: string
  readonly site?: string
  /** Whole steps done before the failure. */
  readonly completed?: number
}

let loaded: Addon | undefined

/** The addon, loaded at first use: a local build where there is one, else the package of this platform. */
export function addon(): Addon {
  loaded ??= load(find())
  return loaded
}

/** Loads a binary that was found; throws the reason why it cannot be used. */
export function load(found: Found, host: Platform = platform()): Addon {
  const native = requireBinary<Addon>(found, 'native part', host)
  if (native.abi !== abi || native.version !== version) {
    const received = `gradline ${native.version ?? 'before 0.1.0'}, interface ${native.abi}`
    throw loadError(otherRelease(found, 'native part', host, received, `, interface ${abi}`), host)
  }
  return native
}

function requireBinary<T>(found: Found, part: Part, host: Platform): T {
  checkBinary(found, part, host)
  try {
    return require(found.path) as T
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw loadError(refused(found.path, message, host, commandFor(found, part, host)), host, part)
  }
}

/**
 * What `body` gives, which has the core open the library of the CUDA backend; a library that is not what was published, or
 * that the system refuses, is told like any binary that cannot be loaded.
 */
export function withCuda<T>(found: Found, body: (native: Addon) => T): T {
  const host = platform()
  const native = addon()
  checkBinary(found, 'CUDA part', host)
  try {
    return body(native)
  } catch (error) {
    const { message } = error as Error
    const help = commandFor(found, 'CUDA part', host)
    const explain = (failure: Failure): never => {
      throw loadError(failure, host, 'CUDA part')
    }
    const [, system] = /^cannot load a backend: (.*)/s.exec(message) ?? []
    if (system !== undefined) explain(refused(found.path, system, host, help))
    const [foreign] = /exports no gradline_backend$/.exec(message) ?? []
    if (foreign) explain(damaged(found.path, 'the library of a CUDA backend', `a library that ${foreign}`, help))
    const [other] = /it was built for other ops or another interface$/.exec(message) ?? []
    if (other) explain(otherRelease(found, 'CUDA part', host, other))
    throw error
  }
}

/** Runs `body` and turns an error of the addon into one of the library, naming the layer and the user's line. */
export function translate<T>(body: () => T): T {
  try {
    return body()
  } catch (error) {
    throw translated(error)
  }
}

export function translated(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof GradlineError) return error
  const { code, site } = error as NativeFailure
  return new GradlineError(code === 'GL_BUSY' ? 'busy' : 'native', error.message, {
    cause: error,
    ...(site && !error.message.includes(site) ? { where: site } : {}),
  })
}

/** Memory on a CUDA device. */
export interface NativeDeviceBuffer {
  readonly bytes: number
  write(data: NodeJS.TypedArray | ArrayBuffer, byteOffset?: number): void
  read<T extends NodeJS.TypedArray | ArrayBuffer>(into: T, byteOffset?: number): T
  free(): void
}

/** A CUDA device with one stream; fields of products are checked there. */
export interface NativeCublasDevice {
  readonly name: string
  readonly capability: number
  readonly bytes: number
  alloc(bytes: number): NativeDeviceBuffer
  sgemm(product: object): void
  gemmEx(product: object): void
  gemmStridedBatched(product: object): void
  ltMatmul(product: object): { workspaceBytes: number; measured: boolean; candidates: number }
  tune(product: object): { workspaceBytes: number; measured: boolean; candidates: number }
  synchronize(): void
  close(): void
}

/** The cuBLAS binding (native/cublas), an addon of its own. */
export interface CublasAddon {
  load(folder?: string): {
    found: boolean
    version?: string
    ltVersion?: number
    path?: string
    driverError?: string
    error?: string
  }
  /** Sets the file of measured plans; returns what of it is ignored, or ''. */
  cache(path?: string): string
  readonly Device: new (options: object) => NativeCublasDevice
  /** For the CUDA backend: an External with the table of native/cuda/blas.h. */
  readonly provider: unknown
}

let cublas: CublasAddon | undefined

/** The cuBLAS binding, loaded at first use: a local build, else the one in the package for cards. */
export function cublasAddon(): CublasAddon {
  if (cublas) return cublas
  const found = findCublasBinding()
  if (!existsSync(found.path)) {
    throw new GradlineError('missing', `The cuBLAS binding is not there: ${found.path}`, {
      fix: 'It is for Linux: install @gradline/cuda-linux-x64, or build it by `npm run build -- cublas --cublas`',
    })
  }
  cublas = requireBinary<CublasAddon>(found, 'cuBLAS binding', platform())
  return cublas
}

/** cuBLAS as the CUDA backend can use it in this process, or why it cannot. */
export type CublasState = { provider: unknown; version: string; path: string } | { missing: string }

export function findCublas(): CublasState {
  try {
    const { provider, ...binding } = cublasAddon()
    const { found, version = '', path = '', driverError, error = 'cuBLAS was not found' } = binding.load()
    return found && driverError === undefined ? { provider, version, path } : { missing: driverError ?? error }
  } catch (error) {
    return { missing: (error as Error).message }
  }
}

let heldPlans: string | undefined

/**
 * Sets the file of measured plans, of which a process has one; what of it cannot be used is a warning. With `hold`, programs
 * that are compiled later depend on it, and another one is refused.
 */
export function useMeasuredPlans(path: string, { hold = false } = {}): void {
  if (heldPlans === path) return
  if (heldPlans !== undefined) {
    throw new GradlineError('state', `This process keeps measured plans in ${heldPlans}, so not in ${path} as well`)
  }
  const ignored = cublasAddon().cache(path)
  if (ignored) process.emitWarning(ignored)
  if (hold) heldPlans = path
}
