// Which platform package this process needs: operating system, processor, and on Linux the C library. It reads files and
// starts no process; it loads nothing.

import { closeSync, openSync, readSync } from 'node:fs'

export type Libc = 'glibc' | 'musl'

export interface Platform {
  readonly os: string
  readonly cpu: string
  /** The C library Node itself was linked against; undefined outside Linux and where it cannot be told. */
  readonly libc: Libc | undefined
  /** `linux-x64-musl`: the name of the package in the scope @gradline. */
  readonly name: string
}

/** Platforms that have a package. */
export const packaged: readonly string[] = [
  'linux-x64',
  'linux-x64-musl',
  'linux-arm64',
  'linux-arm64-musl',
  'win32-x64',
  'darwin-arm64',
  'darwin-x64',
]

/** The platform of this process, or of the one whose facts are given. */
export function platform(
  os: string = process.platform,
  cpu: string = process.arch,
  executable: string = process.execPath,
): Platform {
  const libc = os === 'linux' ? libcOf(executable) : undefined
  return { os, cpu, libc, name: `${os}-${cpu}${libc === 'musl' ? '-musl' : ''}` }
}

/** For people: `linux-x64, glibc 2.36`. */
export function describePlatform({ os, cpu, libc }: Platform): string {
  const version = libc === 'glibc' ? glibcVersion() : undefined
  return `${os}-${cpu}${libc === undefined ? '' : `, ${libc}${version === undefined ? '' : ` ${version}`}`}`
}

// The program names its dynamic loader, and the loader belongs to the C library: /lib64/ld-linux-x86-64.so.2 or
// /lib/ld-musl-x86_64.so.1. process.report knows it too, but gathers a whole report (10 ms and more) and Bun's has less in it.
function libcOf(executable: string): Libc | undefined {
  const loader = interpreterOf(executable)
  if (loader === undefined) return undefined
  return /(^|\/)ld-musl-/.test(loader) ? 'musl' : 'glibc'
}

/** The path in the segment PT_INTERP of a 64-bit little-endian ELF file. */
export function interpreterOf(path: string): string | undefined {
  try {
    const file = openSync(path, 'r')
    try {
      const part = (position: number, length: number): Buffer => {
        const bytes = Buffer.alloc(length)
        return bytes.subarray(0, readSync(file, bytes, 0, length, position))
      }
      const header = part(0, 64)
      if (header.length < 64 || !isElf64(header)) return undefined
      const [tableAt, entrySize, entries] = [
        Number(header.readBigUInt64LE(32)),
        header.readUInt16LE(54),
        header.readUInt16LE(56),
      ]
      const table = part(tableAt, entrySize * entries)
      for (let at = 0; at + 56 <= table.length; at += entrySize) {
        if (table.readUInt32LE(at) !== 3) continue // PT_INTERP
        const [from, size] = [Number(table.readBigUInt64LE(at + 8)), Number(table.readBigUInt64LE(at + 32))]
        return part(from, Math.min(size, 4096)).toString('latin1').replace(/\0.*$/s, '')
      }
    } finally {
      closeSync(file)
    }
  } catch {} // not readable: unknown
  return undefined
}

/** True for the first bytes of a 64-bit little-endian ELF file. */
export function isElf64(header: Uint8Array): boolean {
  return (
    header[0] === 0x7f &&
    header[1] === 0x45 &&
    header[2] === 0x4c &&
    header[3] === 0x46 &&
    header[4] === 2 &&
    header[5] === 1
  )
}

/** The version of glibc in this process. Slow; for messages. */
function glibcVersion(): string | undefined {
  const report = process.report as (NodeJS.ProcessReport & { excludeNetwork?: boolean }) | undefined
  if (report === undefined) return undefined
  const before = report.excludeNetwork
  report.excludeNetwork = true // else it may wait for a name server
  try {
    const { header } = report.getReport() as unknown as { header: { glibcVersionRuntime?: string } }
    return header.glibcVersionRuntime
  } catch {
    return undefined
  } finally {
    if (before !== undefined) report.excludeNetwork = before
  }
}
