// Devices by name: 'cpu', with a number of threads and an instruction set if asked, and 'ref', the slow scalar oracle that
// every kernel is judged by. A device is opened once per name and options and closed with the process.

import { checkInteger, checkOneOf, checkOptions, expected, GradlineError } from './errors.js'
import { addon, type NativeDevice, translate } from './native.js'

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
}

const optionNames = ['threads', 'isa', 'numerics'] as const

export class Device {
  readonly name: 'cpu' | 'ref'
  readonly native: NativeDevice

  constructor(name: 'cpu' | 'ref', native: NativeDevice) {
    this.name = name
    this.native = native
  }

  get threads(): number {
    return this.native.threads
  }

  /** One line for people: processor, instruction set, threads. */
  describe(): string {
    return this.native.describe()
  }
}

const opened = new Map<string, Device>()

/** The device of that name. The same name and options give the same device. */
export function device(name: string | Device = 'cpu', options: DeviceOptions = {}): Device {
  checkOptions('device', options, optionNames)
  if (name instanceof Device) {
    if (optionNames.every((key) => options[key] === undefined)) return name
    throw expected('no options beside a device that is open', 'device', options)
  }
  if (name === 'cuda' || /^cuda:\d+$/.test(name) || name === 'mps') {
    throw new GradlineError('argument', `Expected a device of this build for device but received "${name}"`, {
      fix: `This build of gradline has ${devices().join(', ')}`,
    })
  }
  checkOneOf('device', name, ['cpu', 'ref'] as const)
  const threads = checkInteger('threads', options.threads ?? 0, { min: 0, max: 1024 })
  const isa = options.isa === undefined ? '' : checkOneOf('isa', options.isa, ['avx512', 'avx2', 'base'] as const)
  const numerics = checkOneOf('numerics', options.numerics ?? 'native', ['native', 'portable'] as const)
  if (numerics === 'portable' && name !== 'cpu') throw expected("the device 'cpu'", 'numerics portable', name)
  const kernels = numerics === 'portable' ? numerics : isa
  const key = `${name}/${threads}/${kernels}`
  let found = opened.get(key)
  if (!found) {
    found = new Device(
      name as 'cpu' | 'ref',
      translate(() => addon().open(name as 'cpu' | 'ref', threads, kernels)),
    )
    opened.set(key, found)
  }
  return found
}

/** Names of the devices of this machine. */
export function devices(): string[] {
  return ['cpu']
}

/** What the machine offers the CPU device: processor, cores the process may use, instruction sets best first. */
export function machine(): { cpu: string; cores: number; isas: string[] } {
  return addon().machine()
}
