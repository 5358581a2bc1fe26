// Builds what is out of date: the native core (CMake), the cuBLAS binding (gyp) and the CUDA backend (nvcc) where there is
// a driver or they were asked for, and the TypeScript. `npm run build -- [native|cublas|cuda|types|replay|emulated ...] [--cublas]
// [--sanitize]`; without names, the first four.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { Failure, filesBelow, isMain, main, root, run, runNode, say, which } from './common.mjs'

/** Builds of the native core by what watches over them. */
const folders = { none: 'build-core', address: 'build-sanitize', thread: 'build-tsan' }
const sanitizers = { address: 'address,undefined', thread: 'thread' }

/**
 * The addon, build-core/Release/gradline.node or build-sanitize/RelWithDebInfo/gradline.node, or the program `replay` in the
 * same folders.
 */
function buildNative(sanitize, target) {
  const folder = folders[sanitize ?? 'none']
  const cache = join(root, folder, 'CMakeCache.txt')
  if (existsSync(cache)) {
    // Start afresh where CMake would refuse: the folder has moved, Ninja came or went, or the first configuration failed.
    const text = readFileSync(cache, 'utf8')
    const value = (name) => new RegExp(`^${name}:INTERNAL=(.*)$`, 'm').exec(text)?.[1]
    const ninja = Boolean(which('ninja'))
    const usable =
      resolve(value('CMAKE_HOME_DIRECTORY') ?? '') === resolve(root) &&
      (value('CMAKE_GENERATOR') === 'Ninja') === ninja &&
      existsSync(join(root, folder, ninja ? 'build.ninja' : 'Makefile'))
    if (!usable) rmSync(join(root, folder), { recursive: true })
  }
  const options = ['--out', folder, '--log-level', 'warn', '--parallel', String(availableParallelism())]
  options.push('--config', sanitize ? 'RelWithDebInfo' : 'Release')
  if (sanitize) options.push(`--CDGRADLINE_SANITIZE=${sanitizers[sanitize]}`)
  options.push('--target', target)
  // `build`, not `compile`: the latter answers a compile error with a second, full build.
  runNode('node_modules/cmake-js/bin/cmake-js', ['build', ...options])
}

/** What of CUDA this machine has at run time, as the name of a library, or undefined. */
function findCuda() {
  const names = ['libcuda.so.1', 'libcublas.so.13', 'libcublas.so.12']
  const known = spawnSync(which('ldconfig') ?? '/sbin/ldconfig', ['-p'], { encoding: 'utf8' }).stdout ?? ''
  const folders = (process.env.LD_LIBRARY_PATH ?? '').split(':').filter(Boolean)
  if (process.env.CUDA_HOME) folders.push(join(process.env.CUDA_HOME, 'lib64'))
  return names.find((name) => known.includes(`${name} `) || folders.some((folder) => existsSync(join(folder, name))))
}

/** build/Release/gradline_cublas.node, where it could be of use or was asked for. */
function buildCublas({ asked, quiet }) {
  let reason
  if (process.platform !== 'linux') reason = `it is for Linux, this is ${process.platform}`
  else if (!asked && !findCuda())
    reason = 'no CUDA driver (libcuda.so.1) and no libcublas.so.13 or .12; --cublas builds it'
  if (reason) {
    if (!quiet) say(`cuBLAS binding skipped: ${reason}`)
    return
  }
  const time = (path) => statSync(join(root, path), { throwIfNoEntry: false })?.mtimeMs ?? 0
  const sources = ['binding.gyp', 'native/cuda/blas.h', ...filesBelow('native/cublas', '.h', '.cc')]
  if (asked) sources.push(...filesBelow('test/cublas/standin', '.h', '.cc'))
  const outputs = ['gradline_cublas', ...(asked ? ['cublas_standin'] : [])].map((name) =>
    time(`build/Release/${name}.node`),
  )
  if (sources.every((path) => time(path) < Math.min(...outputs))) return
  const options = ['--loglevel', 'warn']
  // Node's own headers where they lie beside it, so that nothing has to be fetched.
  const prefix = dirname(dirname(process.execPath))
  if (!process.env.npm_config_nodedir && existsSync(join(prefix, 'include/node/node_api.h'))) {
    options.push('--nodedir', prefix)
  }
  const gyp = (command, ...more) => runNode('node_modules/node-gyp/bin/node-gyp.js', [command, ...options, ...more])
  gyp('configure', '--', `-Dstandin=${asked ? 1 : 0}`) // the stand-in is what test/cublas runs on
  gyp('build', '--jobs', String(availableParallelism())) // make knows the headers too: only what changed
}

/** The compiler of CUDA, or undefined. */
export const findNvcc = () =>
  which('nvcc') ?? (existsSync('/usr/local/cuda/bin/nvcc') ? '/usr/local/cuda/bin/nvcc' : undefined)

/** What nvcc makes of the CUDA sources in a clone: machine code for these, and PTX for cards that come later. */
export const architectures = ['sm_80', 'sm_90a']
const codeFor = (names) =>
  [...names.map((sm) => `arch=${sm.replace('sm', 'compute')},code=${sm}`), 'arch=compute_90,code=compute_90'].flatMap(
    (code) => ['-gencode', code],
  )
const nvccFlags = [
  // No product is contracted into a sum but where the source says fmaf: a kernel has the same bits in every file that it is
  // compiled in, and double arithmetic those of the CPU.
  ...['-std=c++17', '-O3', '-fmad=false', '-Werror', 'all-warnings', '-Xcompiler', '-Wall,-Wextra,-Werror'],
  ...['-I', 'native'],
]
export const nvccOptions = [...nvccFlags, ...codeFor(architectures)]

/** Compiles what is out of date of the CUDA backend, host code and kernels, for these architectures; gives all its objects. */
export function compileCudaObjects(nvcc, folder, names = architectures, more = []) {
  const time = (path) => statSync(join(root, path), { throwIfNoEntry: false })?.mtimeMs ?? 0
  const headers = [
    ...filesBelow('native/cuda', '.h', '.cuh'),
    'native/abi.h',
    'native/ops.def',
    'native/philox.h',
    'native/portable.h',
  ]
  const newest = Math.max(...headers.map(time))
  const sources = [...filesBelow('native/cuda', '.cu'), 'native/cuda/kernels/table.cc']
  mkdirSync(join(root, folder), { recursive: true })
  const launcher = which('ccache') ? ['ccache', nvcc] : [nvcc]
  return sources.map((source) => {
    const object = `${folder}/${basename(source)}.o`
    if (time(object) > Math.max(newest, time(source))) return object
    const files = ['-x', 'cu', '-Xcompiler', '-fPIC,-fvisibility=hidden', '-c', source, '-o', object]
    run(launcher[0], [...launcher.slice(1), ...nvccFlags, ...codeFor(names), ...more, ...files])
    return object
  })
}

/** build-core/Release/libgradline_cuda.so, by nvcc: kernels, planners and host code with the static CUDA runtime. */
function buildCuda({ asked, quiet }) {
  const nvcc = findNvcc()
  const reason = !nvcc
    ? 'nvcc is not installed'
    : !asked && !findCuda()
      ? 'no CUDA driver; `npm run build -- cuda` builds it'
      : ''
  if (reason) {
    if (!quiet) say(`CUDA backend skipped: ${reason}`)
    return
  }
  const out = 'build-core/Release/libgradline_cuda.so'
  const time = (path) => statSync(join(root, path), { throwIfNoEntry: false })?.mtimeMs ?? 0
  mkdirSync(join(root, dirname(out)), { recursive: true })
  const objects = compileCudaObjects(nvcc, 'build-core/cuda')
  if (objects.some((object) => time(object) > time(out))) {
    const link = ['-shared', '-cudart', 'static', '-Xlinker', '--version-script=native/cuda/library.map']
    run(nvcc, [...link, '-o', out, ...objects])
  }
}

/** The CUDA backend compiled for the emulated card, host code included, as the library that a device is opened from. */
export const emulatedLibrary = join(root, 'build-cuda/libgradline_cuda_emulated.so')

/** Builds a target of test/cuda/CMakeLists.txt. */
export function buildForEmulator(target, folder = 'build-cuda', options = []) {
  const ninja = Boolean(which('ninja'))
  const configure = ['-S', 'test/cuda', '-B', folder, ...(ninja ? ['-G', 'Ninja'] : []), ...options]
  run('cmake', configure, { stdio: ['inherit', 'ignore', 'inherit'] })
  const how = ['--parallel', String(availableParallelism()), '--', ninja ? '--quiet' : '-s']
  run('cmake', ['--build', folder, '--target', target, ...how])
}

/** dist/, without what a source that is gone has left there. */
function buildTypes() {
  for (const path of filesBelow('dist', '.js', '.js.map', '.d.ts')) {
    const source = path.replace(/^dist/, 'src').replace(/\.(js|js\.map|d\.ts)$/, '.ts')
    if (!existsSync(join(root, source))) rmSync(join(root, path))
  }
  runNode('node_modules/typescript/bin/tsc', ['-p', 'tsconfig.json'])
}

const parts = ['native', 'cublas', 'cuda', 'types']

/** Where `build(['replay'], { sanitize })` leaves its program. */
export const replayProgram = (sanitize) => join(root, folders[sanitize ?? 'none'], 'replay')

/**
 * Builds the named parts, the native ones with the sanitizers 'address' (with undefined behaviour) or 'thread' if asked for.
 * `quiet` leaves out the line about a part that was skipped.
 */
export function build(names = parts, { cublas = false, cuda = false, sanitize = undefined, quiet = false } = {}) {
  if (names.includes('native')) buildNative(sanitize, 'gradline')
  if (names.includes('replay')) buildNative(sanitize, 'replay')
  if (names.includes('cublas')) buildCublas({ asked: cublas, quiet })
  if (names.includes('cuda')) buildCuda({ asked: cuda, quiet })
  if (names.includes('emulated')) buildForEmulator('gradline_cuda_emulated')
  if (names.includes('types')) buildTypes()
}

if (isMain(import.meta.url)) {
  main((args) => {
    const names = args.filter((arg) => !arg.startsWith('-'))
    const unknown = args.find((arg) => ![...parts, 'replay', 'emulated', '--cublas', '--sanitize'].includes(arg))
    if (unknown) {
      throw new Failure(
        `unknown argument ${unknown}; expected ${parts.join(', ')}, replay, emulated, --cublas or --sanitize`,
      )
    }
    build(names.length > 0 ? names : parts, {
      cublas: args.includes('--cublas'),
      cuda: names.includes('cuda'),
      sanitize: args.includes('--sanitize') ? 'address' : undefined,
    })
  })
}
