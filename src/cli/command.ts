// What a sub-command is, and how its options are read: one table per command gives the checks, the help and the nearest match.

import { parseArgs } from 'node:util'
import { nearest } from '../errors.js'
import type { ProgressStream } from '../train/progress.js'

/** Exit status of a command that was ended by Ctrl-C: 128 + SIGINT, as shells count. */
export const interrupted = 130

/** An option with a value: `--name VALUE` or `--name=VALUE`. */
export interface Option {
  readonly name: string
  /** Stands for the value in the help: N, FILE. */
  readonly value: string
  readonly help: string
}

/** Values as they were typed. */
export type Values = Readonly<Record<string, string | undefined>>

/** What a command may use of the process. */
export interface Context {
  /** Writes a line of results. */
  print(line: string): void
  /** Writes a line that is not a result. */
  note(line: string): void
  /** Where a training run shows its progress; the place of notes. */
  readonly progress: ProgressStream
  /** Aborted when the person wants the command to end. */
  readonly signal: AbortSignal
}

export interface Command {
  readonly name: string
  /** One line. */
  readonly summary: string
  readonly options: readonly Option[]
  /** Gives the exit status. */
  run(values: Values, context: Context): Promise<number>
}

/** A command line that cannot be understood; the message says what is wrong with it. */
export class UsageError extends Error {}

/** Something like "unknown option --epoch. Did you mean --epochs?" */
export function unknown(what: string, received: string, known: readonly string[]): UsageError {
  const near = nearest(received, known)
  return new UsageError(`unknown ${what} ${received}. ${near ? `Did you mean ${near}?` : `Known: ${known.join(', ')}`}`)
}

/** The values of the options of a command. Options given twice count once, the last one. */
export function parseOptions(options: readonly Option[], args: readonly string[]): Values {
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(options.map(({ name }) => [name, { type: 'string' as const }])),
    strict: false, // its errors do not name what is known
    tokens: true,
  })
  const values: Record<string, string> = {}
  for (const token of tokens) {
    if (token.kind === 'positional') throw new UsageError(`unexpected argument ${JSON.stringify(token.value)}`)
    if (token.kind === 'option-terminator') continue
    const option = options.find(({ name }) => token.rawName === `--${name}`)
    if (!option) {
      const known = options.map(({ name }) => `--${name}`)
      throw unknown('option', token.rawName, known)
    }
    if (token.value === undefined || token.value === '') {
      throw new UsageError(`--${option.name} needs a value: --${option.name} ${option.value}`)
    }
    values[option.name] = token.value
  }
  return values
}

/** The value of an option that takes a whole number; `fallback` if it was not given. */
export function integerOption<Fallback extends number | undefined>(
  values: Values,
  name: string,
  fallback: Fallback,
  { min = 1, max = Number.MAX_SAFE_INTEGER, of = '' }: { min?: number; max?: number; of?: string } = {},
): number | Fallback {
  const text = values[name]
  if (text === undefined) return fallback
  const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}${of && ` (${of})`}`
  throw new UsageError(`--${name}: expected a whole number ${range} but received ${JSON.stringify(text)}`)
}

/** The value of an option that takes one of a few words; the first of them if it was not given. */
export function choiceOption<Word extends string>(
  values: Values,
  name: string,
  words: readonly [Word, ...Word[]],
): Word {
  const text = values[name] ?? words[0]
  const found = words.find((word) => word === text)
  if (found !== undefined) return found
  throw new UsageError(`--${name}: expected ${words.join(' or ')} but received ${JSON.stringify(text)}`)
}

/** The help of one command. */
export function helpOf({ name, summary, options }: Command): string {
  const rows = options.map((option) => [`--${option.name} ${option.value}`, option.help] as const)
  const width = Math.max(...rows.map(([left]) => left.length))
  return [
    `gradline ${name} [options]: ${summary}`,
    '',
    ...rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`),
  ].join('\n')
}
