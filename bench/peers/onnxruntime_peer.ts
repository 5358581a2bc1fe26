// A peer for inference: onnxruntime-node, in a process of its own. Answers questions of one JSON line each on stdin with one line
// on stdout, as the other peers do. The folder it is installed in is the first argument.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { onnxModel } from './onnx.js'
import { pattern, type Task } from './task.js'

/** The part of onnxruntime-node that is used. */
interface Runtime {
  readonly Tensor: new (type: 'float32', data: Float32Array, dims: readonly number[]) => object
  readonly InferenceSession: { create(model: Uint8Array, options: object): Promise<Session> }
}
interface Session {
  run(inputs: Record<string, object>): Promise<Record<string, { readonly data: Float32Array }>>
  release(): Promise<void>
}
interface Question {
  readonly ask: 'modes' | 'time' | 'check'
  readonly task: Task
  readonly threads: number
  readonly seconds: number
}

/** Images [batch, height, width, channels] as [batch, channels, height, width]. */
function channelsFirst(values: Float32Array, [height = 1, width = 1, channels = 1]: readonly number[]): Float32Array {
  const size = height * width
  return values.map((_, at) => {
    const place = at % size
    const channel = Math.floor(at / size) % channels
    return values[(Math.floor(at / (size * channels)) * size + place) * channels + channel] as number
  })
}

export async function serve(folder: string): Promise<void> {
  const require = createRequire(join(folder, 'package.json'))
  const { Tensor, InferenceSession } = require('onnxruntime-node') as Runtime
  const { version } = JSON.parse(readFileSync(join(folder, 'node_modules/onnxruntime-node/package.json'), 'utf8')) as {
    version: string
  }
  let opened = ''
  let session: Session | undefined
  let inputs: Record<string, object> = {}
  let iterations = 1

  const open = async (task: Extract<Task, { kind: 'inference' }>, threads: number): Promise<Session> => {
    const key = JSON.stringify([task, threads])
    if (session && key === opened) return session
    await session?.release()
    session = await InferenceSession.create(onnxModel(task), {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      graphOptimizationLevel: 'all',
      executionMode: 'sequential',
    })
    const { batch, input } = task
    const [height = 0, width = 0, channels = 0] = input
    const values = pattern(input.reduce((size, n) => size * n, batch))
    inputs =
      input.length === 3
        ? { x: new Tensor('float32', channelsFirst(values, input), [batch, channels, height, width]) }
        : { x: new Tensor('float32', values, [batch, ...input]) }
    opened = key
    iterations = 1
    for (let i = 0; i < 3; i++) await session.run(inputs)
    return session
  }
  const run = async (on: Session, times: number): Promise<number> => {
    const began = performance.now()
    for (let i = 0; i < times; i++) await on.run(inputs)
    return (performance.now() - began) / 1000
  }
  const answer = async ({ ask, task, threads, seconds: wanted }: Question): Promise<object> => {
    if (task.kind !== 'inference') return { unsupported: task.kind }
    if (ask === 'modes') return { modes: [''] }
    const on = await open(task, threads)
    if (ask === 'check') return { values: [...((await on.run(inputs)).y?.data ?? [])] }
    let seconds = await run(on, iterations)
    // What calibrates warms up as well; a run that is long enough is the answer.
    while (seconds < wanted) {
      iterations = Math.ceil(iterations * Math.min(10, (1.1 * wanted) / seconds)) + 1
      seconds = await run(on, iterations)
    }
    return { iterations, seconds }
  }
  const say = (reply: object): void => void process.stdout.write(`${JSON.stringify(reply)}\n`)
  say({ version: `onnxruntime-node ${version}` })
  for await (const line of createInterface({ input: process.stdin })) {
    say(await answer(JSON.parse(line) as Question).catch((error: Error) => ({ unsupported: error.message })))
  }
}

const folder = process.argv[2]
if (process.argv[1]?.endsWith('onnxruntime_peer.js') && folder) await serve(folder)
