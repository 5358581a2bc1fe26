// Why the native part could not be loaded, told so that a person can mend it: what failed, where, what was expected, what
// was found, and the command that helps. It looks at files that failed; it loads nothing itself.

import { closeSync, openSync, readdirSync, readSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { GradlineError } from './errors.js'
import { describePlatform, type Libc, type Platform, packaged } from './platform.js'

/**
 * - `not installed`: the platform has a package, and it is not there
 * - `other platform`: the packages that are there are for another system, processor or C library
 * - `unsupported`: there is no package for this platform
 * - `damaged`: the file is not what was published, or is no library
 * - `unreadable`: this user may not read the file
 * - `old C library`: the binary needs a newer glibc
 * - `refused`: the system would not load it for another reason
 * - `version`: the binary and the JavaScript are of different releases
 */
export type Reason =
  | 'not installed'
  | 'other platform'
  | 'unsupported'
  | 'damaged'
  | 'unreadable'
  | 'old C library'
  | 'refused'
  | 'version'

/** What of the installation a failure is about. */
export type Part = 'native part' | 'CUDA part' | 'cuBLAS binding'

export interface Failure {
  readonly reason: Reason
  /** One sentence. */
  readonly what: string
  /** The file or package it is about. */
  readonly where: string
  readonly expected: string
  readonly received: string
  /** A command, and what it needs. */
  readonly help: string
}

const build = 'npx gradline build-native   (needs cmake and a C++20 compiler)'

/** The error of a failure, without a stack of the library's own frames. */
export function loadError(failure: Failure, platform: Platform, part: Part = 'native part'): GradlineError {
  const rows = [
    ['where', failure.where],
    ['expected', failure.expected],
    ['received', failure.received],
    ['this is', `${describePlatform(platform)}, Node ${process.version}`],
    ['help', failure.help],
  ]
  const text = rows.map(([name = '', value]) => `\n  ${name.padEnd(9)} ${value}`).join('')
  const error = new GradlineError('native', `The ${part} of gradline cannot be loaded: ${failure.what}.${text}`)
  const own = [dirname(import.meta.url), dirname(fileURLToPath(import.meta.url))]
  const frames = (error.stack ?? '').split('\n').filter((line) => /^ {4}at /.test(line))
  const users = frames.filter((line) => !own.some((folder) => line.includes(folder)) && !line.includes('node:'))
  error.stack = [`${error.name}: ${error.message}`, ...users].join('\n')
  return error
}

/** No binary was found at all. `folders` are those in which packages of the scope @gradline would lie. */
export function notFound(platform: Platform, version: string, folders: readonly string[]): Failure {
  const wanted = `@gradline/${platform.name}`
  const present = folders.flatMap(packagesIn)
  if (!packaged.includes(platform.name)) {
    return {
      reason: 'unsupported',
      what: `there is no package for ${platform.name}`,
      where: wanted,
      expected: `one of ${packaged.join(', ')}`,
      received: `${platform.os} on ${platform.cpu}`,
      help: build,
    }
  }
  const others = present.filter((name) => name !== platform.name && packaged.includes(name))
  if (others.length > 0) {
    return {
      reason: 'other platform',
      what: `node_modules has been installed for another ${whatDiffers(platform, others)}`,
      where: folders.find((folder) => packagesIn(folder).length > 0) ?? wanted,
      expected: wanted,
      received: others.map((name) => `@gradline/${name}`).join(', '),
      help: `npm install   (on this machine, without the old node_modules and without the package-lock.json of another system)`,
    }
  }
  return {
    reason: 'not installed',
    what: `the package ${wanted} is not installed`,
    where: folders[0] ?? 'node_modules',
    expected: `${wanted}@${version}, an optional dependency of gradline`,
    received: 'no such package: optional dependencies were left out, or the lock file was made on another system',
    help: `npm install --include=optional   or   npm install ${wanted}@${version}   or   ${build}`,
  }
}

function packagesIn(folder: string): string[] {
  try {
    return readdirSync(join(folder, '@gradline'))
  } catch {
    return []
  }
}

function whatDiffers({ os, cpu }: Platform, others: readonly string[]): string {
  if (others.some((name) => name.startsWith(`${os}-${cpu}`))) return 'C library'
  return others.some((name) => name.startsWith(`${os}-`)) ? 'processor' : 'operating system'
}

/** The file is there, but is not the one that was published. */
export function damaged(path: string, expected: string, received: string, help: string): Failure {
  return { reason: 'damaged', what: 'the binary is damaged', where: path, expected, received, help }
}

/** The file is there, and the system does not let it be read. */
export function unreadable(path: string, message: string, help: string): Failure {
  const expected = 'a file that this user may read'
  return { reason: 'unreadable', what: 'the binary may not be read', where: path, expected, received: message, help }
}

/** The system refused the file with this message. */
export function refused(path: string, message: string, platform: Platform, help: string): Failure {
  const line = message.split('\n')[0] ?? message
  const newer = /version [`']GLIBC_([\d.]+)' not found/.exec(message)
  if (newer) {
    return {
      reason: 'old C library',
      what: 'the C library of this system is too old',
      where: path,
      expected: `glibc ${newer[1]} or newer`,
      received: line,
      help: `a newer system, or a build on this one: ${build}`,
    }
  }
  const wrong = otherLibc(message, platform.libc)
  if (wrong) {
    return {
      reason: 'other platform',
      what: `the binary is for ${wrong}, this system has ${platform.libc}`,
      where: path,
      expected: `a binary for ${platform.libc}`,
      received: line,
      help: path.includes('node_modules') ? 'npm install   (on this system, without the old node_modules)' : build,
    }
  }
  const kind = kindOf(path)
  if (kind !== undefined && kind !== `${platform.os}-${platform.cpu}`) {
    const expected = `a library for ${platform.os}-${platform.cpu}`
    if (kind === '') return damaged(path, expected, `a file of no known kind (${line})`, help)
    const received = `a library for ${kind}`
    return { reason: 'other platform', what: 'the binary is for another system', where: path, expected, received, help }
  }
  return {
    reason: 'refused',
    what: 'the system refuses it',
    where: path,
    expected: 'a library that loads',
    received: line,
    help,
  }
}

// What the loaders say when the other C library is asked for: glibc's does not find musl's file, musl's does not find
// glibc's file or some of its functions.
function otherLibc(message: string, own: Libc | undefined): Libc | undefined {
  if (own === 'glibc' && /libc\.musl-|ld-musl-|libc\.so: (cannot open|invalid ELF header)/.test(message)) return 'musl'
  if (own === 'musl' && /ld-linux|libc\.so\.6|libpthread\.so\.0|relocating .*symbol not found/.test(message))
    return 'glibc'
  return undefined
}

/** `linux-x64` by the first bytes of a library; '' if it is none; undefined if it cannot be read. */
export function kindOf(path: string): string | undefined {
  try {
    const file = openSync(path, 'r')
    try {
      const bytes = Buffer.alloc(4096)
      const length = readSync(file, bytes, 0, bytes.length, 0)
      if (length < 64) return ''
      if (bytes.readUInt32BE(0) === 0x7f454c46) {
        const cpu = { 62: 'x64', 183: 'arm64', 3: 'ia32', 40: 'arm', 243: 'riscv64' }[bytes.readUInt16LE(18)]
        return `linux-${cpu ?? 'unknown'}`
      }
      if (bytes.readUInt32LE(0) === 0xfeedfacf) return `darwin-${{ 7: 'x64', 12: 'arm64' }[bytes[4] ?? 0] ?? 'unknown'}`
      if (bytes.toString('latin1', 0, 2) === 'MZ') {
        const at = bytes.readUInt32LE(60)
        const machine = at + 6 <= length ? bytes.readUInt16LE(at + 4) : 0
        return `win32-${{ 34404: 'x64', 43620: 'arm64', 332: 'ia32' }[machine] ?? 'unknown'}`
      }
      return ''
    } finally {
      closeSync(file)
    }
  } catch {
    return undefined
  }
}
