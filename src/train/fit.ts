// The training loop: which programs run when. A chunk of steps is one native call of 10 to 20 ms; two chunks are always
// queued, so that the device never waits for JavaScript and JavaScript never waits for a step.

import type { Dataset } from '../data/dataset.js'
import { checkInteger, checkOptions, expected, GradlineError } from '../errors.js'
import { grad } from '../grad.js'
import type { Loss } from '../losses/loss.js'
import { readStep, writeStep } from '../memory.js'
import type { Shuffle } from '../ops/random.js'
import type { Optimizer, Updater } from '../optimizers/optimizer.js'
import type { Program, Results } from '../program.js'
import type { Tensor } from '../tensor.js'
import { drawBatch } from './batches.js'
import type { Callback, RunControl } from './callbacks.js'
import type { EpochEvent, FitEvent, History, Measures, ProgressEvent, StartEvent } from './events.js'
import { Means, type Metric, type MetricChoice, measure, metricsOf } from './metrics.js'
import type { Model } from './model.js'

export interface FitOptions {
  loss: Loss
  /** Passing the same optimizer to another fit() of the same model continues its moments and step count. */
  optimizer: Optimizer
  /** Measured beside the loss: 'accuracy', or any loss or custom metric. Default none. */
  metrics?: readonly MetricChoice[]
  /** Default 1. */
  epochs?: number
  /** Default 32. The last batch of an epoch is smaller when the data do not divide; it is used, not dropped. */
  batchSize?: number
  /**
   * Gradients of so many batches are averaged by their rows before each update, so that k batches of b rows act like one of
   * k * b; what is left at the end of an epoch makes a smaller group. Default 1.
   */
  accumulate?: number
  /** 'epoch': every sample once per epoch in a new order. Default 'epoch'. */
  shuffle?: Shuffle
  /** Measured after each epoch. */
  validation?: Dataset | undefined
  callbacks?: readonly Callback[]
  /** Ends the run at the next step boundary; it rejects with code 'aborted' and the model keeps whole steps. */
  signal?: AbortSignal | undefined
}

const optionNames = [
  'loss',
  'optimizer',
  'metrics',
  'epochs',
  'batchSize',
  'accumulate',
  'shuffle',
  'validation',
  'callbacks',
  'signal',
]
const chunkSeconds = 0.015

type StepOutputs = { [measure: string]: Tensor }
type StepProgram = Program<Record<string, never>, StepOutputs>

/** A training run: await it for its history, or iterate over it for its events. */
export class Fit implements PromiseLike<History>, AsyncIterable<FitEvent> {
  readonly #done: Promise<History>
  readonly #listeners = new Set<(event: FitEvent | undefined) => void>()

  /** `run` is given what makes the loop, so that its checks reject the run instead of throwing at the caller. */
  constructor(model: Model, data: Dataset, options: FitOptions, run: (makeLoop: () => Loop) => Promise<History>) {
    const makeLoop = (): Loop => new Loop(model, data, options, (event) => this.#emit(event))
    // Starts after the caller had the chance to iterate.
    this.#done = Promise.resolve().then(() => run(makeLoop))
    const end = (): void => this.#emit(undefined)
    this.#done.then(end, end)
  }

  // biome-ignore lint/suspicious/noThenProperty: a run is awaited like the promise it wraps
  then<A = History, B = never>(
    onDone?: ((history: History) => A | PromiseLike<A>) | null,
    onError?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#done.then(onDone, onError)
  }

  catch<B = never>(onError?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<History | B> {
    return this.#done.catch(onError)
  }

  finally(onEnd?: (() => void) | null): Promise<History> {
    return this.#done.finally(onEnd)
  }

  /** Events from now on. A slow reader gets every epoch, but of progress only the newest. */
  async *[Symbol.asyncIterator](): AsyncGenerator<FitEvent, void> {
    let waiting: FitEvent[] = []
    let ended = false
    let wake = (): void => {}
    const listener = (event: FitEvent | undefined): void => {
      if (event === undefined) ended = true
      else waiting = [...waiting.filter(({ kind }) => kind !== 'progress'), event]
      wake()
    }
    this.#listeners.add(listener)
    try {
      for (;;) {
        const batch = waiting
        waiting = []
        yield* batch
        if (waiting.length > 0) continue
        if (ended) break
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      await this.#done
    } finally {
      this.#listeners.delete(listener)
    }
  }

  #emit(event: FitEvent | undefined): void {
    for (const listener of this.#listeners) listener(event)
  }
}

/** One run: checks its options, makes its programs, drives them. */
export class Loop {
  readonly #model: Model
  readonly #data: Dataset
  readonly #options: FitOptions
  readonly #metrics: readonly Metric[]
  readonly #epochs: number
  readonly #batchSize: number
  readonly #accumulate: number
  readonly #emit: (event: FitEvent) => void
  readonly #history: History = { epochs: [], seconds: 0 }
  #chunk = 1
  #stopReason: string | undefined

  constructor(model: Model, data: Dataset, options: FitOptions, emit: (event: FitEvent) => void) {
    checkOptions('fit', options, optionNames)
    if (typeof options.loss !== 'function') throw expected('a loss such as crossEntropy()', 'loss', options.loss)
    if (typeof options.optimizer?.update !== 'function') {
      throw expected('an optimizer such as adam()', 'optimizer', options.optimizer)
    }
    this.#model = model
    this.#data = data
    this.#options = options
    this.#metrics = metricsOf(options.loss, options.metrics)
    this.#epochs = checkInteger('epochs', options.epochs ?? 1, { min: 0 })
    this.#batchSize = checkInteger('batchSize', options.batchSize ?? 32, { min: 1 })
    this.#accumulate = checkInteger('accumulate', options.accumulate ?? 1, { min: 1 })
    this.#emit = emit
    model.checkData('training data', data, options.loss)
    if (options.validation) model.checkData('validation data', options.validation, options.loss)
    if (this.#batchSize > data.length) {
      throw expected(`at most the ${data.length} samples of ${data.name}`, 'batchSize', this.#batchSize)
    }
  }

  async run(): Promise<History> {
    const { signal, callbacks = [], validation } = this.#options
    const model = this.#model
    const updater = model.updaterOf(this.#options.optimizer)
    const [main, rest] = [this.#batchSize, this.#data.length % this.#batchSize].map((batch) =>
      batch === 0 ? undefined : this.#trainProgram(batch, updater),
    ) as [StepProgram, StepProgram | undefined]
    const control: RunControl = {
      model,
      stop: (reason) => {
        this.#stopReason = reason
      },
    }
    const onAbort = (): void => {
      main.stop()
      rest?.stop()
    }
    signal?.addEventListener('abort', onAbort)
    try {
      await model.initialize()
      // Each run begins an epoch of its own, also after one that was aborted in the middle.
      writeStep(updater.step, { cursor: 0, groupSteps: 0, groupRows: 0, pending: 0 }, model.device)
      const start = this.#startEvent(main, rest)
      this.#emit(start)
      for (const callback of callbacks) await callback.onStart?.(start, control)
      for (let epoch = 1; epoch <= this.#epochs && !this.#stopReason; epoch++) {
        this.#throwIfAborted()
        const skippedBefore = readStep(updater.step).skipped
        const { train, seconds } = await this.#epoch(epoch, main, rest, control)
        const skipped = readStep(updater.step).skipped - skippedBefore
        const measured = validation && (await model.evaluate(validation, this.#evaluateOptions()))
        this.#throwIfAborted()
        const event: EpochEvent = {
          kind: 'epoch',
          epoch,
          epochs: this.#epochs,
          train,
          validation: measured,
          samplesPerSecond: this.#data.length / seconds,
          seconds,
          skipped,
        }
        this.#history.epochs.push(event)
        this.#history.seconds += seconds
        this.#emit(event)
        for (const callback of callbacks) await callback.onEpoch?.(event, control)
      }
      if (this.#stopReason) this.#history.stopped = this.#stopReason
      for (const callback of callbacks) await callback.onEnd?.(this.#history, control)
      return this.#history
    } catch (error) {
      for (const callback of callbacks) callback.onError?.(error, control)
      throw error
    } finally {
      signal?.removeEventListener('abort', onAbort)
      main.close()
      rest?.close()
    }
  }

  #trainProgram(batch: number, updater: Updater): StepProgram {
    const { loss, shuffle = 'epoch' } = this.#options
    return this.#model.program(
      `train ${batch}`,
      () => {
        const { inputs, labels } = drawBatch(this.#data, batch, shuffle, updater.step)
        const prediction = this.#model.apply(inputs, 'train')
        const outputs = measure(loss, this.#metrics, prediction, labels as Tensor)
        const { params } = this.#model
        const group = { size: this.#accumulate, rows: batch, samples: this.#data.length }
        const options = this.#accumulate === 1 ? {} : { accumulate: group }
        updater.apply(params, grad(outputs.loss as Tensor, params), options)
        return outputs
      },
      updater.step,
    )
  }

  async #epoch(
    epoch: number,
    main: StepProgram,
    rest: StepProgram | undefined,
    control: RunControl,
  ): Promise<{ train: Measures; seconds: number }> {
    const means = new Means()
    const steps = Math.floor(this.#data.length / this.#batchSize)
    const stepsPerEpoch = steps + (rest ? 1 : 0)
    const began = performance.now()
    const report = (results: Results<StepOutputs>, batch: number, offset: number): void => {
      for (const outputs of results) {
        means.add(outputs, batch)
        const loss = (outputs.loss as Tensor).item()
        if (!Number.isFinite(loss)) throw this.#diverged(loss, epoch, means.count, control)
      }
      const event: ProgressEvent = {
        kind: 'progress',
        epoch,
        epochs: this.#epochs,
        step: offset + results.steps,
        stepsPerEpoch,
        train: means.result(),
        samplesPerSecond: (means.samples * 1000) / (performance.now() - began),
      }
      this.#emit(event)
      for (const callback of this.#options.callbacks ?? []) callback.onProgress?.(event, control)
    }
    await this.#steps(main, steps, (results, done) => report(results, this.#batchSize, done))
    if (rest) await this.#steps(rest, 1, (results) => report(results, this.#data.length % this.#batchSize, steps))
    return { train: means.result(), seconds: (performance.now() - began) / 1000 }
  }

  // Runs `total` steps in chunks, two of them queued at any time.
  async #steps(
    program: StepProgram,
    total: number,
    report: (results: Results<StepOutputs>, done: number) => void,
  ): Promise<void> {
    const queue: Promise<Results<StepOutputs>>[] = []
    let queued = 0
    let done = 0
    try {
      while (done < total) {
        while (queued < total && queue.length < 2) {
          const steps = Math.min(this.#chunk, total - queued)
          queue.push(program.runMany(steps))
          queued += steps
        }
        const began = performance.now()
        const results = await (queue.shift() as Promise<Results<StepOutputs>>)
        this.#throwIfAborted()
        report(results, done)
        done += results.steps
        const seconds = (performance.now() - began) / 1000 / results.steps
        this.#chunk = Math.max(1, Math.min(10_000, 2 * this.#chunk, Math.round(chunkSeconds / seconds)))
      }
    } finally {
      if (queue.length > 0) program.stop()
      await Promise.allSettled(queue)
    }
  }

  #diverged(loss: number, epoch: number, step: number, { model }: RunControl): GradlineError {
    return new GradlineError(
      'data',
      `The training loss became ${loss} in step ${step} of epoch ${epoch}; updates with gradients that are not finite ` +
        'were skipped, so the weights are still those of the last good step',
      { where: model.name, fix: 'Lower the learning rate, clip gradients (clipNorm), or look for extreme inputs' },
    )
  }

  #evaluateOptions(): { loss: Loss; metrics: readonly MetricChoice[]; batchSize: number; signal?: AbortSignal } {
    const { loss, metrics = [], signal } = this.#options
    return { loss, metrics, batchSize: this.#batchSize, ...(signal ? { signal } : {}) }
  }

  #startEvent(main: StepProgram, rest: StepProgram | undefined): StartEvent {
    const [memory, restMemory] = [main.memory(), rest?.memory()]
    const own = restMemory
      ? restMemory.grad + restMemory.act + restMemory.input + restMemory.metric + restMemory.workspace
      : 0
    return {
      kind: 'start',
      device: this.#model.device.describe(),
      samples: this.#data.length,
      validationSamples: this.#options.validation?.length ?? 0,
      parameters: this.#model.parameterCount,
      epochs: this.#epochs,
      batchSize: this.#batchSize,
      stepsPerEpoch: Math.ceil(this.#data.length / this.#batchSize),
      memory: { ...memory, total: memory.total + own },
    }
  }

  #throwIfAborted(): void {
    const { signal } = this.#options
    if (signal?.aborted)
      throw new GradlineError('aborted', 'Training was stopped by its signal', { cause: signal.reason })
  }
}
