// Finds the other libraries of this machine and prepares, in build-peers/, those that need it: compiles the program that opens
// BLAS libraries, makes an environment of Python with a current PyTorch, installs what npm has. What cannot be had is left
// out with one line; nothing of this is needed to use or test the package.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Start } from './peers.js'
import type { Task } from './task.js'

const works = (command: string, args: readonly string[]): boolean =>
  spawnSync(command, args, { stdio: 'ignore' }).status === 0

const left = (what: string, why: string): [] => {
  console.log(`${what} is left out: ${why}`)
  return []
}

/** Distributions build kernels for AVX-512 in that are older than this processor and do not know that it has it. */
const hasAvx512 = (): boolean => {
  try {
    return readFileSync('/proc/cpuinfo', 'utf8').includes(' avx512vl')
  } catch {
    return false
  }
}

function blas(source: string, build: string): Start[] {
  const program = join(build, 'blas')
  if (!existsSync(program) || statSync(program).mtimeMs < statSync(source).mtimeMs) {
    const compiler = ['c++', 'g++', 'clang++'].find((name) => works(name, ['--version']))
    if (!compiler) return left('BLAS', 'there is no C++ compiler')
    const made = spawnSync(compiler, ['-std=c++17', '-O2', '-o', program, source, '-ldl'], { encoding: 'utf8' })
    if (made.status !== 0) return left('BLAS', `its program does not compile: ${made.stderr.split('\n')[0]}`)
  }
  const start = (libraries: string[], env: Record<string, string> = {}, variant = ''): Start => ({
    ...{ command: program, args: libraries, env, variant, kinds: ['matmul'], compiles: false },
  })
  // Threads that spin for less than a millisecond after their work: enough for the next call, and quiet for the others.
  const openblas = { OPENBLAS_THREAD_TIMEOUT: '20' }
  const names = ['libopenblas.so.0', 'libopenblas.so', 'libopenblas.dylib']
  const blis = ['libblis.so.4', 'libblis.so', 'libblis.dylib']
  return [
    start(names, openblas),
    start(blis),
    ...(hasAvx512()
      ? [
          start(names, { ...openblas, OPENBLAS_CORETYPE: 'SkylakeX' }, 'AVX-512 forced'),
          start(blis, { BLIS_ARCH_TYPE: 'skx' }, 'AVX-512 forced'),
        ]
      : []),
    start(['libdnnl.so.3', 'libdnnl.so.2', 'libdnnl.so', 'libdnnl.dylib']),
  ]
}

/** A Python with a current PyTorch, made at the first time. */
function environment(build: string): string | undefined {
  const folder = join(build, 'torch')
  const python = join(folder, 'bin/python')
  if (works(python, ['-c', 'import torch'])) return python
  const system = ['python3.13', 'python3.12', 'python3.11', 'python3'].find((name) =>
    works(name, ['-m', 'pip', '--version']),
  )
  if (!system) return void left('a current PyTorch', 'there is no Python with pip')
  console.log('installing PyTorch into build-peers/torch, which takes minutes')
  spawnSync(system, ['-m', 'venv', folder], { stdio: 'ignore' })
  const args = ['-m', 'pip', 'install', '--quiet', 'torch', 'numpy']
  if (!works(python, args)) return void left('a current PyTorch', 'pip cannot install it')
  return works(python, ['-c', 'import torch']) ? python : undefined
}

const all: readonly Task['kind'][] = ['conv', 'batchNorm', 'crossEntropy', 'update', 'step', 'inference', 'memory']
const never = String(2 ** 40)
/** Memory that is neither given back nor mapped anew for every tensor. */
const tuned = { MALLOC_TRIM_THRESHOLD_: never, MALLOC_MMAP_MAX_: '0', MALLOC_TOP_PAD_: String(2 ** 26) }

function torch(script: string, build: string, compiles: boolean): Start[] {
  const cache = { TORCHINDUCTOR_CACHE_DIR: join(build, 'inductor') }
  const starts = (python: string, kinds: readonly Task['kind'][]): Start[] => {
    const start = { command: python, args: [script], kinds }
    const avx512: Record<string, string> = hasAvx512() ? { ATEN_CPU_CAPABILITY: 'avx512' } : {}
    const variant = hasAvx512() ? 'tuned malloc, AVX-512' : 'tuned malloc'
    return [
      { ...start, env: cache, variant: '', compiles: false },
      { ...start, env: { ...cache, ...tuned, ...avx512 }, variant, compiles },
    ]
  }
  const recent = environment(build)
  const system = '/usr/bin/python3'
  return [
    ...(recent ? starts(recent, ['matmul', ...all]) : []),
    ...(works(system, ['-c', 'import torch'])
      ? starts(system, all)
      : left('the PyTorch of the system', `${system} has none`)),
  ]
}

function onnxruntime(root: string, build: string): Start[] {
  const folder = join(build, 'npm')
  const name = 'onnxruntime-node'
  if (!existsSync(join(folder, 'node_modules', name))) {
    console.log(`installing ${name} into build-peers/npm`)
    mkdirSync(folder, { recursive: true })
    // Its script would only fetch what serves graphics cards.
    const args = ['install', '--ignore-scripts', '--no-save', '--no-package-lock', '--prefix', folder, name]
    if (!works('npm', args)) return left(name, 'npm cannot install it')
  }
  const script = join(root, 'build-examples/bench/peers/onnxruntime_peer.js')
  const kinds = ['inference'] as const
  return [{ command: process.execPath, args: [script, folder], env: {}, variant: '', kinds, compiles: false }]
}

/** Ways to start the peers of this machine. `compiles`: also in modes that take minutes to prepare. */
export function findPeers(root: string, compiles: boolean): Start[] {
  const build = join(root, 'build-peers')
  mkdirSync(build, { recursive: true })
  const sources = join(root, 'bench/peers')
  return [
    ...blas(join(sources, 'blas.cc'), build),
    ...torch(join(sources, 'torch_peer.py'), build, compiles),
    ...onnxruntime(root, build),
  ]
}
