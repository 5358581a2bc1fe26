// The only file that touches the native addon: finds it, loads it, and gives its face a type. Everything above speaks
// TypeScript; nothing here interprets what it passes on.

import { createRequire } from 'node:module'
import { GradlineError } from './errors.js'

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
  ops(): NativeOp[]
  layout(): Record<string, number>
  machine(): { cpu: string; cores: number; isas: string[] }
  open(backend: 'cpu' | 'ref', threads: number, isa: string): NativeDevice
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

/** The addon, loaded at first use: a local build first, then the package of this platform. */
export function addon(): Addon {
  loaded ??= load()
  return loaded
}

function load(): Addon {
  const require = createRequire(import.meta.url)
  const target = `${process.platform}-${process.arch}`
  const tried: string[] = []
  for (const id of ['../build-core/Release/gradline.node', `@gradline/${target}/gradline.node`]) {
    try {
      return require(id) as Addon
    } catch (error) {
      tried.push(`  ${id}: ${(error as Error).message.split('\n')[0]}`)
    }
  }
  throw new GradlineError(
    'native',
    `No native build of gradline for ${target} (Node ${process.version}):\n${tried.join('\n')}`,
    {
      fix: 'In a clone of the repository run `npm run build`; in a project install gradline with optional dependencies on',
    },
  )
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
