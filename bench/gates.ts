// Gates that never look at the clock: instructions, allocations, native calls, copied bytes, planned memory, package size.
// `npm run bench:gates` holds them against bench/results/, `-- --update` writes them anew, `-- --only instructions|exact` does
// half. bench/README.md tells what each means.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { record } from './gates/cases.js'
import { callsOfFit, memoryOfFit } from './gates/fit.js'
import { about, compareInstructions, count, countInstructions, type Instructions } from './gates/instructions.js'
import { exceeded, type Table, tolerated } from './gates/table.js'
import type { Build, Library } from './measure.js'
import { memory } from './steps.js'
import { sizes } from './whole.js'

const root = fileURLToPath(new URL('..', import.meta.resolve('gradline')))
const files = {
  instructions: join(root, 'bench/results/instructions-avx2.json'),
  exact: join(root, 'bench/results/gates.json'),
  pack: join(root, 'build-replay/gates.pack'),
  replay: join(root, 'build-core/replay'),
}
const hint = 'If that is meant: npm run bench:gates -- --update, and commit bench/results/.'

interface Exact {
  /** Counted numbers that must be equal. */
  readonly equal: Table
  /** Numbers that may fall. */
  readonly atMost: Table
}

const write = (file: string, content: unknown): void =>
  writeFileSync(file, `${JSON.stringify(content, undefined, 2)}\n`)
const read = <T>(file: string): T | undefined => (existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined)

/** Prints what differs; true when nothing does. */
function verdict(what: string, differences: readonly string[]): boolean {
  if (differences.length === 0) console.log(`${what}: as recorded`)
  else console.log(`${what}: ${differences.length} differ\n  ${differences.join('\n  ')}\n${hint}`)
  return differences.length === 0
}

function gateInstructions(update: boolean): boolean {
  if (spawnSync('valgrind', ['--version']).status !== 0) {
    console.log('instructions: valgrind is not installed, nothing is compared')
    return true
  }
  const { compiler, isas } = about(files.replay)
  const before = read<Instructions>(files.instructions)
  if (!isas.includes('avx2')) {
    console.log('instructions: this machine has no AVX2, nothing is compared')
    return true
  }
  if (!update && before && before.compiler !== compiler) {
    console.log(`instructions: counted with ${before.compiler}, this is ${compiler}: they cannot be compared`)
    return true
  }
  const now = countInstructions(files.replay, files.pack)
  if (update) {
    write(files.instructions, now)
    return true
  }
  return verdict(
    `instructions of ${Object.keys(now.perStep).length} cases`,
    before ? compareInstructions(now, before) : [`${files.instructions} is missing`],
  )
}

async function measureExact(build: Build): Promise<Exact> {
  const counted = count(files.replay, files.pack, ['--threads', '1,2'])
  const named = (what: string, of: (one: (typeof counted)[number]) => number, list: typeof counted): Table =>
    Object.fromEntries(list.map((one) => [`${what} of ${one.name}`, of(one)]))
  const steps = counted.filter(({ name, threads }) => name.startsWith('step ') && threads === 1)
  const total = (of: (one: (typeof counted)[number]) => number): number =>
    counted.reduce((sum, one) => sum + of(one), 0)
  return {
    equal: {
      'native allocations in steps of all cases': total(({ allocations }) => allocations),
      'input bytes written in steps of all cases': total(({ written }) => written),
      ...named('result bytes read per step', ({ read }) => read, steps),
      ...(await callsOfFit(build.lib)),
      ...Object.fromEntries(memory().map((fact) => [fact.name, fact.read(build)])),
    },
    atMost: {
      ...(await memoryOfFit(build.lib)),
      ...Object.fromEntries(sizes.map((fact) => [fact.name, fact.read(build)])),
    },
  }
}

// A limit leaves room: for the memory the garbage collector sees half as much again, for the package a twentieth.
const limitOf = (name: string, value: number): number =>
  name.startsWith('package') ? Math.ceil((1.05 * value) / 1000) * 1000 : Math.ceil(1.5 * value)

async function gateExact(build: Build, update: boolean): Promise<boolean> {
  const now = await measureExact(build)
  const before = read<Exact>(files.exact)
  if (update) {
    const atMost = Object.fromEntries(Object.entries(now.atMost).map(([name, value]) => [name, limitOf(name, value)]))
    write(files.exact, { ...now, atMost })
    return true
  }
  const differences = before
    ? [...tolerated(now.equal, before.equal, 0), ...exceeded(now.atMost, before.atMost)]
    : [`${files.exact} is missing`]
  return verdict(`exact numbers (${Object.keys({ ...now.equal, ...now.atMost }).length})`, differences)
}

const { values } = parseArgs({
  options: { update: { type: 'boolean', default: false }, only: { type: 'string' } },
})
if (values.only !== undefined && !['instructions', 'exact'].includes(values.only)) {
  throw new Error(`--only: expected instructions or exact, received ${values.only}`)
}
const lib: Library = await import('gradline')
const build: Build = { lib, folder: root, entry: import.meta.resolve('gradline') }
mkdirSync(join(root, 'build-replay'), { recursive: true })
writeFileSync(files.pack, (await record(build)).bytes)
const passed: boolean[] = []
if (values.only !== 'exact') passed.push(gateInstructions(values.update))
if (values.only !== 'instructions') passed.push(await gateExact(build, values.update))
if (values.update) console.log('written: bench/results/instructions-avx2.json, bench/results/gates.json')
process.exitCode = passed.every(Boolean) ? 0 : 1
