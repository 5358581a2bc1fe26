// A system with musl, as far as running a program for it needs one, in a folder and without being root: musl itself from Debian's
// archive, Bun for musl from npm (there is no Node for it), and the C++ library that Bun asks for, which Debian has for glibc
// only: Zig links the objects that Bun needs of it against musl.
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { olderLibc } from '../release/compileCuda.mjs'
import { targets } from '../release/targets.mjs'
import { environment, toolsFor } from '../release/zig.mjs'

/** Unpacks packages of Debian into a folder, as any user. `settings` go to apt-get. */
export function unpackDebian(world, folder, names, settings = []) {
  mkdirSync(folder, { recursive: true })
  const env = { PATH: process.env.PATH }
  world.must(folder, 'apt-get', ['-qq', ...settings, 'download', ...names], { env })
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.deb'))) {
    world.must(folder, 'dpkg', ['-x', file, folder], { env })
  }
  return folder
}

const processors = {
  x64: { gnu: 'x86_64', debian: 'amd64', library: ['libstdc++-12-dev'] },
  arm64: { gnu: 'aarch64', debian: 'arm64', library: ['libstdc++-12-dev-arm64-cross'] },
}

/**
 * { system, program, env }: a folder with lib/ld-musl-*.so.1 and the libraries, Bun, and what it has to be told. On this
 * machine's processor the program runs by itself, in a folder that has its loader; on another one qemu takes `system`.
 */
export function muslSystem(world, cpu, bunVersion) {
  const { gnu, debian, library } = processors[cpu]
  const folder = join(world.folder, `musl-${cpu}`)
  const system = join(folder, 'system')
  mkdirSync(join(system, 'lib'), { recursive: true })
  const loader = `ld-musl-${gnu}.so.1`
  const packages = unpackDebian(world, join(folder, 'debian'), library)
  unpackDebian(world, packages, ['musl'], foreignSettings(world, folder, debian))
  copyFileSync(join(packages, `lib/${gnu}-linux-musl/libc.so`), join(system, 'lib', loader))

  const at = world.app(`bun${cpu}`)
  const name = `@oven/bun-linux-${cpu === 'x64' ? 'x64' : 'aarch64'}-musl`
  world.npm(at, 'install', `${name}@${bunVersion}`, '--force', '--ignore-scripts')
  const bun = join(at, 'node_modules', name, 'bin/bun')
  linkLibrary(world, folder, { bun, packages, system, cpu })
  const program = join(folder, 'bun')
  const bytes = readFileSync(bun)
  if (cpu === process.arch) {
    // The place of the loader is an absolute path; as a bare name it is looked for in the folder the program is started in.
    const wanted = Buffer.from(`/lib/${loader}\0`)
    const place = bytes.indexOf(wanted)
    world.expect(place > 0, `${name} does not ask for /lib/${loader}`)
    bytes.fill(0, place, place + wanted.length)
    bytes.write(loader, place, 'latin1')
  }
  writeFileSync(program, bytes)
  chmodSync(program, 0o755)
  return { system, program, loader: join(system, 'lib', loader), env: { LD_LIBRARY_PATH: join(system, 'lib') } }
}

/** Settings with which apt-get looks for packages of another processor, with lists of its own. */
function foreignSettings(world, folder, debian) {
  if (debian === 'amd64') return []
  const [lists, cache] = ['lists', 'cache'].map((name) => join(folder, name))
  for (const path of [join(lists, 'partial'), join(cache, 'archives/partial')]) mkdirSync(path, { recursive: true })
  const values = {
    'APT::Architecture': debian,
    'APT::Architectures': debian,
    'APT::Sandbox::User': '',
    'Dir::State::Lists': lists,
    'Dir::Cache': cache,
  }
  const settings = Object.entries(values).flatMap(([name, value]) => ['-o', `${name}=${value}`])
  world.must(folder, 'apt-get', ['-qq', ...settings, 'update'], { env: { PATH: process.env.PATH } })
  return settings
}

function linkLibrary(world, folder, { bun, packages, system, cpu }) {
  const env = { ...environment, PATH: process.env.PATH }
  const names = (flag, path) => world.must(folder, 'nm', ['-D', flag, '-P', path], { env }).split('\n')
  const musl = new Set(names('--defined-only', join(system, 'lib', readdirSync(join(system, 'lib'))[0])).map(first))
  const missing = names('--undefined-only', bun)
    .filter((line) => / U\b/.test(line))
    .map(first) // weak ones may be missing
  // Tables of type information are copied into the program, so it seems to have them.
  const types = ['class', 'si_class', 'vmi_class'].map((kind) => `__${kind}_type_info`)
  const tables = types.map((type) => `_ZTVN10__cxxabiv1${type.length}${type}E`)
  const wanted = [...missing.filter((name) => !musl.has(name)), ...tables].map((name) => `-Wl,-u,${name}`)
  const target = targets.find(({ name }) => name === `linux-${cpu}-musl`)
  const objects = findBelow(packages, 'libstdc++.a')
  const options = ['-target', target.triple, '-shared', '-s', '-fno-sanitize=all', '-Wl,-soname,libstdc++.so.6']
  const output = ['-o', join(system, 'lib/libstdc++.so.6')]
  const { zig } = toolsFor(target)
  world.must(folder, zig, ['cc', ...options, ...wanted, olderLibc, objects, '-lunwind', ...output], { env })
}

const first = (line) => line.split(/[ @]/, 1)[0]

/** The path of the file with this name below a folder. */
function findBelow(folder, name) {
  return join(
    folder,
    readdirSync(folder, { recursive: true }).find((path) => path.endsWith(`/${name}`)),
  )
}
