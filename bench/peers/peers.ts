// Other libraries as opponents: child processes that stay open, are asked one line at a time and sleep in between. Finds the
// fastest way each of them has for a task; the rounds themselves are made by measure.ts.

import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import type { Task } from './task.js'

/** How to start one process of a peer. */
export interface Start {
  readonly command: string
  readonly args: readonly string[]
  /** Settings of the process, and what they are called in the name of a mode; '' for none. */
  readonly variant: string
  readonly env: Readonly<Record<string, string>>
  /** Kinds of task that it is asked for. */
  readonly kinds: readonly Task['kind'][]
  /** May use what has to be compiled first, which takes minutes. */
  readonly compiles: boolean
}

/** A peer that is ready to do one task. */
export interface Opponent {
  /** Name and version. */
  readonly peer: string
  readonly mode: string
  /** Seconds of one iteration, the mean over at least the seconds asked for. */
  time(seconds: number): Promise<number>
}

export interface Peers {
  /** Name and version of each, with its variants. */
  readonly names: readonly string[]
  /** Every peer that knows the task, in its fastest mode. */
  invite(task: Task, threads: number): Promise<Opponent[]>
  /** The result of a task by every peer that knows it. */
  check(task: Task): Promise<{ peer: string; values: readonly number[] }[]>
  /** Bytes of activations by every peer that knows the task. */
  bytes(task: Task): Promise<{ peer: string; bytes: number }[]>
  close(): void
}

interface Answer {
  readonly version?: string
  readonly missing?: boolean
  readonly unsupported?: string
  readonly modes?: readonly string[]
  readonly iterations?: number
  readonly seconds?: number
  readonly values?: readonly number[]
  readonly bytes?: number
}

/** Worker threads of the peers spin for some milliseconds after their work; the next to be measured shall not notice. */
const settling = 10
/** Every mode is tried so often, for at least so many seconds, before the fastest goes into the rounds. */
const trials = 3
const trialSeconds = 0.02
/** One trial is enough of what takes so long. */
const longSeconds = 0.1
/** No second trial for what took so many times as long as the fastest. */
const hopeless = 1.5

class Contender {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly start: Start
  name = ''

  constructor(start: Start) {
    this.start = start
    const { command, args, env } = start
    // What libraries print about themselves goes to stderr and would only disturb the table.
    this.#child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['pipe', 'pipe', 'ignore'] })
    this.#child.on('error', () => {})
    this.#child.stdin?.on('error', () => {})
    const reader = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream })
    this.#lines = reader[Symbol.asyncIterator]()
  }

  /** False when there is no such library. */
  async begin(): Promise<boolean> {
    const { version } = await this.#read()
    this.name = version ?? ''
    return version !== undefined
  }

  async ask(question: object): Promise<Answer> {
    this.#child.stdin?.write(`${JSON.stringify(question)}\n`)
    const answer = await this.#read()
    await pause(settling)
    return answer
  }

  async #read(): Promise<Answer> {
    const { value, done } = await this.#lines.next()
    return done ? { unsupported: 'the process has ended' } : (JSON.parse(value) as Answer)
  }

  close(): void {
    this.#child.stdin?.end()
    this.#child.kill()
  }
}

export async function openPeers(starts: readonly Start[]): Promise<Peers> {
  const contenders: Contender[] = []
  for (const start of starts) {
    const contender = new Contender(start)
    if (await contender.begin()) contenders.push(contender)
    else contender.close()
  }
  const knowing = (task: Task): Contender[] => contenders.filter(({ start }) => start.kinds.includes(task.kind))
  // Of the processes of one peer, one answers what does not depend on the variant.
  const firsts = (task: Task): Contender[] => {
    const all = knowing(task)
    return all.filter(({ name }, i) => all.findIndex((each) => each.name === name) === i)
  }
  return {
    names: contenders.map(({ name, start: { variant } }) => (variant ? `${name} (${variant})` : name)),
    invite: async (task, threads) => {
      const fastest = new Map<string, Opponent & { seconds: number }>()
      for (const contender of knowing(task)) {
        const base = { task, threads, compile: contender.start.compiles }
        const { modes = [] } = await contender.ask({ ...base, ask: 'modes' })
        for (const mode of modes) {
          const time = async (seconds: number): Promise<number> => {
            const answer = await contender.ask({ ...base, ask: 'time', mode, seconds })
            if (answer.iterations && answer.seconds) return answer.seconds / answer.iterations
            throw new Error(`${contender.name}, ${mode}: ${answer.unsupported}`)
          }
          const known = fastest.get(contender.name)
          let seconds = Number.POSITIVE_INFINITY
          try {
            for (let i = 0; i < trials; i++) {
              seconds = Math.min(seconds, await time(trialSeconds))
              if (seconds > longSeconds || (known && seconds > hopeless * known.seconds)) break
            }
          } catch (error) {
            console.log(`left out: ${(error as Error).message}`)
            continue
          }
          if (known && known.seconds <= seconds) continue
          const names = [mode, contender.start.variant].filter((name) => name !== '')
          fastest.set(contender.name, { peer: contender.name, mode: names.join(', '), time, seconds })
        }
      }
      return [...fastest.values()]
    },
    check: async (task) => {
      const results = []
      for (const contender of firsts(task)) {
        const { values } = await contender.ask({ task, threads: 1, ask: 'check', mode: '', seconds: 0 })
        results.push({ peer: contender.name, values: values ?? [] })
      }
      return results
    },
    bytes: async (task) => {
      const results = []
      for (const contender of firsts(task)) {
        const { bytes } = await contender.ask({ task, threads: 1, ask: 'memory', mode: '', seconds: 0 })
        if (bytes !== undefined) results.push({ peer: contender.name, bytes })
      }
      return results
    },
    close: () => {
      for (const contender of contenders) contender.close()
    },
  }
}
