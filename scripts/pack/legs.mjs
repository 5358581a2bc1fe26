// What users do with the packages, leg by leg. Each gets a world (scripts/pack.mjs) and an empty folder, and either throws a
// Failure that says what was expected, or gives a text that tells what was seen. Slow legs run on demand.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { manifest, which } from '../common.mjs'
import { tarballs } from '../release.mjs'
import { brokenLeg, cardsLeg, mustExplain } from './brokenLegs.mjs'
import { slowLegs } from './slowLegs.mjs'
import { bun, newerNode, nodes, tool } from './tools.mjs'

const host = `${process.platform}-${process.arch}`
const here = { name: 'node', path: process.execPath }

/**
 * Runs both programs of an app and holds their weights to those of every run before: of the same kind of device, and of any
 * for numerics 'portable'. `sameBuild: false` is for a binary that another compiler made.
 */
export function train(
  { call, expect, hashes },
  at,
  { path, args = [] },
  programs = ['train.mjs', 'train.cjs'],
  { sameBuild = true, ...options } = {},
) {
  const seen = programs.map((program) => {
    const { status, out, err } = call(at, path, [...args, program], options)
    expect(status === 0, `${path} ${program} ended with ${status}: ${out}${err}`)
    expect(!/warning/i.test(err), `${path} ${program} warned: ${err}`)
    return JSON.parse(out.trim().split('\n').at(-1))
  })
  for (const { arch, device, hashes: native, portable, runtime } of seen) {
    const kinds = named('portable', portable)
    if (sameBuild) Object.assign(kinds, named(`${arch} ${device.replace(/,.*/, '')}`, native))
    for (const [kind, weights] of Object.entries(kinds)) {
      const known = hashes.get(kind) ?? weights
      hashes.set(kind, known)
      expect(weights === known, `weights (${kind}) on ${runtime}, ${device}, are ${weights}, elsewhere ${known}`)
    }
  }
  const [{ runtime, device, hashes: native, portable }] = seen
  expect(portable['channels fast'] !== portable['channels fp32'], `${runtime}: fast computes as fp32 does`)
  return `${runtime}: ${device}, weights ${digest(native)}, portable ${digest(portable)}, first step after ${seen.map((s) => s.firstStep).join(' and ')} ms`
}

const named = (kind, hashes) =>
  Object.fromEntries(Object.entries(hashes).map(([name, hash]) => [`${kind}, ${name}`, hash]))
const digest = (hashes) => createHash('sha256').update(JSON.stringify(hashes)).digest('hex').slice(0, 12)

/** Every kernel, gradient and update rule on what the leg runs on, against float64. */
export function verify({ call, expect }, at, { path, args = [] }) {
  const { status, out, err } = call(at, path, [
    ...args,
    join('node_modules', 'gradline', 'dist/cli/index.js'),
    'verify',
  ])
  expect(status === 0, `verify ended with ${status}: ${out}${err}`)
  return /verified: .* s/.exec(out)?.[0]
}

const bytesBelow = (path) =>
  readdirSync(path, { withFileTypes: true }).reduce((total, entry) => {
    const own = join(path, entry.name)
    return total + (entry.isDirectory() ? bytesBelow(own) : statSync(own).size)
  }, 0)

function install({ npm, app }, name, ...args) {
  const at = app(name)
  npm(at, 'install', 'gradline', '--ignore-scripts', ...args)
  return at
}

function nodesLeg(world) {
  const at = install(world, 'nodes')
  const present = readdirSync(join(at, 'node_modules/@gradline'))
  world.expect(present.join() === host, `installed ${present}, expected ${host} alone`)
  const lock = JSON.parse(readFileSync(join(at, 'package-lock.json'), 'utf8'))
  const scripts = Object.entries(lock.packages).filter(([, entry]) => entry.hasInstallScript)
  world.expect(scripts.length === 0, `install scripts: ${scripts.map(([name]) => name)}`)
  const megabytes = bytesBelow(join(at, 'node_modules')) / 1e6
  world.expect(megabytes < 12, `${megabytes} MB installed, at most 12 are allowed`)
  const lines = [here, ...nodes].map((node) => train(world, at, node))
  return [`${megabytes.toFixed(2)} MB installed`, ...lines].join('\n')
}

function readOnlyLeg(world) {
  const at = install(world, 'readonly')
  for (const folder of [world.folder, at]) spawnSync('chmod', ['a+rx', folder])
  spawnSync('chmod', ['-R', 'a-w,a+rX', at])
  // Root may write anywhere, so it becomes nobody.
  const options = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}
  const probe = "require('fs').writeFileSync('node_modules/gradline/x', '')"
  world.expect(world.call(at, here.path, ['-e', probe], options).status !== 0, 'node_modules can be written')
  return train(world, at, here, undefined, options)
}

const managers = [
  {
    name: 'pnpm',
    program: [newerNode, tool('pnpm/bin/pnpm.mjs'), tool('pnpm/bin/pnpm.cjs')],
    args: ['add', 'gradline', '--ignore-scripts'],
  },
  {
    name: 'yarn 1',
    program: [here.path, tool('yarn/bin/yarn.js')],
    args: ['add', 'gradline', '--ignore-scripts', '--silent'],
  },
  {
    name: 'yarn 4, Plug and Play',
    program: [newerNode, tool('@yarnpkg/cli-dist/bin/yarn.js')],
    args: ['add', 'gradline'],
    pnp: true,
  },
  { name: 'bun', program: [bun], args: ['add', 'gradline', '--ignore-scripts', '--silent'] },
]

function managersLeg(world) {
  return managers
    .map(({ name, program: [runs, ...files], args, pnp }) => {
      const at = world.app(name.replace(/\W/g, ''))
      writeFileSync(join(at, '.npmrc'), readFileSync(world.registry.userconfig))
      if (pnp)
        writeFileSync(
          join(at, '.yarnrc.yml'),
          'enableScripts: false\nenableImmutableInstalls: false\nnpmMinimalAgeGate: 0\n',
        )
      const file = files.filter((path) => statSync(path, { throwIfNoEntry: false })).slice(0, 1)
      world.must(at, runs, [...file, ...args])
      const node = pnp
        ? { path: here.path, args: ['-r', './.pnp.cjs', '--experimental-loader', './.pnp.loader.mjs', '--no-warnings'] }
        : here
      return `${name}: ${train(world, at, node, pnp ? ['train.cjs', 'train.mjs'] : undefined)}`
    })
    .join('\n')
}

function bunLeg(world) {
  const at = install(world, 'bunrun')
  return train(world, at, { path: bun })
}

function foreignLeg(world) {
  const others = [
    ['--os=win32', '--cpu=x64', /another operating system/],
    ['--os=darwin', '--cpu=arm64', /another operating system/],
    ['--os=linux', '--cpu=arm64', /another processor/],
    ['--os=linux', '--cpu=x64', '--libc=musl', /another C library/],
  ]
  return others.map((row) => mustExplain(world, install(world, 'foreign', ...row.slice(0, -1)), row.at(-1))).join('\n')
}

/** The packages of this tree under an older version: an upgrade must change both, and half of one must be told. */
function upgradeLeg(world) {
  const old = '0.0.1'
  for (const { path, manifest: packed } of tarballs()) {
    if (![manifest.name, `@gradline/${host}`].includes(packed.name)) continue
    const folder = join(world.folder, 'old', packed.name)
    mkdirSync(folder, { recursive: true })
    spawnSync('tar', ['-xzf', path, '-C', folder, '--strip-components=1'])
    const older = { ...packed, version: old }
    if (packed.optionalDependencies) older.optionalDependencies = { [`@gradline/${host}`]: old }
    writeFileSync(join(folder, 'package.json'), JSON.stringify(older))
    world.npm(folder, 'publish', '--tag', 'old', '--access', 'public')
  }
  const at = world.app('upgrade')
  world.npm(at, 'install', `gradline@${old}`, '--ignore-scripts')
  const told = mustExplain(world, at, /expected\s+gradline 0\.0\.1/) // its binary is this tree's
  world.npm(at, 'install', 'gradline@latest', '--ignore-scripts')
  for (const name of ['gradline', `@gradline/${host}`]) {
    const { version } = JSON.parse(readFileSync(join(at, 'node_modules', name, 'package.json'), 'utf8'))
    world.expect(version === manifest.version, `${name} is ${version} after the upgrade`)
  }
  return `${told}\n${train(world, at, here)}`
}

function commandsLeg(world) {
  const at = install(world, 'commands')
  const cli = join('node_modules/.bin/gradline')
  const doctor = world.must(at, here.path, [cli, 'doctor'])
  world.expect(/missing +nothing/.test(doctor) || /gpu/.test(doctor), doctor)
  const verified = world.must(at, here.path, [cli, 'verify'])
  world.expect(/verified: \d+ checks/.test(verified), verified)
  const train = world.call(at, here.path, [cli, 'build-native'])
  world.expect(
    train.status === 1 && /To compile, install/.test(train.err),
    `without tools build-native says: ${train.err}`,
  )
  return verified.trim()
}

/** Compiles an installed package from @gradline/source with the machine's own tools. */
function sourceLeg(world) {
  const at = install(world, 'source', '--omit=optional')
  const env = { PATH: `${world.env.PATH}:${process.env.PATH}` }
  if (!which('cmake')) return 'cmake is not installed: nothing was tried'
  world.must(at, here.path, [join('node_modules/.bin/gradline'), 'build-native'], { env })
  train(world, install(world, 'sourcepeer'), here)
  return train(world, at, here, undefined, { sameBuild: false })
}

export const legs = [
  {
    name: 'nodes',
    what: 'npm, by import and require(), on Node 20, 22, 24 and 26: equal weights, size, no script',
    run: nodesLeg,
  },
  { name: 'readonly', what: 'read-only node_modules, no compiler on PATH', run: readOnlyLeg },
  { name: 'managers', what: 'pnpm, yarn 1, yarn 4 with Plug and Play, Bun as installer', run: managersLeg },
  { name: 'bun', what: 'Bun as runtime', run: bunLeg },
  {
    name: 'broken',
    what: 'binary cut, changed, unreadable or gone, optional dependencies left out: the error that explains',
    run: (world) => brokenLeg(world, { install }),
  },
  {
    name: 'cards',
    what: 'the package for cards on a machine without one, whole and broken',
    run: (world) => cardsLeg(world, { install, train }),
  },
  {
    name: 'foreign',
    what: 'installed for another system, processor, C library: the error that explains',
    run: foreignLeg,
  },
  { name: 'upgrade', what: 'from an older version, and half an upgrade', run: upgradeLeg },
  { name: 'commands', what: 'doctor, verify, and build-native without tools', run: commandsLeg },
  { name: 'source', what: 'build-native with the tools of this machine', run: sourceLeg, slow: true },
  ...slowLegs({ train, verify, install }),
]
