// Instructions of a step, counted by callgrind on the AVX2 kernels with one thread: the same on every run and every machine, so
// that a loss shows without a clock. The count is the compiler's as well: another compiler is not compared.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Table, tolerated } from './table.js'

export interface Instructions {
  readonly compiler: string
  /** Instructions of one step, by case. */
  readonly perStep: Table
}

/** Deviations up to this share are no change: the compiler lays out code a little differently around it. */
export const allowed = 0.02

/** Which compiler built the program, and what it can do here. */
export function about(replay: string): { compiler: string; isas: string[]; countsAllocations: boolean } {
  return JSON.parse(execute(replay, ['--about']))
}

/** One line per case of `replay --count`. */
export interface Counted {
  readonly name: string
  readonly threads: number
  readonly steps: number
  readonly allocations: number
  readonly read: number
  readonly written: number
}

export function count(
  replay: string,
  pack: string,
  options: readonly string[],
  under: readonly string[] = [],
): Counted[] {
  const [program, ...args] = [...under, replay, pack, '--count', ...options] as [string, ...string[]]
  return execute(program, args)
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
}

export function countInstructions(replay: string, pack: string): Instructions {
  const folder = mkdtempSync(join(tmpdir(), 'gradline-callgrind-'))
  try {
    const valgrind = [
      'valgrind',
      '--tool=callgrind',
      '--quiet',
      '--collect-atstart=no',
      '--toggle-collect=gradline_replay_step',
      '--dump-after=gradline_replay_case_done',
      `--callgrind-out-file=${join(folder, 'out')}`,
    ]
    const cases = count(replay, pack, ['--isa', 'avx2', '--threads', '1'], valgrind)
    const totals = readdirSync(folder)
      .flatMap((file) => /^out\.(\d+)$/.exec(file)?.[1] ?? [])
      .map(Number)
      .sort((a, b) => a - b)
      .map((i) => Number(/^totals: (\d+)/m.exec(readFileSync(join(folder, `out.${i}`), 'utf8'))?.[1]))
    if (totals.includes(0)) throw new Error('callgrind counted nothing: it did not find gradline_replay_step')
    if (totals.length !== cases.length)
      throw new Error(`callgrind left ${totals.length} counts of ${cases.length} cases`)
    const perStep = cases.map(({ name, steps }, i) => [name, Math.round((totals[i] as number) / steps)] as const)
    return { compiler: about(replay).compiler, perStep: Object.fromEntries(perStep) }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function execute(program: string, args: readonly string[]): string {
  const done = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 2 ** 26 })
  if (done.error) throw new Error(`cannot run ${program}: ${done.error.message}`)
  if (done.status !== 0) throw new Error(`${program} failed with status ${done.status}\n${done.stdout}${done.stderr}`)
  return done.stdout
}

export const compareInstructions = (now: Instructions, before: Instructions): string[] =>
  tolerated(now.perStep, before.perStep, allowed)
