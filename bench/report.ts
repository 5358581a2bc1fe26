// Writes the tables of docs/performance.md from files of `npm run bench -- --peers --json FILE`: between its two marks, so that
// the text around them stays. What limits a line is written by hand in bench/limits.json.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Entry } from './measure.js'
import { type Target, targets } from './targets.js'

/** The file of --json. */
export interface Report {
  readonly format: 1
  readonly machine: { readonly cpu: string; readonly cores: number; readonly device: string }
  readonly node: string
  readonly rounds: number
  /** Load average before and after. */
  readonly load: readonly [number, number]
  /** Names, versions and variants of the peers. */
  readonly peers?: readonly string[]
  readonly entries: readonly Entry[]
}

/** Ours over a peer's, above 1 when we are faster or need less. */
const ratioOf = ({ value, unit }: Entry, peer: number): number => (unit.endsWith('/s') ? value / peer : peer / value)

const mean = (values: readonly number[]): number =>
  Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length)

/** The best of the peers whose name matches. */
function rivalOf(
  entry: Entry,
  names: RegExp,
): { name: string; mode: string; ratio: number; value: number } | undefined {
  return Object.entries(entry.peers ?? {})
    .filter(([name]) => names.test(name))
    .map(([name, { mode, value }]) => ({ name, mode, value, ratio: ratioOf(entry, value) }))
    .toSorted((a, b) => a.ratio - b.ratio)[0]
}

const figure = (value: number, unit: string): string => {
  if (unit === 'bytes') return `${(value / 2 ** 20).toPrecision(3)} MiB`
  if (unit !== 'us') return `${Number(value.toPrecision(3))} ${unit}`
  return value < 1000 ? `${Number(value.toPrecision(3))} us` : `${Number((value / 1000).toPrecision(3))} ms`
}
const times = (ratio: number): string => `${ratio.toFixed(2)}x`
const percent = (share: number): string => `${(100 * share).toFixed(0)} %`
const range = (values: readonly number[], show: (value: number) => string): string => {
  if (values.length === 0) return ''
  const [low, high] = [show(Math.min(...values)), show(Math.max(...values))]
  return low === high ? low : `${low} to ${high}`
}
const row = (...cells: string[]): string => `| ${cells.join(' | ')} |`

/** What a target asks and the entries do not give; empty when it is reached. */
function missing({ share, most, ratios = [], means }: Target, entries: readonly Entry[]): string[] {
  const missed: string[] = []
  const count = (failed: readonly Entry[], what: string): void => {
    if (failed.length > 0) missed.push(entries.length > 1 ? `${what} (${failed.length} of ${entries.length})` : what)
  }
  if (share !== undefined)
    count(
      entries.filter(({ ofPeak }) => (ofPeak ?? 0) < share),
      'share of the ceiling',
    )
  if (most !== undefined)
    count(
      entries.filter(({ value }) => value > most),
      'time',
    )
  for (const { peers, least } of ratios) {
    const rivals = entries.map((entry) => rivalOf(entry, peers))
    count(
      entries.filter((_, i) => (rivals[i]?.ratio ?? 0) < least),
      ratios.length > 1 ? `ratio to ${nameOf(rivals)}` : 'ratio',
    )
  }
  if (means) {
    const { best, each } = meansOf(entries, means.peers)
    if (best < means.best) missed.push('mean against the best')
    for (const [name, ratio] of each) if (ratio < means.each) missed.push(`mean against ${name}`)
  }
  return missed
}

const nameOf = (rivals: readonly ({ name: string } | undefined)[]): string => rivals[0]?.name.split(/[ -]/)[0] ?? 'peer'

function meansOf(entries: readonly Entry[], peers: RegExp): { best: number; each: Map<string, number> } {
  const names = [...new Set(entries.flatMap((entry) => Object.keys(entry.peers ?? {})))].filter((name) =>
    peers.test(name),
  )
  const against = (name: string): number[] =>
    entries.flatMap((entry) => {
      const peer = entry.peers?.[name]
      return peer ? [ratioOf(entry, peer.value)] : []
    })
  return {
    best: mean(entries.flatMap((entry) => rivalOf(entry, peers)?.ratio ?? [])),
    each: new Map(names.map((name) => [name, mean(against(name))])),
  }
}

function lineOf(target: Target, entries: readonly Entry[]): string {
  const [first] = entries as [Entry]
  const { ratios = [{ peers: /./ }] } = target
  const rivals = ratios.map(({ peers }) => entries.flatMap((entry) => rivalOf(entry, peers) ?? []))
  const single = entries.length === 1
  const names = rivals.map((each) => [...new Set(each.map(({ name }) => name))].join(', '))
  const values = (list: readonly number[]): string => range(list, (value) => figure(value, first.unit))
  const missed = missing(target, entries)
  return row(
    target.what,
    `${first.threads}`,
    values(entries.map(({ value }) => value)),
    rivals
      .map((each, i) => `${values(each.map(({ value }) => value))} ${names[i]}${single ? modeOf(each[0]) : ''}`)
      .join('; '),
    rivals
      .map(
        (each) =>
          range(
            each.map(({ ratio }) => ratio),
            times,
          ) + (single || each.length === 0 ? '' : `, mean ${times(mean(each.map(({ ratio }) => ratio)))}`),
      )
      .join('; '),
    range(
      entries.flatMap(({ ofPeak }) => ofPeak ?? []),
      percent,
    ),
    target.target,
    missed.length === 0 ? 'yes' : `no: ${missed.join(', ')}`,
  )
}

const modeOf = (rival: { mode: string } | undefined): string => (rival?.mode ? ` (${rival.mode})` : '')

function tables(reports: readonly Report[], limits: Readonly<Record<string, string>>): string {
  const [first] = reports as [Report]
  const entries = [
    ...new Map(
      reports.flatMap((report) => report.entries).map((entry) => [`${entry.name} @${entry.threads}`, entry]),
    ).values(),
  ]
  const peers = [...new Set(reports.flatMap((report) => report.peers ?? []))]
  const rounds = reports.map((report) => report.rounds)
  const loads = reports.flatMap(({ load }) => load)
  const lines = targets.flatMap((target) => {
    const own = entries.filter(({ name }) => target.entries.test(name))
    if (own.length === 0) return [row(target.what, '', '', '', '', '', target.target, 'not measured')]
    const counts = [...new Set(own.map(({ threads }) => threads))].toSorted((a, b) => a - b)
    return counts.map((threads) =>
      lineOf(
        target,
        own.filter((entry) => entry.threads === threads),
      ),
    )
  })
  const known = targets.filter(({ id }) => limits[id])
  const every = entries.map((entry) => {
    const rivals = Object.entries(entry.peers ?? {}).map(
      ([name, { value, mode }]) => `${name}${modeOf({ mode })} ${times(ratioOf(entry, value))}`,
    )
    const share = entry.ofPeak === undefined ? '' : `${percent(entry.ofPeak)} of ${entry.ceiling}`
    return row(entry.name, `${entry.threads}`, figure(entry.value, entry.unit), share, rivals.join('; '))
  })
  return [
    `Machine: ${first.machine.cpu}, ${first.machine.cores} cores, ${first.machine.device}; Node ${first.node}; best of ${range(rounds, String)} rounds; load average ${range(loads, (load) => load.toFixed(1))}.`,
    '',
    `Peers: ${peers.join('; ')}.`,
    '',
    '## Targets',
    '',
    row('what', 'threads', 'ours', 'best peer', 'ratio', 'of the ceiling', 'target', 'reached'),
    row('---', '---:', '---:', '---', '---:', '---:', '---', '---'),
    ...lines,
    '',
    ...(known.length > 0
      ? ['## What limits', '', ...known.map(({ id, what }) => `- **${what}**: ${limits[id]}`), '']
      : []),
    '## Every entry',
    '',
    row('entry', 'threads', 'ours', 'of the ceiling', 'ratio to each peer'),
    row('---', '---:', '---:', '---', '---'),
    ...every,
  ].join('\n')
}

const marks = ['<!-- begin: written by npm run bench -- --table -->', '<!-- end -->'] as const

/** Renews the tables of docs/performance.md in the folder of the package; entries of later files replace those of earlier ones. */
export function writeTables(root: string, files: readonly string[]): void {
  const reports = files.map((file) => JSON.parse(readFileSync(file, 'utf8')) as Report)
  const limits = JSON.parse(readFileSync(join(root, 'bench/limits.json'), 'utf8')) as Record<string, string>
  const page = join(root, 'docs/performance.md')
  const text = readFileSync(page, 'utf8')
  const [begin, end] = marks.map((mark) => text.indexOf(mark)) as [number, number]
  if (begin < 0 || end < begin) throw new Error(`${page} has lost the marks between which its tables stand`)
  const head = text.slice(0, begin + marks[0].length)
  writeFileSync(page, `${head}\n\n${tables(reports, limits)}\n\n${text.slice(end)}`)
}
