// Builds what is out of date: the native core (CMake), the cuBLAS binding (gyp, where there is something to bind) and the
// TypeScript. `npm run build -- [native|cublas|types|replay ...] [--cublas] [--sanitize]`; without names, the first three.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { Failure, filesBelow, isMain, main, root, runNode, say, which } from './common.mjs'

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

/** dist/, without what a source that is gone has left there. */
function buildTypes() {
  for (const path of filesBelow('dist', '.js', '.js.map', '.d.ts')) {
    const source = path.replace(/^dist/, 'src').replace(/\.(js|js\.map|d\.ts)$/, '.ts')
    if (!existsSync(join(root, source))) rmSync(join(root, path))
  }
  runNode('node_modules/typescript/bin/tsc', ['-p', 'tsconfig.json'])
}

const parts = ['native', 'cublas', 'types']

/** Where `build(['replay'], { sanitize })` leaves its program. */
export const replayProgram = (sanitize) => join(root, folders[sanitize ?? 'none'], 'replay')

/**
 * Builds the named parts, the native ones with the sanitizers 'address' (with undefined behaviour) or 'thread' if asked for.
 * `quiet` leaves out the line about a part that was skipped.
 */
export function build(names = parts, { cublas = false, sanitize = undefined, quiet = false } = {}) {
  if (names.includes('native')) buildNative(sanitize, 'gradline')
  if (names.includes('replay')) buildNative(sanitize, 'replay')
  if (names.includes('cublas')) buildCublas({ asked: cublas, quiet })
  if (names.includes('types')) buildTypes()
}

if (isMain(import.meta.url)) {
  main((args) => {
    const names = args.filter((arg) => !arg.startsWith('-'))
    const unknown = args.find((arg) => ![...parts, 'replay', '--cublas', '--sanitize'].includes(arg))
    if (unknown) {
      throw new Failure(`unknown argument ${unknown}; expected ${parts.join(', ')}, replay, --cublas or --sanitize`)
    }
    build(names.length > 0 ? names : parts, {
      cublas: args.includes('--cublas'),
      sanitize: args.includes('--sanitize') ? 'address' : undefined,
    })
  })
}
