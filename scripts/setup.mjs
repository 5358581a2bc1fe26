// Makes a fresh clone ready: Node version, packages, tools, build. It may be run at any time and does only what is missing.
import { lstatSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { build } from './build.mjs'
import { Failure, isMain, main, manifest, root, run, say, status, which } from './common.mjs'

/** Refuses a Node older than "engines" allows. */
export function ensureNode() {
  const wanted = /(\d+)\.(\d+)/.exec(manifest.engines.node)
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major < wanted[1] || (major === Number(wanted[1]) && minor < wanted[2])) {
    throw new Failure(
      `Node ${manifest.engines.node} is needed, this is ${process.versions.node} (${process.execPath}).\n` +
        '  Install a newer Node.js and run the command again.',
    )
  }
}

const changed = (path) => statSync(join(root, path), { throwIfNoEntry: false })?.mtimeMs ?? 0

/** Installs the packages of package-lock.json unless that was done since the file changed. */
export function ensurePackages() {
  if (changed('node_modules/.package-lock.json') >= changed('package-lock.json')) return
  // A linked folder belongs to another checkout, and npm ci would empty it there.
  if (lstatSync(join(root, 'node_modules'), { throwIfNoEntry: false })?.isSymbolicLink()) return
  say('installing packages (npm ci)')
  const npm = process.env.npm_execpath ?? ''
  if (basename(npm) === 'npm-cli.js') run(process.execPath, [npm, 'ci'])
  else run('npm', ['ci'], { shell: process.platform === 'win32' })
}

/** What the native build needs: [what it is for people, programs of which one suffices, Debian package]. */
const tools = [
  ['a C++20 compiler', [process.env.CXX, 'c++', 'g++', 'clang++'], 'g++'],
  ['CMake 3.25 or newer', ['cmake'], 'cmake'],
  ['Ninja or make', ['ninja', 'make'], 'ninja-build'],
]

/** Installs missing build tools where that is possible (root on Debian), else says what to install. */
export function ensureTools() {
  const missing = () => tools.filter(([, programs]) => !programs.some((program) => program && which(program)))
  const before = missing()
  if (before.length === 0 || process.platform === 'win32') return
  const packages = before.map(([, , name]) => name)
  if (process.getuid?.() === 0 && which('apt-get')) {
    say(`installing ${packages.join(' ')} (apt-get)`)
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
    if (status('apt-get', ['-qq', 'update'], { env }) === 0) {
      status('apt-get', ['-qq', 'install', '--yes', '--no-install-recommends', ...packages], { env })
    }
    if (missing().length === 0) return
  }
  throw new Failure(
    `the native part cannot be built, missing: ${missing()
      .map(([text]) => text)
      .join(', ')}.\n  On Debian and Ubuntu: sudo apt-get install ${packages.join(' ')}`,
  )
}

/** Everything up to a built library. */
export function setup() {
  ensureNode()
  ensurePackages()
  ensureTools()
  build(undefined, { quiet: true, cublas: true })
}

if (isMain(import.meta.url)) main(setup)
