// The only file that touches the native addon: finds it, loads it, and gives its face a type. Everything above speaks
// TypeScript; nothing here interprets what it passes on.

import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { GradlineError } from './errors.js'
import { damaged, type Failure, loadError, notFound, refused } from './loadFailure.js'
import { type Platform, platform } from './platform.js'

/** The interface that this code speaks: kAbiVersion of native/abi.h. */
export const abi = 5

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

/** A binary that is there: where, and whether it was built here or came as a package. */
export interface Found {
  readonly path: string
  readonly from: 'local build' | 'package'
}

let loaded: Addon | undefined

/** The addon, loaded at first use: a local build where there is one, else the package of this platform. */
export function addon(): Addon {
  loaded ??= load(find())
  return loaded
}

const require = createRequire(import.meta.url)

/** The version of this package; its binary has the same. */
export const version: string = (
  JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
).version

/** Where a build from source lies, in a clone and in an installed package. */
export const localBuild: string = fileURLToPath(new URL('../build-core/Release/gradline.node', import.meta.url))

/** Path of the library of the CUDA backend: of a local build, else of the package for cards; there may be no such file. */
export function cudaLibrary(host: Platform = platform()): string {
  const file = 'libgradline_cuda.so'
  const local = join(dirname(localBuild), file)
  if (existsSync(local)) return local
  try {
    return require.resolve(`@gradline/cuda-${host.name}/${file}`)
  } catch {
    return local
  }
}

/** The binary of this process; throws the reason why there is none. `host` and `local` stand for other machines in tests. */
export function find(host: Platform = platform(), local: string = localBuild): Found {
  if (existsSync(local)) return { path: local, from: 'local build' }
  const name = `@gradline/${host.name}`
  try {
    return { path: require.resolve(`${name}/gradline.node`), from: 'package' }
  } catch {
    throw loadError(notFound(host, version, require.resolve.paths(name) ?? []), host)
  }
}

/** Loads a binary that was found; throws the reason why it cannot be used. */
export function load({ path, from }: Found, host: Platform = platform()): Addon {
  const again = from === 'package' ? `npm install @gradline/${host.name}@${version} --force` : 'npm run build'
  const fail = (failure: Failure): never => {
    throw loadError(failure, host)
  }
  const wrong = checkFile(path)
  if (wrong) fail(damaged(path, wrong.expected, wrong.received, again))
  let native: Addon | undefined
  try {
    native = require(path) as Addon
  } catch (error) {
    return fail(refused(path, error instanceof Error ? error.message : String(error), host, again))
  }
  if (native.abi !== abi || native.version !== version) {
    fail({
      reason: 'version',
      what: 'the binary belongs to another release',
      where: path,
      expected: `gradline ${version}, interface ${abi}`,
      received: `gradline ${native.version ?? 'before 0.1.0'}, interface ${native.abi}`,
      help: from === 'package' ? `npm install gradline@${version} @gradline/${host.name}@${version}` : again,
    })
  }
  return native
}

// A library cut short or overwritten would be mapped all the same and end the process with a signal, later or at once. So
// the bytes are compared with what was published, where that is written beside them; 2 ms for the whole file.
function checkFile(path: string): { expected: string; received: string } | undefined {
  let known: { files?: Record<string, { bytes: number; sha256: string }> }
  try {
    known = JSON.parse(readFileSync(join(dirname(path), 'provenance.json'), 'utf8')) as typeof known
  } catch {
    return undefined
  }
  const wanted = known.files?.['gradline.node']
  if (!wanted) return undefined
  let bytes: Buffer
  try {
    bytes = readFileSync(path)
  } catch (error) {
    return { expected: 'a file that can be read', received: (error as Error).message }
  }
  if (bytes.length !== wanted.bytes) return { expected: `${wanted.bytes} bytes`, received: `${bytes.length} bytes` }
  const hash = createHash('sha256').update(bytes).digest('hex')
  return hash === wanted.sha256 ? undefined : { expected: `SHA-256 ${wanted.sha256}`, received: `SHA-256 ${hash}` }
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
  const local = fileURLToPath(new URL('../build/Release/gradline_cublas.node', import.meta.url))
  let path = local
  if (!existsSync(path)) {
    try {
      path = require.resolve(`@gradline/cuda-${platform().name}/gradline_cublas.node`)
    } catch {
      throw new GradlineError('missing', `The cuBLAS binding is not there: ${local}`, {
        fix: 'It is for Linux: install @gradline/cuda-linux-x64, or build it by `npm run build -- cublas --cublas`',
      })
    }
  }
  try {
    cublas = require(path) as CublasAddon
  } catch (error) {
    throw new GradlineError('native', `The cuBLAS binding cannot be loaded: ${(error as Error).message}`, {
      cause: error,
    })
  }
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
