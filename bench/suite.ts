// The performance suite: kernels, training steps, calls, loading and sizes, each beside what the machine can do just then.
// `npm run bench -- --help` tells its options, bench/README.md what the figures and verdicts mean.

import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { openCeilings } from './ceiling.js'
import { type Comparison, compareCounts, compareEntries, comparePairs, describe, keyOf, report } from './compare.js'
import { kernels } from './kernels.js'
import { type Build, type Case, type Entry, type Fact, type Library, measure } from './measure.js'
import { checkPeers } from './peers/check.js'
import { findPeers } from './peers/find.js'
import { openPeers, type Peers } from './peers/peers.js'
import { type Report, writeTables } from './report.js'
import { selfTest, shortEntries } from './selfTest.js'
import { memory, profiled, profileOf, steps } from './steps.js'
import { sizes, whole } from './whole.js'

const help = `npm run bench -- [suite] [options]
  --quick            fewer shapes and rounds, about two minutes on two cores
  --only PATTERN     entries whose name matches the regular expression, e.g. 'conv|adam', '@1$' for one thread
  --rounds N         rounds of every entry (15, with --quick 9)
  --json FILE        write the figures
  --compare FILE     tell what changed against a file of --json
  --compare FOLDER   measure another built checkout in turn with this one
  --profile PATTERN  instead: time and share of every op of the steps whose name matches
  --peers            other libraries of this machine do the same work in the same rounds; without --quick also compiled
  --table FILE       instead: renew the tables of docs/performance.md from files of --peers --json, several with commas
  --slow NAME:5      entries of that name wait 5 % longer; without --compare this build is its own opponent
  --self-test        compares this build with itself again and again, with and without waiting 5 % longer
  --runs N           so often for each entry (10), of a few short entries unless --only chooses others`

const own = fileURLToPath(new URL('..', import.meta.resolve('gradline')))

async function buildOf(folder: string): Promise<Build> {
  const entry = pathToFileURL(join(folder, 'dist/index.js')).href
  return { lib: (await import(entry)) as Library, folder, entry }
}

function settings() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      help: { type: 'boolean' },
      quick: { type: 'boolean', default: false },
      only: { type: 'string', default: '' },
      rounds: { type: 'string' },
      json: { type: 'string' },
      compare: { type: 'string' },
      profile: { type: 'string' },
      peers: { type: 'boolean', default: false },
      table: { type: 'string' },
      slow: { type: 'string' },
      'self-test': { type: 'boolean', default: false },
      runs: { type: 'string', default: '10' },
    },
  })
  if (positionals.length > 0) throw new Error(`unexpected argument ${positionals[0]}`)
  const rounds = Number(values.rounds ?? (values.quick ? 9 : 15))
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds: expected a number, received ${values.rounds}`)
  const [, slowed = '', percent = ''] = /^(.+):(\d+(?:\.\d+)?)$/.exec(values.slow ?? '') ?? []
  if (values.slow !== undefined && slowed === '')
    throw new Error(`--slow: expected NAME:PERCENT, received ${values.slow}`)
  const against = values.compare === undefined ? undefined : resolve(process.env.INIT_CWD ?? '.', values.compare)
  const isFolder = against !== undefined && statSync(against).isDirectory()
  return {
    ...values,
    rounds,
    only: new RegExp(values.only, 'i'),
    slow: slowed === '' ? undefined : { pattern: new RegExp(slowed, 'i'), share: Number(percent) / 100 },
    file: isFolder ? undefined : against,
    folder: isFolder ? against : slowed !== '' && against === undefined ? own : undefined,
  }
}

const cores = availableParallelism()
const threadCounts = cores > 1 ? [1, cores] : [1]

function row(entry: Entry): string {
  const { name, threads, value, unit, median, ofPeak, ceiling, disturbed, peer, ratio } = entry
  const share = ofPeak === undefined ? '' : `${(100 * ofPeak).toFixed(0).padStart(4)} % of ${ceiling}`
  const middle = median === undefined ? '' : `median ${median.toPrecision(3)}`
  const note = disturbed ? `  (${disturbed} disturbed)` : ''
  const rival = ratio === undefined ? '' : `  ${ratio.toFixed(2)}x ${peer}`
  const figure = unit === 'bytes' ? value.toLocaleString('en') : value.toPrecision(3)
  return `${name.padEnd(62)} ${String(threads).padStart(2)} ${figure.padStart(11)} ${unit.padEnd(8)} ${middle.padEnd(14)}${share}${note}${rival}`
}

async function entryOfFact({ name, unit, task, read, unshared }: Fact, build: Build, peers?: Peers): Promise<Entry> {
  const value = read(build)
  const whole = unshared?.(build)
  const rivals = task && peers ? await peers.bytes(task) : []
  const [least] = rivals.toSorted((a, b) => a.bytes - b.bytes)
  return {
    ...{ name, value, unit, threads: 1 },
    ...(whole && { ofPeak: value / whole, ceiling: 'memory without sharing', peak: whole }),
    ...(least && {
      peer: least.peer,
      peerValue: least.bytes,
      ratio: least.bytes / value,
      peers: Object.fromEntries(rivals.map(({ peer, bytes }) => [peer, { mode: '', value: bytes }])),
    }),
  }
}

async function profileSteps(pattern: RegExp): Promise<void> {
  const build = await buildOf(own)
  const wanted = threadCounts.flatMap(profiled).filter((item) => pattern.test(keyOf(item)))
  if (wanted.length === 0)
    throw new Error(`--profile: no step of that name; there are ${profiled(1).map(keyOf).join(', ')}`)
  for (const item of wanted) console.log(`${keyOf(item)}\n${await profileOf(build, item)}\n`)
}

async function run(): Promise<void> {
  const options = settings()
  if (options.help) return console.log(help)
  if (options.profile !== undefined) return profileSteps(new RegExp(options.profile, 'i'))
  const from = (file: string): string => resolve(process.env.INIT_CWD ?? '.', file)
  if (options.table !== undefined) return writeTables(own, options.table.split(',').map(from))
  const { quick, only, rounds, slow } = options
  const build = await buildOf(own)
  if (options.peers) {
    peers = await openPeers(findPeers(own, !quick))
    await checkPeers(build.lib, peers)
  }
  const wanted = (item: { name: string; threads: number }): boolean => only.test(keyOf(item))
  const cases: Case[] = [
    ...threadCounts.flatMap((threads) => [...kernels(threads), ...steps(threads)]),
    ...whole(),
  ].filter((item) => wanted(item) && (!quick || item.quick))
  const facts: Fact[] = [...memory(), ...sizes].filter(({ name }) => wanted({ name, threads: 1 }))
  if (cases.length + facts.length === 0) {
    throw new Error(
      `--only: no entry is named like ${only.source}${quick ? ', or none of those that --quick measures' : ''}`,
    )
  }
  const before = options.file ? (JSON.parse(readFileSync(options.file, 'utf8')) as Report) : undefined
  const known = new Map(before?.entries.map((entry) => [keyOf(entry), entry]))

  const other = options.folder ? await buildOf(options.folder) : undefined
  const load = (): number => loadavg()[0] as number
  const machine = {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores,
    device: build.lib.device('cpu').describe(),
  }
  const atStart = load()
  console.log(`${machine.device}, ${machine.cpu}, ${cores} cores; Node ${process.version}; load ${atStart.toFixed(2)}`)
  if (peers) console.log(`peers: ${peers.names.join('; ')}`)
  console.log(`best of ${rounds} rounds\n`)
  if (options['self-test']) {
    const chosen = cases.filter((item) => only.source !== '(?:)' || shortEntries.test(keyOf(item)))
    return selfTest(chosen, build, { rounds, runs: Number(options.runs) })
  }
  const entries: Entry[] = []
  const comparisons: Comparison[] = []
  const failures: string[] = []
  const add = (entry: Entry, comparison: Comparison | undefined): void => {
    entries.push(entry)
    if (comparison) comparisons.push(comparison)
    console.log(`${row(entry)}${comparison ? `  ${describe(comparison)}` : ''}`)
  }
  const ceilings = openCeilings(Math.max(...threadCounts))
  // The first entry shall know already what the machine gives when nothing else runs.
  for (const threads of threadCounts) for (let i = 0; i < 20; i++) ceilings.compute(threads)
  const attempt = async (name: string, body: () => void | Promise<void>): Promise<void> => {
    try {
      await body()
    } catch (error) {
      failures.push(name)
      console.log(`${name}: ${(error as Error).message}`)
    }
  }
  for (const item of cases) {
    await attempt(keyOf(item), async () => {
      const slowdown = slow?.pattern.test(keyOf(item)) ? slow.share : 0
      const seconds = quick ? 0.012 : 0.03
      const opponents = item.task && peers ? await peers.invite(item.task, item.threads) : []
      const measured = await measure(item, build, { rounds, seconds, ceilings, other, slowdown, opponents })
      const earlier = known.get(keyOf(item))
      const comparison = measured.other
        ? comparePairs(measured.entry, measured.other)
        : earlier && compareEntries(measured.entry, earlier)
      add(measured.entry, comparison)
    })
  }
  for (const fact of facts) {
    const { name, read } = fact
    await attempt(name, async () => {
      const entry = await entryOfFact(fact, build, peers)
      const earlier = other ? read(other) : known.get(keyOf(entry))?.value
      add(entry, earlier === undefined ? undefined : compareCounts(entry, earlier))
    })
  }
  await ceilings.close()

  console.log(`\nload ${atStart.toFixed(2)} before, ${load().toFixed(2)} after`)
  if (comparisons.length > 0) console.log(`\ntime now over time before: ${report(comparisons)}`)
  if (failures.length > 0) {
    console.log(`\nnot measured: ${failures.join(', ')}`)
    process.exitCode = 1
  }
  if (options.json) {
    const written: Report = {
      format: 1,
      machine,
      node: process.version,
      rounds,
      load: [atStart, load()],
      entries,
      ...(peers && { peers: peers.names }),
    }
    const file = from(options.json)
    statSync(dirname(file))
    writeFileSync(file, linesOf(written))
  }
}

let peers: Peers | undefined

// Six digits are more than any of these is worth.
const rounded = (_: string, value: unknown): unknown =>
  typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value

/** JSON with one entry a line, so that a diff of two files shows which figures changed. */
function linesOf({ entries, ...rest }: Report): string {
  const head = JSON.stringify(rest, rounded).slice(0, -1)
  return `${head}, "entries": [\n${entries.map((entry) => JSON.stringify(entry, rounded)).join(',\n')}\n]}\n`
}

await run()
  .catch((error: unknown) => {
    if (!(error instanceof Error) || error instanceof TypeError) throw error
    console.error(`bench: ${error.message}`)
    process.exitCode = 1
  })
  .finally(() => peers?.close())
