// `gradline doctor`: what this machine, this process and this installation offer, and what is missing. It looks only: nothing
// is installed, downloaded or trained. Exit status 1 when the native part, or a CUDA part that is there, cannot be loaded.

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { type Found, find, findCuda, provenanceOf, version } from '../binaries.js'
import { GradlineError } from '../errors.js'
import { type Addon, findCublas, load, withCuda } from '../native.js'
import { describePlatform, platform } from '../platform.js'
import type { Command, Context } from './command.js'

export const doctor: Command = {
  name: 'doctor',
  summary: 'tells what this machine offers and what is missing',
  options: [],
  run: async (_, context) => report(context),
}

function report({ print, note }: Context): number {
  const host = platform()
  const row = (name: string, value: string): void => print(`  ${name.padEnd(16)} ${value}`)
  const missing: string[] = []
  print(`gradline ${version}`)
  row('node', `${process.version}, Node-API ${process.versions.napi ?? 'unknown'}, ${process.execPath}`)
  row('platform', `${host.name}: ${describePlatform(host)}`)

  const failures: GradlineError[] = []
  const attempt = (part: string, body: () => void): void => {
    try {
      body()
    } catch (error) {
      if (!(error instanceof GradlineError)) throw error
      failures.push(error)
      row(part, 'cannot be loaded, see below')
      missing.push(`the ${part}`)
    }
  }
  attempt('native part', () => {
    const found = find(host)
    const native = load(found, host)
    describeBinary(row, found, native)
    describeMachine(row, native)
  })
  missing.push(...describeCuda(row, host.name, failures.length === 0 ? attempt : undefined))
  row('missing', missing.length === 0 ? 'nothing' : missing.join('; '))
  for (const { message } of failures) note(`\ngradline: ${message}`)
  return failures.length > 0 ? 1 : 0
}

type Row = (name: string, value: string) => void

function describeBinary(row: Row, { path, from }: Found, native: Addon): void {
  row('native part', `${from}, ${(statSync(path).size / 2 ** 20).toFixed(1)} MB: ${path}`)
  const built = provenanceOf(path)
  row('built', built ? `by ${built.compiler} from commit ${built.commit}` : `by ${native.compiler}`)
}

function describeMachine(row: Row, native: Addon): void {
  const { cpu, cores, isas } = native.machine()
  row('processor', cpu)
  row('instruction set', `${isas[0]}${isas.length > 1 ? ` (also there: ${isas.slice(1).join(', ')})` : ''}`)
  row('threads', `${cores}, what affinity and control group allow`)
}

// Facts of the system's files; only where there is a card to use it on, cuBLAS is loaded, since only that tells.
function describeCuda(row: Row, target: string, attempt?: (part: string, body: () => void) => void): string[] {
  if (process.platform !== 'linux') {
    row('gpu', `not used on ${process.platform}`)
    return []
  }
  const gpus = listGpus()
  row('gpu', gpus.length === 0 ? 'none of NVIDIA' : gpus.join(', '))
  const driver = /NVRM version:.*?\s(\d+\.[\d.]+)\s/.exec(contentOf('/proc/driver/nvidia/version'))?.[1]
  const libcuda = findLibrary('libcuda.so.1')
  row('driver', [driver ?? 'none', libcuda].filter(Boolean).join(', '))
  const cublas = ['libcublas.so.13', 'libcublas.so.12'].map(findLibrary).find(Boolean)
  row('cublas', cublas ?? 'none')
  const library = findCuda()
  const backend = library.from === 'package' || existsSync(library.path)
  if (backend && attempt) {
    attempt('CUDA part', () => {
      withCuda(library, (native) => native.count(library.path))
      row('cuda part', library.path)
    })
  } else row('cuda part', backend ? library.path : 'none')
  if (backend && gpus.length > 0) row('products', productsBy())
  if (gpus.length === 0) return []
  return [
    driver && libcuda ? '' : 'the NVIDIA driver (libcuda.so.1)',
    cublas ? '' : 'cuBLAS 13 or 12 (libcublas.so.13)',
    backend ? '' : `the package @gradline/cuda-${target}`,
  ].filter(Boolean)
}

// Who makes the matrix products of a card.
function productsBy(): string {
  const cublas = findCublas()
  if (!('missing' in cublas)) return `by cuBLAS ${cublas.version}: ${cublas.path}`
  return `by own kernels: ${cublas.missing.split('\n')[0]?.replace(/; looked for:$/, '')}`
}

function contentOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function listGpus(): string[] {
  const folder = '/proc/driver/nvidia/gpus'
  try {
    return readdirSync(folder).map((id) => {
      const text = contentOf(join(folder, id, 'information'))
      return /^Model:\s*(.+)$/m.exec(text)?.[1] ?? id
    })
  } catch {
    return []
  }
}

function findLibrary(name: string): string | undefined {
  const { LD_LIBRARY_PATH = '', CUDA_HOME, CONDA_PREFIX } = process.env
  const folders = [
    ...LD_LIBRARY_PATH.split(delimiter).filter(Boolean),
    ...(CUDA_HOME ? [join(CUDA_HOME, 'lib64')] : []),
    ...(CONDA_PREFIX ? [join(CONDA_PREFIX, 'lib')] : []),
    '/usr/local/cuda/lib64',
    `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`,
    '/usr/lib64',
    '/usr/lib/wsl/lib',
    '/usr/lib',
  ]
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path))
}
