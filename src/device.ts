// Devices by name: 'cpu', with a number of threads and an instruction set if asked; 'cuda' and 'cuda:1', the cards; and
// 'ref', the slow scalar oracle that every kernel is judged by. A device is opened once per name and options and closed
// with the process.

import { existsSync } from 'node:fs'
import { type Found, findCuda } from './binaries.js'
import { checkInteger, checkOneOf, checkOptions, expected, GradlineError } from './errors.js'
import {
  addon,
  findCublas,
  type NativeCard,
  type NativeDevice,
  translate,
  useMeasuredPlans,
  withCuda,
} from './native.js'

export interface DeviceOptions {
  /** Threads that compute, the calling runner included. Default: all cores the process may use. Results do not depend on it. */
  threads?: number
  /** Instruction set of the kernels. Default: the best of this machine. */
  isa?: 'avx512' | 'avx2' | 'base'
  /**
   * 'portable': results are equal bit by bit on every processor, x64 or arm64, whatever its instruction set. Device 'cpu'
   * only; `isa` then changes nothing. Slower: the kernels are 128 bits wide. Default 'native': equal for one instruction set.
   */
  numerics?: 'native' | 'portable'
  /**
   * Of a card. true (default): small launches of a step are merged into few, and steps are launched several at once, as CUDA
   * graphs. false: the launches of each op one by one. 'check': both, and their bits are compared; slow. 'unmerged': as
   * graphs of the launches of each op, to see what merging brings.
   */
  graph?: boolean | 'check' | 'unmerged'
  /**
   * Of a card: devices of different lanes work at the same time, each with memory, a stream and a thread of its own. For
   * networks too small to fill a card: one for each lane, and their fit() awaited together. Steps that one multiprocessor
   * can make then share launches, a multiprocessor for each network. Default 0.
   */
  lane?: number
  /**
   * Of a card: who makes matrix products. true: cuBLAS makes every one, and an error where it cannot be used; false: the
   * library's own kernels. Default: cuBLAS where it can be loaded, but for small products, which the own kernels make within
   * the launch of their neighbours. `describe()`, `program.print()` and `gradline doctor` tell.
   */
  blas?: boolean
  /**
   * Of a card with cuBLAS: path of a file of measured plans. A product that is not in it is measured when a program with it is
   * compiled, and added. Without it products are made by cuBLAS's own first choice, which needs no time. Either way a plan
   * stays as long as its program; with a file, bits are equal from run to run once the file knows every product.
   */
  tune?: string
  /** Of a card: path of the library to open instead of the one that was built; for tests on an emulated card. */
  library?: string
}

const optionNames = ['threads', 'isa', 'numerics', 'graph', 'lane', 'blas', 'tune', 'library'] as const

export class Device {
  /** 'cpu', 'ref', or 'cuda:0' and so on. */
  readonly name: string
  readonly native: NativeDevice

  constructor(name: string, native: NativeDevice) {
    this.name = name
    this.native = native
  }

  get threads(): number {
    return this.native.threads
  }

  /** One line for people: processor, instruction set, threads; or card. */
  describe(): string {
    return this.native.describe()
  }
}

const opened = new Map<string, Device>()

/** The device of that name: 'cpu', 'cuda' or 'cuda:1', 'ref'. The same name and options give the same device. */
export function device(name: string | Device = 'cpu', options: DeviceOptions = {}): Device {
  checkOptions('device', options, optionNames)
  if (name instanceof Device) {
    if (Object.values(options).every((option) => option === undefined)) return name
    throw expected('no options beside a device that is open', 'device', options)
  }
  if (name === 'mps') {
    throw new GradlineError('argument', `Expected a device of this build for device but received "${name}"`, {
      fix: `This build of gradline has ${devices().join(', ')}`,
    })
  }
  if (typeof name !== 'string') throw expected("a name such as 'cpu' or 'cuda:0'", 'device', name)
  const card = /^cuda(?::(\d+))?$/.exec(name)
  if (card) return openCard(Number(card[1] ?? 0), options)
  checkOneOf('device', name, ['cpu', 'ref', 'cuda'] as const)
  const threads = checkInteger('threads', options.threads ?? 0, { min: 0, max: 1024 })
  const isa = options.isa === undefined ? '' : checkOneOf('isa', options.isa, ['avx512', 'avx2', 'base'] as const)
  const numerics = checkOneOf('numerics', options.numerics ?? 'native', ['native', 'portable'] as const)
  if (numerics === 'portable' && name !== 'cpu') throw expected("the device 'cpu'", 'numerics portable', name)
  const kernels = numerics === 'portable' ? numerics : isa
  if (
    [options.graph, options.lane, options.blas, options.tune, options.library].some((option) => option !== undefined)
  ) {
    throw expected('graph, lane, blas, tune and library for cuda devices only', `device ${name}`, options)
  }
  return openOnce(`${name}/${threads}/${kernels}`, name, () => addon().open(name, threads, kernels))
}

function openCard(index: number, options: DeviceOptions): Device {
  if (options.threads !== undefined || options.isa !== undefined || options.numerics !== undefined) {
    throw expected('threads, isa and numerics for the cpu only', 'device cuda', options)
  }
  const asked = options.graph ?? true
  if (typeof asked !== 'boolean') checkOneOf('graph', asked, ['check', 'unmerged'] as const)
  const graph = typeof asked === 'string' ? asked : asked ? 'on' : 'off'
  const lane = checkInteger('lane', options.lane ?? 0, { min: 0, max: 1023 })
  const found: Found = options.library === undefined ? findCuda() : { path: options.library, from: 'local build' }
  const library = found.path
  if (found.from === 'local build' && !existsSync(library)) {
    throw new GradlineError('native', `Cannot open cuda:${index}: this build of gradline has no CUDA part`, {
      where: library,
      fix: 'Use device "cpu", install @gradline/cuda-linux-x64, or run `npm run build -- cuda` in a clone where nvcc is installed',
    })
  }
  const key = `cuda:${index}/${graph}/${lane}/${options.blas}/${options.tune}/${library}`
  return openOnce(key, `cuda:${index}`, () =>
    withCuda(found, (native) => native.open(library, 0, '', 0, { index, graph, ...productsBy(index, options) })),
  )
}

// cuBLAS unless it is not wanted or not there. An emulated card takes only the cuBLAS that a test asks for, by `blas` or
// `tune`.
function productsBy(index: number, { blas, tune, library }: DeviceOptions): Omit<NativeCard, 'index' | 'graph'> {
  if (blas !== undefined && typeof blas !== 'boolean') throw expected('true or false', 'blas', blas)
  if (tune !== undefined && (typeof tune !== 'string' || tune === '')) throw expected('a path', 'tune', tune)
  if (tune !== undefined && blas === false) throw expected('cuBLAS beside tune', 'blas', blas)
  const own = { blasNeeded: false, tune: false }
  if (!(blas ?? (library === undefined || tune !== undefined))) return own
  const cublas = findCublas()
  if ('missing' in cublas) {
    if (!blas) return own
    throw new GradlineError('missing', `Cannot open cuda:${index} with cuBLAS: ${cublas.missing}`, {
      fix: 'Install CUDA 13 or 12, set CUDA_HOME, or leave out `blas`: the own kernels train as well',
    })
  }
  if (tune !== undefined) useMeasuredPlans(tune, { hold: true })
  return { blas: cublas.provider, blasNeeded: blas === true, tune: tune !== undefined }
}

function openOnce(key: string, name: string, open: () => NativeDevice): Device {
  let found = opened.get(key)
  if (!found) {
    found = new Device(name, translate(open))
    opened.set(key, found)
  }
  return found
}

/** Names of the devices of this machine. A CUDA library that cannot be used offers none; asking for `cuda` says why. */
export function devices(): string[] {
  return ['cpu', ...Array.from({ length: cards() }, (_, index) => `cuda:${index}`)]
}

function cards(): number {
  const found = findCuda()
  if (!existsSync(found.path)) return 0
  try {
    return withCuda(found, (native) => native.count(found.path))
  } catch {
    return 0
  }
}

/** What the machine offers the CPU device: processor, cores the process may use, instruction sets best first. */
export function machine(): { cpu: string; cores: number; isas: string[] } {
  return addon().machine()
}
