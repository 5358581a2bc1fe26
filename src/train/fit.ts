// The training loop: what a step is, what is measured and reported of it, and when a run ends. How batches reach the steps,
// and which programs run when, is feeds.ts.

import type { Batch } from '../data/batch.js'
import type { Dataset } from '../data/dataset.js'
import { type Device, device } from '../device.js'
import { checkInteger, checkOptions, expected, GradlineError } from '../errors.js'
import { grad } from '../grad.js'
import type { Loss } from '../losses/loss.js'
import { readStep, writeStep } from '../memory.js'
import type { NativeFailure } from '../native.js'
import { requireFinite } from '../ops/loss.js'
import type { Shuffle } from '../ops/random.js'
import type { Optimizer, Updater } from '../optimizers/optimizer.js'
import { type Augment, augmented } from './augment.js'
import { type Callback, checkCallback, type RunControl } from './callbacks.js'
import type { EpochEvent, FitEvent, History, Measures, ProgressEvent, StartEvent } from './events.js'
import { type Feed, type RecordStep, type Report, ResidentFeed, StreamedFeed } from './feeds.js'
import { Measuring, type MetricChoice, metricsOf } from './metrics.js'
import type { Model } from './model.js'
import { Batches, type BatchSource, isBatchSource } from './source.js'

export interface FitOptions {
  loss: Loss
  /** Passing the same optimizer to another fit() of the same model continues its moments and step count. */
  optimizer: Optimizer
  /** Measured beside the loss: 'accuracy', metrics such as metrics.f1(), or any loss. Default none. */
  metrics?: readonly MetricChoice[]
  /** Default 1. */
  epochs?: number
  /**
   * Default 32, at most the size of the data. The last batch of an epoch is smaller when the data do not divide; it is used, not dropped. Not for a source
   * of batches, which have their size from it.
   */
  batchSize?: number
  /**
   * Of a source of batches that has no end, or one too far: an epoch is so many batches. A generator (not a generator
   * function) goes on where it was in the next epoch. Default: until the source ends.
   */
  stepsPerEpoch?: number
  /**
   * Gradients of so many batches are averaged by their rows before each update, so that k batches of b rows act like one of
   * k * b; what is left at the end of an epoch makes a smaller group. Default 1.
   */
  accumulate?: number
  /** 'epoch': every sample once per epoch in a new order. Default 'epoch'. A source of batches has its own order. */
  shuffle?: Shuffle
  /**
   * What happens to the inputs of each batch before the model sees them, in training only and inside the step, on the device:
   * a function (x, scope) => y like a layer, or a list of layers without parameters, such as
   * [randomCrop({ padding: 4 }), randomFlip()]. Random numbers follow from the seed of the model, as those of dropout.
   */
  augment?: Augment | undefined
  /** Measured after each epoch: a data set, or a source of batches that gives the same ones anew. */
  validation?: Dataset | BatchSource<Batch> | undefined
  callbacks?: readonly Callback[]
  /** Ends the run at the next step boundary; it rejects with code 'aborted' and the model keeps whole steps. */
  signal?: AbortSignal | undefined
  /**
   * Where the run is expected to happen. A model computes where its weights are, so this only checks: the run rejects when
   * the model is elsewhere, or when this machine has no such device and why. Default: wherever the model is.
   */
  device?: string | Device
}

const optionNames = [
  'loss',
  'optimizer',
  'metrics',
  'epochs',
  'batchSize',
  'stepsPerEpoch',
  'accumulate',
  'shuffle',
  'augment',
  'validation',
  'callbacks',
  'signal',
  'device',
]
const usualBatch = 32

/** A training run: await it for its history, or iterate over it for its events. */
export class Fit implements PromiseLike<History>, AsyncIterable<FitEvent> {
  #observed = false
  readonly #done: Promise<History>
  readonly #listeners = new Set<(event: FitEvent | undefined) => void>()
  #ended = false

  /** `run` is given what makes the loop, so that its checks reject the run instead of throwing at the caller. */
  constructor(
    model: Model,
    data: Dataset | BatchSource,
    options: FitOptions,
    run: (makeLoop: () => Loop) => Promise<History>,
  ) {
    const makeLoop = (): Loop => new Loop(model, data, options, (event) => this.#emit(event))
    // Starts after the caller had the chance to iterate.
    this.#done = Promise.resolve().then(() => run(makeLoop))
    const end = (): void => {
      this.#ended = true
      this.#emit(undefined)
    }
    this.#done.then(end, (error: unknown) => {
      end()
      // Nobody awaits the run or reads its events: the error must not vanish, nor end the process.
      if (!this.#observed) process.emitWarning(`A training run that nobody awaits failed: ${(error as Error).message}`)
    })
  }

  // biome-ignore lint/suspicious/noThenProperty: a run is awaited like the promise it wraps
  then<A = History, B = never>(
    onDone?: ((history: History) => A | PromiseLike<A>) | null,
    onError?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    this.#observed = true
    return this.#done.then(onDone, onError)
  }

  catch<B = never>(onError?: ((error: unknown) => B | PromiseLike<B>) | null): Promise<History | B> {
    this.#observed = true
    return this.#done.catch(onError)
  }

  finally(onEnd?: (() => void) | null): Promise<History> {
    this.#observed = true
    return this.#done.finally(onEnd)
  }

  /** Events from now on. A slow reader gets every epoch, but of progress only the newest. */
  async *[Symbol.asyncIterator](): AsyncGenerator<FitEvent, void> {
    this.#observed = true
    let waiting: FitEvent[] = []
    let ended = this.#ended
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
  readonly #data: Dataset | Batches
  readonly #validation: BatchSource | undefined
  readonly #options: FitOptions
  readonly #measuring: Measuring
  readonly #epochs: number
  readonly #batchSize: number
  readonly #accumulate: number
  readonly #emit: (event: FitEvent) => void
  readonly #history: History = { epochs: [], seconds: 0 }
  #stopReason: string | undefined

  constructor(model: Model, data: Dataset | BatchSource, options: FitOptions, emit: (event: FitEvent) => void) {
    checkOptions('fit', options, optionNames)
    if (typeof options?.loss !== 'function') throw expected('a loss such as crossEntropy()', 'loss', options?.loss)
    if (typeof options.optimizer?.update !== 'function') {
      throw expected('an optimizer such as adam()', 'optimizer', options.optimizer)
    }
    const { signal, callbacks = [] } = options
    if (signal !== undefined && !(signal instanceof AbortSignal)) throw expected('an AbortSignal', 'signal', signal)
    if (!Array.isArray(callbacks) || callbacks.some((c) => typeof c !== 'object' || c === null)) {
      throw expected('a list of callbacks such as earlyStopping()', 'callbacks', callbacks)
    }
    callbacks.forEach(checkCallback)
    const { augment } = options
    if (augment !== undefined && typeof augment !== 'function' && (!Array.isArray(augment) || !model.isLayered)) {
      throw expected(
        `a function${model.isLayered ? ' (x, scope) => y or a list of layers' : ' of tensors by name'}`,
        'augment',
        augment,
      )
    }
    if (options.device !== undefined) checkDevice(model, options.device)
    this.#model = model
    this.#options = options
    this.#measuring = new Measuring(options.loss, metricsOf(options.loss, options.metrics))
    this.#epochs = checkInteger('epochs', options.epochs ?? 1, { min: 0 })
    // Of data that are none the check below tells more.
    const most = isBatchSource(data) ? usualBatch : (data?.length ?? usualBatch)
    this.#batchSize = checkInteger('batchSize', options.batchSize ?? Math.min(usualBatch, most), { min: 1 })
    this.#accumulate = checkInteger('accumulate', options.accumulate ?? 1, { min: 1 })
    this.#emit = emit
    if (isBatchSource(data)) {
      const wrong = (['batchSize', 'shuffle'] as const).find((name) => options[name] !== undefined)
      if (wrong) throw expected(`no ${wrong}, since batches come as the source makes them,`, wrong, options[wrong])
      model.checkLoss('training data', options.loss)
      const { stepsPerEpoch: limit } = options
      this.#data = new Batches(data, { what: 'training data', model, epochs: this.#epochs, limit })
    } else {
      if (options.stepsPerEpoch !== undefined) {
        throw expected('no stepsPerEpoch beside a data set', 'stepsPerEpoch', options.stepsPerEpoch)
      }
      model.checkData('training data', data, options.loss)
      this.#data = data
    }
    if (model.params.length > 0 && model.trainable.length === 0) {
      throw new GradlineError('state', `Every parameter of ${model.name} is frozen; there is nothing to train`, {
        fix: 'Call unfreeze() with the layers to train',
      })
    }
    const { validation } = options
    if (validation !== undefined && isBatchSource(validation)) {
      this.#validation = validation
      // Looked at now, so that a source for one epoch is refused before the first.
      void new Batches(validation, { what: 'validation data', model, epochs: this.#epochs })
    } else if (validation) {
      model.checkData('validation data', validation, options.loss)
    }
  }

  async run(): Promise<History> {
    const { signal, callbacks = [], validation } = this.#options
    const model = this.#model
    const updater = model.updaterOf(this.#options.optimizer)
    const feed = this.#feed(updater)
    const control: RunControl = {
      model,
      updater,
      stop: (reason) => {
        this.#stopReason = reason
      },
    }
    const onAbort = (): void => feed.stop()
    signal?.addEventListener('abort', onAbort)
    try {
      this.#throwIfAborted()
      await feed.open()
      this.#throwIfAborted()
      await model.initialize()
      // Each run begins an epoch of its own with an order of its own, also after one that was aborted in the middle.
      const { cursor, epoch: last } = readStep(updater.step)
      const begin = { cursor: 0, epoch: cursor === 0 ? last : last + 1, groupSteps: 0, groupRows: 0, pending: 0 }
      writeStep(updater.step, begin, model.device)
      const start = this.#startEvent(feed)
      this.#emit(start)
      for (const callback of callbacks) await callback.onStart?.(start, control)
      for (let epoch = 1; epoch <= this.#epochs && !this.#stopReason; epoch++) {
        this.#throwIfAborted()
        const skippedBefore = readStep(updater.step).skipped
        const { train, seconds } = await this.#epoch(epoch, feed, control)
        const skipped = readStep(updater.step).skipped - skippedBefore
        const measured = validation && (await model.evaluate(validation, this.#evaluateOptions(feed.batchSize)))
        this.#throwIfAborted()
        const event: EpochEvent = {
          kind: 'epoch',
          epoch,
          epochs: this.#epochs,
          train,
          validation: measured,
          samplesPerSecond: this.#measuring.samples / seconds,
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
      for (const callback of callbacks) this.#tell(callback, error, control)
      throw error
    } finally {
      signal?.removeEventListener('abort', onAbort)
      await feed.close()
    }
  }

  // The error that ended the run is the one to be thrown, whatever happens to those who are told of it.
  #tell(callback: Callback, error: unknown, control: RunControl): void {
    try {
      callback.onError?.(error, control)
    } catch (second) {
      process.emitWarning(`onError of a callback failed: ${(second as Error)?.message}`)
    }
  }

  #feed(updater: Updater): Feed {
    const { shuffle = 'epoch', stepsPerEpoch, augment } = this.#options
    const model = this.#model
    const { step } = updater
    const isGrouped = this.#accumulate > 1
    const record: RecordStep = ({ inputs, labels }, rows, samples) => {
      const seen = augment === undefined ? inputs : augmented(augment, inputs)
      const prediction = model.apply(seen, 'train')
      // A model of named inputs is measured on the parts that it saw.
      const outputs = this.#measuring.record(prediction, model.isLayered ? labels : seen)
      outputs.loss = requireFinite(outputs.loss)
      const { trainable } = model
      const options = isGrouped ? { accumulate: { size: this.#accumulate, rows, samples } } : {}
      updater.apply(trainable, grad(outputs.loss, trainable), options)
      return outputs
    }
    if (this.#data instanceof Batches) {
      return new StreamedFeed(model, this.#data, { step, record, isGrouped, limit: stepsPerEpoch })
    }
    return new ResidentFeed(model, this.#data, { batchSize: this.#batchSize, shuffle, step, record })
  }

  async #epoch(epoch: number, feed: Feed, control: RunControl): Promise<{ train: Measures; seconds: number }> {
    const measuring = this.#measuring
    measuring.reset(this.#model.device)
    const began = performance.now()
    const report: Report = (results, rows, done) => {
      this.#throwIfAborted()
      measuring.add(results, rows)
      const event: ProgressEvent = {
        kind: 'progress',
        epoch,
        epochs: this.#epochs,
        step: done + results.steps,
        stepsPerEpoch: feed.stepsPerEpoch,
        train: measuring.soFar(),
        samplesPerSecond: (measuring.samples * 1000) / (performance.now() - began),
      }
      this.#emit(event)
      for (const callback of this.#options.callbacks ?? []) callback.onProgress?.(event, control)
    }
    await feed.epoch(report, (error, done) => this.#located(error, epoch, done))
    this.#throwIfAborted()
    return { train: measuring.result(), seconds: (performance.now() - began) / 1000 }
  }

  // Names the step of a failure; of a loss that is not finite also what it means.
  #located(error: unknown, epoch: number, done: number): unknown {
    const { opName, completed } = ((error as Error | undefined)?.cause ?? {}) as Partial<NativeFailure>
    if (!(error instanceof GradlineError) || completed === undefined) return error
    const step = `step ${done + completed + 1} of epoch ${epoch}`
    if (opName !== 'requireFinite')
      return new GradlineError(error.code, `${error.message} (${step})`, { cause: error.cause })
    return new GradlineError(
      'data',
      `The training loss became ${/NaN|-?Infinity/.exec(error.message)?.[0]} in ${step}; the step was not applied, so the ` +
        'weights are those of the step before',
      {
        where: this.#model.name,
        fix: 'Lower the learning rate, clip gradients (clipNorm), or look for extreme inputs',
        cause: error.cause,
      },
    )
  }

  #evaluateOptions(batchSize: number): {
    loss: Loss
    metrics: readonly MetricChoice[]
    batchSize?: number
    signal?: AbortSignal
  } {
    const { loss, metrics = [], signal } = this.#options
    return { loss, metrics, ...(this.#validation ? {} : { batchSize }), ...(signal ? { signal } : {}) }
  }

  #startEvent(feed: Feed): StartEvent {
    const { validation } = this.#options
    return {
      kind: 'start',
      device: this.#model.device.describe(),
      samples: feed.samples,
      validationSamples: validation === undefined ? 0 : this.#validation ? undefined : (validation as Dataset).length,
      parameters: this.#model.parameterCount,
      epochs: this.#epochs,
      batchSize: feed.batchSize,
      stepsPerEpoch: feed.stepsPerEpoch,
      memory: feed.memory(),
    }
  }

  #throwIfAborted(): void {
    const { signal } = this.#options
    if (signal?.aborted)
      throw new GradlineError('aborted', 'Training was stopped by its signal', { cause: signal.reason })
  }
}

// A device that the machine lacks says so when it is opened, before anything is said of the model.
function checkDevice(model: Model, wanted: string | Device): void {
  const isModels = wanted === model.device || wanted === model.device.name || `${wanted}:0` === model.device.name
  if (isModels) return
  const { name } = device(wanted)
  throw new GradlineError(
    'argument',
    `Expected the device of ${model.name}, ${model.device.name}, but received ${name}`,
    {
      where: 'device of fit',
      fix: `A model trains where its weights are: model(..., { device: '${name}' })`,
    },
  )
}
