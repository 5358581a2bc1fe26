// Where the binaries of this installation lie (the core, the library for cards, the binding of cuBLAS), and whether each is
// what was published. It looks at files and says what is wrong with them; native.ts loads them.

import { createHash } from 'node:crypto'
import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { damaged, type Failure, loadError, notFound, type Part, unreadable } from './loadFailure.js'
import { isElf64, type Platform, platform } from './platform.js'

/** A binary: where, and whether it was built here or came as a package. */
export interface Found {
  readonly path: string
  readonly from: 'local build' | 'package'
}

const require = createRequire(import.meta.url)
const root = fileURLToPath(new URL('..', import.meta.url))

/** The version of this package; its binaries have the same. */
export const version: string = (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string })
  .version

/** Where a build from source lies, in a clone and in an installed package. */
export const localBuild: string = join(root, 'build-core/Release/gradline.node')

const packageOf: Record<Part, (host: Platform) => string> = {
  'native part': (host) => `@gradline/${host.name}`,
  'CUDA part': (host) => `@gradline/cuda-${host.name}`,
  'cuBLAS binding': (host) => `@gradline/cuda-${host.name}`,
}

/** The binary of this process; throws the reason why there is none. `host` and `local` stand for other machines in tests. */
export function find(host: Platform = platform(), local: string = localBuild): Found {
  if (existsSync(local)) return { path: local, from: 'local build' }
  const name = packageOf['native part'](host)
  const path = inPackage(name, 'gradline.node')
  if (path === undefined) throw loadError(notFound(host, version, require.resolve.paths(name) ?? []), host)
  return { path, from: 'package' }
}

/** The library of the CUDA backend: of a local build, else of the package for cards. There may be no such file. */
export const findCuda = (host: Platform = platform()): Found =>
  forCards(join(dirname(localBuild), 'libgradline_cuda.so'), 'CUDA part', host)

/** The cuBLAS binding, likewise. */
export const findCublasBinding = (host: Platform = platform()): Found =>
  forCards(join(root, 'build/Release/gradline_cublas.node'), 'cuBLAS binding', host)

function forCards(local: string, part: Part, host: Platform): Found {
  const path = existsSync(local) ? undefined : inPackage(packageOf[part](host), basename(local))
  return path === undefined ? { path: local, from: 'local build' } : { path, from: 'package' }
}

// By its manifest: whether the file beside it is there and is a file is asked by checkBinary.
function inPackage(name: string, file: string): string | undefined {
  try {
    return join(dirname(require.resolve(`${name}/package.json`)), file)
  } catch {
    return undefined
  }
}

/** The command that brings a binary again. */
export function commandFor({ from }: Found, part: Part, host: Platform): string {
  if (from === 'package') return `npm install ${packageOf[part](host)}@${version} --force`
  if (part !== 'native part') return `npm run build -- ${part === 'CUDA part' ? 'cuda' : 'cublas --cublas'}`
  return existsSync(join(root, 'native/abi.h')) ? 'npm run build' : 'npx gradline build-native'
}

/** Throws the reason why a binary cannot be what was published. */
export function checkBinary(found: Found, part: Part, host: Platform): void {
  const failure = faultOf(found, part, host)
  if (failure) throw loadError(failure, host, part)
}

// A library cut short or overwritten would be mapped all the same and end the process with a signal, at once or later. So its
// bytes are compared with what was published, where that is written beside it; 2 ms for the whole file. A local build is at
// least as long as it says.
function faultOf(found: Found, part: Part, host: Platform): Failure | undefined {
  const { path } = found
  const help = commandFor(found, part, host)
  const wrong = (expected: string, received: string): Failure => damaged(path, expected, received, help)
  const facts = statSync(path, { throwIfNoEntry: false })
  if (!facts) return wrong('a file', 'nothing')
  if (!facts.isFile()) return wrong('a file', facts.isDirectory() ? 'a folder' : 'something else')
  const published = provenanceOf(path)
  if (published && published.version !== version) {
    return otherRelease(found, part, host, `gradline ${published.version}`)
  }
  const wanted = published?.files[basename(path)]
  try {
    const bytes = wanted?.bytes ?? endOf(path) ?? 0
    if (wanted ? facts.size !== bytes : facts.size < bytes) return wrong(`${bytes} bytes`, `${facts.size} bytes`)
    if (!wanted) return undefined
    const hash = createHash('sha256').update(readFileSync(path)).digest('hex')
    return hash === wanted.sha256 ? undefined : wrong(`SHA-256 ${wanted.sha256}`, `SHA-256 ${hash}`)
  } catch (error) {
    return unreadable(path, (error as Error).message, help)
  }
}

/** The failure of a binary that belongs to `received`. */
export function otherRelease(found: Found, part: Part, host: Platform, received: string, more = ''): Failure {
  return {
    reason: 'version',
    what: 'the binary belongs to another release',
    where: found.path,
    expected: `gradline ${version}${more}`,
    received,
    help:
      found.from === 'package'
        ? `npm install gradline@${version} ${packageOf[part](host)}@${version}`
        : commandFor(found, part, host),
  }
}

export interface Provenance {
  readonly version: string
  readonly compiler: string
  readonly commit: string
  readonly files: Readonly<Record<string, { bytes: number; sha256: string }>>
}

/** What a release wrote beside its binaries; undefined beside others, and where it cannot be read. */
export function provenanceOf(path: string): Provenance | undefined {
  try {
    const read = JSON.parse(readFileSync(join(dirname(path), 'provenance.json'), 'utf8')) as Provenance | null
    return read?.version && read.files ? read : undefined
  } catch {
    return undefined
  }
}

/** Bytes an ELF file must have: the end of its table of sections, which linkers write last. Undefined for other files. */
function endOf(path: string): number | undefined {
  const file = openSync(path, 'r')
  try {
    const header = Buffer.alloc(64)
    if (readSync(file, header, 0, 64, 0) < 64 || !isElf64(header)) return undefined
    return Number(header.readBigUInt64LE(40)) + header.readUInt16LE(58) * header.readUInt16LE(60)
  } finally {
    closeSync(file)
  }
}
