// How the batches of a training run reach its steps: from a data set that is memory of the device, drawn inside the program,
// or from a source of batches, each copied to the device beside the steps before it. Which step that is, and what becomes of
// its results, is fit.ts.

import type { Dataset } from '../data/dataset.js'
import { expected } from '../errors.js'
import { readStep, writeStep } from '../memory.js'
import type { Shuffle } from '../ops/random.js'
import type { InputSpecs, Program, ProgramMemory, Results } from '../program.js'
import type { Tensor, Variable } from '../tensor.js'
import { drawBatch } from './batches.js'
import type { Measuring, StepOutputs } from './metrics.js'
import type { Model } from './model.js'
import type { Batches, Drawn, EpochOfBatches } from './source.js'

/** Records a step for a batch of so many rows. `samples` is where the count of rows handed out ends the epoch; 0: nowhere. */
export type RecordStep = (batch: { inputs: Tensor; labels: Tensor }, rows: number, samples: number) => StepOutputs
/** Takes results of steps of one size; `done` steps of the epoch came before them. */
export type Report = (results: Results<StepOutputs>, rows: number, done: number) => void
/** An error that came behind `done` steps of the epoch, with the step in it. */
export type Located = (error: unknown, done: number) => unknown

export interface Feed {
  /** Of an epoch; undefined where only the source knows. */
  readonly samples: number | undefined
  readonly stepsPerEpoch: number | undefined
  /** Rows of a batch, known once it is open. */
  readonly batchSize: number
  /** Makes its programs; a source is asked for its first batch. */
  open(): Promise<void>
  /** Of its programs so far. */
  memory(): ProgramMemory
  /** The steps of one epoch; fewer when stopped. */
  epoch(report: Report, located: Located): Promise<void>
  /** Ends the epoch at the next step boundary. */
  stop(): void
  close(): Promise<void>
}

const chunkSeconds = 0.015
// Steps of a chunk: so many, or more where JavaScript reads their results in a millisecond. Longer would delay the event
// loop; shorter, and with many models at once nothing else would get done.
const chunkSteps = 250
const readSeconds = 0.001

/** A chunk of steps is one native call of 10 to 20 ms; two chunks are always queued, so that the device never waits. */
export class ResidentFeed implements Feed {
  readonly samples: number
  readonly batchSize: number
  readonly stepsPerEpoch: number
  readonly #programs: readonly { program: Program<Record<string, never>, StepOutputs>; rows: number; steps: number }[]
  #chunk = 1

  constructor(
    model: Model,
    data: Dataset,
    options: { batchSize: number; shuffle: Shuffle; step: Variable; record: RecordStep },
  ) {
    const { batchSize, shuffle, step, record } = options
    const samples = data.length
    if (batchSize > samples) throw expected(`at most the ${samples} samples of ${data.name}`, 'batchSize', batchSize)
    this.samples = samples
    this.batchSize = batchSize
    this.stepsPerEpoch = Math.ceil(samples / batchSize)
    const sizes = [
      { rows: batchSize, steps: Math.floor(samples / batchSize) },
      { rows: samples % batchSize, steps: 1 },
    ]
    this.#programs = sizes
      .filter(({ rows }) => rows > 0)
      .map(({ rows, steps }) => {
        const recorded = (): StepOutputs => {
          const { inputs, labels } = drawBatch(data, rows, shuffle, model.device, step)
          return record({ inputs, labels: labels as Tensor }, rows, samples)
        }
        return { program: model.program(`train ${rows}`, recorded, step), rows, steps }
      })
  }

  async open(): Promise<void> {}

  memory(): ProgramMemory {
    return joinedMemory(this.#programs.map(({ program }) => program.memory()))
  }

  async epoch(report: Report, located: Located): Promise<void> {
    let before = 0
    for (const { program, rows, steps } of this.#programs) {
      const place = before
      await this.#steps(
        program,
        steps,
        (results, done) => report(results, rows, place + done),
        (error, done) => located(error, place + done),
      )
      before += steps
    }
  }

  // Runs `total` steps in chunks, two of them queued at any time.
  async #steps(
    program: Program<Record<string, never>, StepOutputs>,
    total: number,
    report: (results: Results<StepOutputs>, done: number) => void,
    located: Located,
  ): Promise<void> {
    const queue: Promise<Results<StepOutputs>>[] = []
    let queued = 0
    let done = 0
    try {
      while (done < total) {
        while (queued < total && queue.length < 2) {
          const steps = Math.min(this.#chunk, total - queued)
          queue.push(program.runMany(steps, {}, { continues: queued > 0 }))
          queued += steps
        }
        const began = performance.now()
        const results = await (queue.shift() as Promise<Results<StepOutputs>>).catch((error: unknown) => {
          throw located(error, done)
        })
        const read = performance.now()
        report(results, done)
        done += results.steps
        const now = performance.now()
        const perStep = (milliseconds: number): number => milliseconds / 1000 / results.steps
        const most = Math.max(chunkSteps, Math.floor(readSeconds / perStep(now - read)))
        this.#chunk = Math.max(1, Math.min(most, 2 * this.#chunk, Math.round(chunkSeconds / perStep(now - began))))
      }
    } finally {
      if (queue.length > 0) program.stop()
      await Promise.allSettled(queue)
    }
  }

  stop(): void {
    for (const { program } of this.#programs) program.stop()
  }

  async close(): Promise<void> {
    for (const { program } of this.#programs) program.close()
  }
}

type FedProgram = Program<InputSpecs, StepOutputs>

/** A step for each batch of a source. The last, smaller batch of an epoch has a program of its own. */
export class StreamedFeed implements Feed {
  readonly samples = undefined
  readonly #model: Model
  readonly #batches: Batches
  readonly #options: { step: Variable; record: RecordStep; isGrouped: boolean; limit: number | undefined }
  readonly #programs = new Map<string, FedProgram>()
  readonly #stopped: Promise<undefined>
  #first: EpochOfBatches | undefined
  #epochs = 0
  #steps: number | undefined
  #isStopped = false
  #wake = (): void => {}

  /** `isGrouped`: updates are of groups of micro-batches, the last of which the end of the epoch ends. */
  constructor(
    model: Model,
    batches: Batches,
    options: { step: Variable; record: RecordStep; isGrouped: boolean; limit: number | undefined },
  ) {
    this.#model = model
    this.#batches = batches
    this.#options = options
    this.#stopped = new Promise((resolve) => {
      this.#wake = () => resolve(undefined)
    })
  }

  get batchSize(): number {
    return this.#batches.rows
  }

  /** As many as the epoch before had. */
  get stepsPerEpoch(): number | undefined {
    return this.#steps ?? this.#options.limit
  }

  async open(): Promise<void> {
    this.#first = this.#batches.begin()
    const first = await this.#unlessStopped(this.#first.peek())
    if (first) this.#program(first.rows, false)
    else if (!this.#isStopped) throw this.#batches.empty()
  }

  memory(): ProgramMemory {
    return joinedMemory([...this.#programs.values()].map((program) => program.memory()))
  }

  async epoch(report: Report, located: Located): Promise<void> {
    const { step, isGrouped } = this.#options
    const batches = this.#first ?? this.#batches.begin()
    this.#first = undefined
    // No data set moves the counters of the epoch in the step state; a cursor that is not 0 says that it has begun.
    const { epoch } = readStep(step)
    writeStep(step, { epoch: this.#epochs++ === 0 ? epoch : epoch + 1, cursor: 1 }, this.#model.device)
    let done = 0
    try {
      for (let head = await this.#peek(batches); head !== undefined; head = await this.#peek(batches)) {
        const { rows } = head
        const isLast = isGrouped && (await this.#peek(batches, 1)) === undefined
        for await (const results of this.#program(rows, isLast).stream(alike(batches, rows, isGrouped, isLast))) {
          report(results, rows, done)
          done += results.steps
        }
      }
      if (this.#isStopped) return
      if (done === 0) throw this.#batches.empty()
      this.#steps = done
    } catch (error) {
      throw located(error, done)
    } finally {
      await batches.close()
    }
  }

  stop(): void {
    this.#isStopped = true
    this.#wake()
    for (const program of this.#programs.values()) program.stop()
  }

  async close(): Promise<void> {
    for (const program of this.#programs.values()) program.close()
    await this.#first?.close()
    await this.#batches.close()
  }

  async #peek(batches: EpochOfBatches, past: 0 | 1 = 0): Promise<Drawn | undefined> {
    return this.#isStopped ? undefined : this.#unlessStopped(batches.peek(past))
  }

  // A stop does not wait for what the source still owes.
  async #unlessStopped<T>(promise: Promise<T | undefined>): Promise<T | undefined> {
    promise.catch(() => {})
    return this.#isStopped ? undefined : Promise.race([promise, this.#stopped])
  }

  #program(rows: number, isLast: boolean): FedProgram {
    const name = `train ${rows}${isLast ? ' last' : ''}`
    const known = this.#programs.get(name)
    if (known) return known
    // Of smaller sizes only the newest is kept.
    for (const [other, program] of this.#programs) {
      if (rows === this.batchSize || other.startsWith(`train ${this.batchSize}`)) continue
      program.close()
      this.#programs.delete(other)
    }
    const { step, record } = this.#options
    const program = this.#model.program(
      name,
      (tensors) => record(this.#batches.record(tensors), rows, isLast ? 1 : 0),
      step,
      this.#batches.specs(rows),
    )
    this.#programs.set(name, program)
    return program
  }
}

// The batches of an epoch as long as they have so many rows; with groups, the last one apart from the others.
async function* alike(
  batches: EpochOfBatches,
  rows: number,
  isGrouped: boolean,
  isLast: boolean,
): AsyncGenerator<Drawn['inputs'], void> {
  for (let head = await batches.peek(); head?.rows === rows; head = await batches.peek()) {
    if (isGrouped && !isLast && (await batches.peek(1)) === undefined) return
    // Looking ahead may have copied it.
    const { inputs } = (await batches.peek()) as Drawn
    batches.take()
    yield inputs
  }
}

/** Loss and metrics over all batches of a source. */
export async function measureBatches(
  model: Model,
  batches: Batches,
  measuring: Measuring,
  step: Variable,
  signal: AbortSignal | undefined,
): Promise<void> {
  const feed = new StreamedFeed(model, batches, {
    step,
    record: ({ inputs, labels }) => measuring.record(model.apply(inputs, 'predict'), labels),
    isGrouped: false,
    limit: undefined,
  })
  const stop = (): void => feed.stop()
  signal?.addEventListener('abort', stop)
  try {
    if (signal?.aborted) return
    await feed.open()
    await feed.epoch(
      (results, rows) => measuring.add(results, rows),
      (error) => error,
    )
  } finally {
    signal?.removeEventListener('abort', stop)
    await feed.close()
  }
}

// What programs own adds up; variables are shared.
function joinedMemory(parts: readonly ProgramMemory[]): ProgramMemory {
  const memory: { -readonly [K in keyof ProgramMemory]: number } = { ...(parts[0] as ProgramMemory) }
  for (const kind of ['grad', 'act', 'input', 'metric', 'workspace'] as const) {
    for (const more of parts.slice(1)) {
      memory[kind] += more[kind]
      memory.total += more[kind]
    }
  }
  return memory
}
