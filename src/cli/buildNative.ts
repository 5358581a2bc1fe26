// `gradline build-native`: compiles the native part on this machine, for platforms without a package and systems older than
// the packages allow. The sources come from a clone, or from the package @gradline/source, which npm fetches when this
// command is given and at no other time: so nobody downloads or carries them who does not compile.

import { spawnSync } from 'node:child_process'
import { accessSync, constants, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { basename, delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { localBuild, version } from '../binaries.js'
import { fileError, GradlineError } from '../errors.js'
import { load } from '../native.js'
import { type Command, type Context, integerOption, type Values } from './command.js'

export const buildNative: Command = {
  name: 'build-native',
  summary: 'compiles the native part on this machine',
  options: [{ name: 'jobs', value: 'N', help: 'compilers at once (all cores)' }],
  run,
}

const packageRoot = fileURLToPath(new URL('../..', import.meta.url))

async function run(values: Values, { print, note }: Context): Promise<number> {
  const jobs = integerOption(values, 'jobs', availableParallelism(), { max: 1024 })
  checkTools()
  const folder = join(dirname(dirname(localBuild)), 'from-source')
  try {
    mkdirSync(folder, { recursive: true })
    mkdirSync(dirname(localBuild), { recursive: true })
  } catch (cause) {
    throw fileError('write', folder, cause)
  }
  const source = sources(folder, note)
  const header = (name: string): string => createRequire(join(source, 'package.json')).resolve(`${name}/package.json`)
  const include = [join(dirname(header('node-api-headers')), 'include'), dirname(header('node-addon-api'))]
  note(`gradline: compiling ${source} in ${folder}`)
  const built = join(folder, 'build')
  command('cmake', [
    ...[
      '-S',
      source,
      '-B',
      built,
      '-DCMAKE_BUILD_TYPE=Release',
      '--log-level=WARNING',
      '--compile-no-warning-as-error',
    ],
    ...[`-DCMAKE_JS_INC=${include.join(';')}`, ...(hasProgram('ninja') ? ['-G', 'Ninja'] : [])],
  ])
  command('cmake', ['--build', built, '--parallel', String(jobs)])
  copyFileSync(join(built, basename(localBuild)), localBuild)
  const { cpu, isas } = load({ path: localBuild, from: 'local build' }).machine()
  print(`built ${localBuild}`)
  print(`loads: ${isas[0]} kernels on ${cpu}`)
  return 0
}

/** The folder with CMakeLists.txt and native/. */
function sources(folder: string, note: (line: string) => void): string {
  if (existsSync(join(packageRoot, 'native/abi.h'))) return packageRoot
  const wanted = `@gradline/source@${version}`
  const installed = (from: string): string | undefined => {
    try {
      const manifest = createRequire(from).resolve('@gradline/source/package.json')
      const { version: found } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }
      return found === version ? dirname(manifest) : undefined
    } catch {
      return undefined
    }
  }
  const own = installed(import.meta.url) ?? installed(join(folder, 'package.json'))
  if (own) return own
  note(`gradline: fetching ${wanted} by npm`)
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
  command('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', folder, wanted])
  const fetched = installed(join(folder, 'package.json'))
  if (fetched) return fetched
  throw new GradlineError('missing', `npm did not bring ${wanted}`, { where: folder })
}

function command(program: string, args: string[]): void {
  const { status, error } = spawnSync(program, args, { stdio: ['ignore', 2, 2], shell: process.platform === 'win32' })
  if (status === 0) return
  const reason = error?.message ?? `it ended with status ${status}`
  throw new GradlineError('native', `${[program, ...args].slice(0, 5).join(' ')} ... failed: ${reason}`, {
    fix: 'What it said stands above',
  })
}

function hasProgram(name: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

function checkTools(): void {
  if (process.platform === 'win32') {
    throw new GradlineError('native', 'Compiling on Windows is not offered: the kernels need GCC or Clang', {
      fix: 'Use the package: npm install --include=optional',
    })
  }
  const tools: [string, string[]][] = [
    ['cmake 3.25 or newer', ['cmake']],
    ['a C++20 compiler', [process.env.CXX ?? 'c++', 'g++', 'clang++']],
    ['make or ninja', ['make', 'ninja']],
  ]
  const missing = tools.filter(
    ([, programs]) => !programs.some((program) => existsSync(program) || hasProgram(program)),
  )
  if (missing.length === 0) return
  throw new GradlineError('missing', `To compile, install ${missing.map(([text]) => text).join(', ')}`, {
    fix:
      'Debian, Ubuntu: apt-get install g++ cmake make. Alpine: apk add g++ cmake make linux-headers. ' +
      'macOS: xcode-select --install, brew install cmake',
  })
}
