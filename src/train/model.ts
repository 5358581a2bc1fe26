// A model: layers with their weights on a device, and the programs made of them. Building it records the layers once
// without data, so that shapes, names and errors are known before anything is allocated.

import { type DataArray, Dataset } from '../data/dataset.js'
import { type Device, type DeviceOptions, device } from '../device.js'
import { convert } from '../dtype.js'
import { checkInteger, checkOptions, expected, GradlineError } from '../errors.js'
import { grad } from '../grad.js'
import { Graph, recordInto } from '../graph.js'
import { loadWeights, saveWeights, type Weight } from '../io/weights.js'
import { type Entry, type Layer, type Mode, Scope, type Step, Weights, walk } from '../layers/layer.js'
import type { Loss } from '../losses/loss.js'
import { read, write } from '../memory.js'
import { assign } from '../ops/move.js'
import { mean } from '../ops/reduce.js'
import { type Optimizer, Updater } from '../optimizers/optimizer.js'
import { type Outputs, type Program, type ProgramMemory, record } from '../program.js'
import { checkShape, type Shape, sameShape, showShape, sizeOf } from '../shape.js'
import { stepState } from '../step.js'
import { Tensor, type Variable } from '../tensor.js'
import { drawBatch } from './batches.js'
import type { Measures } from './events.js'
import { Fit, type FitOptions } from './fit.js'
import { Means, type MetricChoice, measure, metricsOf } from './metrics.js'
import { summarize } from './summary.js'

export interface ModelOptions extends DeviceOptions {
  /** Decides first weights, order of samples, dropout. Default 0. */
  seed?: number
  /** Default 'cpu'. */
  device?: string | Device
  /** Used in messages. Default 'model'. */
  name?: string
}

export interface EvaluateOptions {
  loss: Loss
  metrics?: readonly MetricChoice[]
  /** Default 256, at most the size of the data. */
  batchSize?: number
  signal?: AbortSignal
}

/** All weights and state at one moment. */
export interface Snapshot {
  readonly params: Float32Array
  readonly states: Float32Array
}

/** A model of layers applied one after the other to samples of `inputShape` (without the batch axis). */
export function model(inputShape: Shape, layers: readonly Layer[], options: ModelOptions = {}): Model {
  return new Model(inputShape, layers, options)
}

export class Model {
  readonly name: string
  readonly inputShape: Shape
  readonly seed: number
  readonly device: Device
  /** Programs kept for predict(), by their key. */
  readonly programs = new Map<string, Program>()
  readonly #layers: readonly Layer[]
  readonly #weights = new Weights()
  readonly #steps: readonly Step[]
  readonly #updaters = new WeakMap<Optimizer, Updater>()
  #initialized: Promise<void> | undefined
  #training = false
  #closed = false

  constructor(inputShape: Shape, layers: readonly Layer[], options: ModelOptions) {
    checkOptions('model', options, ['seed', 'device', 'name', 'threads', 'isa'])
    if (!Array.isArray(layers) || layers.length === 0) throw expected('at least one layer', 'model', layers)
    this.name = options.name ?? 'model'
    this.inputShape = checkShape('input shape of model', inputShape)
    this.seed = checkInteger('seed', options.seed ?? 0, { min: 0 })
    const { threads, isa } = options
    this.device = device(options.device, { ...(threads === undefined ? {} : { threads }), ...(isa ? { isa } : {}) })
    this.#layers = [...layers]
    this.#steps = this.#record()
  }

  /** Parameters in order; changed by the optimizer. */
  get params(): Variable[] {
    return this.#weights.params.variables
  }

  get parameterCount(): number {
    return this.params.reduce((total, { size }) => total + size, 0)
  }

  /** Shape of one output, without the batch axis. */
  get outputShape(): Shape {
    return (this.#steps.at(-1) as Step).output.shape.slice(1)
  }

  // Records the layers for one sample: creates every variable and finds every shape error.
  #record(): Step[] {
    const graph = new Graph()
    const x = graph.input('x', new Tensor([1, ...this.inputShape], 'float32'))
    return recordInto(graph, () => walk(this.#layers, x, new Scope(this.#weights, 'predict')))
  }

  /** Applies the layers inside a recording: x [n, ...inputShape] gives [n, ...outputShape]. */
  apply(x: Tensor, mode: Mode): Tensor {
    if (!sameShape(x.shape.slice(1), this.inputShape)) {
      throw new GradlineError('shape', `Expected [n, ${this.inputShape.join(', ')}] for ${this.name} but received ${x}`)
    }
    return (walk(this.#layers, x, new Scope(this.#weights, mode)).at(-1) as Step).output
  }

  /** Records a program of this model on its device. */
  program<O extends Outputs>(name: string, fn: () => O, step?: Variable): Program<Record<string, never>, O> {
    this.#checkOpen()
    return record(fn, {} as Record<string, never>, {
      name: `${this.name} ${name}`,
      device: this.device,
      ...(step ? { step } : {}),
    })
  }

  /** Draws the first weights from the seed; done by itself before first use. */
  async initialize(): Promise<void> {
    this.#checkOpen()
    this.#initialized ??= this.#initialize()
    await this.#initialized
  }

  async #initialize(): Promise<void> {
    const entries = [...this.#weights.entries.values()]
    if (entries.length === 0) return
    const program = this.program(
      'init',
      () => {
        for (const { path, variable, initializer, fans } of entries) {
          const values: unknown = initializer(variable.shape, fans)
          if (!(values instanceof Tensor)) throw expected('a tensor', `the initializer of ${path}`, values)
          assign(variable, values)
        }
        return {}
      },
      stepState('init', { seed: this.seed }),
    )
    await program.run()
    program.close()
    for (const { path, variable } of entries) if (isWeight(path, variable) && allEqual(read(variable))) warnEqual(path)
  }

  /** Trains on a data set; see FitOptions. Gives a run that can be awaited or iterated over. */
  fit(data: Dataset, options: FitOptions): Fit {
    return new Fit(this, data, options, async (makeLoop) => {
      this.#checkOpen()
      if (this.#training) {
        throw new GradlineError('state', `${this.name} is already training`, {
          fix: 'Await the first fit() before the next, or make a second model',
        })
      }
      this.#training = true
      try {
        return await makeLoop().run()
      } finally {
        this.#training = false
      }
    })
  }

  /** Loss and metrics over a whole data set, the last smaller batch included. */
  async evaluate(data: Dataset, options: EvaluateOptions): Promise<Measures> {
    checkOptions('evaluate', options, ['loss', 'metrics', 'batchSize', 'signal'])
    if (typeof options?.loss !== 'function') throw expected('a loss such as crossEntropy()', 'loss', options?.loss)
    this.checkData('data', data, options.loss)
    const metrics = metricsOf(options.loss, options.metrics)
    const batch = Math.min(checkInteger('batchSize', options.batchSize ?? 256, { min: 1 }), data.length)
    await this.initialize()
    const step = stepState('evaluate', { seed: this.seed })
    const means = new Means(metrics)
    for (const [size, steps] of [
      [batch, Math.floor(data.length / batch)],
      [data.length % batch, 1],
    ] as const) {
      if (size === 0) continue
      const program = this.program(
        `evaluate ${size}`,
        () => {
          const { inputs, labels } = drawBatch(data, size, 'none', this.device, step)
          return measure(options.loss, metrics, this.apply(inputs, 'predict'), labels as Tensor)
        },
        step,
      )
      const stop = (): void => program.stop()
      options.signal?.addEventListener('abort', stop)
      try {
        const results = await program.runMany(steps)
        if (options.signal?.aborted) {
          throw new GradlineError('aborted', 'Evaluation was stopped by its signal', { cause: options.signal.reason })
        }
        means.add(results, size)
      } finally {
        options.signal?.removeEventListener('abort', stop)
        program.close()
      }
    }
    return means.result()
  }

  /**
   * Outputs [n, ...outputShape] for samples given as a data set, an eager tensor [n, ...inputShape], or their elements
   * row by row.
   */
  async predict(samples: Dataset | Tensor | ArrayLike<number>, options: { batchSize?: number } = {}): Promise<Tensor> {
    checkOptions('predict', options, ['batchSize'])
    const source = this.#samples(samples)
    const rowSize = sizeOf(this.inputShape)
    const rows = source.data.length / rowSize
    const batch = Math.min(checkInteger('batchSize', options.batchSize ?? 256, { min: 1 }), rows)
    await this.initialize()
    const result = new Float32Array(rows * sizeOf(this.outputShape))
    for (let row = 0; row < rows; row += batch) {
      const count = Math.min(batch, rows - row)
      const { factor, offset } = source.scale
      const part = convert(source.data.subarray(row * rowSize, (row + count) * rowSize), 'float32')
      const x = factor === 1 && offset === 0 ? part : part.map((value) => Math.fround(factor) * value + offset)
      const y = await this.#predictor(count).run({ x })
      result.set(y.data as Float32Array, row * sizeOf(this.outputShape))
    }
    return new Tensor([rows, ...this.outputShape], 'float32', { data: result })
  }

  #samples(samples: Dataset | Tensor | ArrayLike<number>): Pick<DataArray, 'data' | 'scale'> {
    if (samples instanceof Dataset) {
      if (!sameShape(samples.sampleShape, this.inputShape)) throw this.#wrongSamples(showShape(samples.sampleShape))
      return samples.inputs
    }
    const plain = { factor: 1, offset: 0 }
    if (samples instanceof Tensor) {
      if (!sameShape(samples.shape.slice(1), this.inputShape))
        throw this.#wrongSamples(showShape(samples.shape.slice(1)))
      return { data: convert(samples.data, 'float32') as Float32Array, scale: plain }
    }
    const length = samples?.length
    if (typeof length !== 'number' || length === 0 || length % sizeOf(this.inputShape) !== 0) {
      throw expected(
        `a multiple of ${sizeOf(this.inputShape)} elements (${showShape(this.inputShape)} each)`,
        'predict',
        samples,
      )
    }
    return { data: convert(samples, 'float32') as Float32Array, scale: plain }
  }

  #wrongSamples(received: string): GradlineError {
    return new GradlineError(
      'shape',
      `Expected samples ${showShape(this.inputShape)} for ${this.name} but received ${received}`,
    )
  }

  #predictor(batch: number): Program<{ x: Shape }, Tensor> {
    this.#checkOpen()
    const key = `predict ${batch}`
    let program = this.programs.get(key) as Program<{ x: Shape }, Tensor> | undefined
    if (!program) {
      program = record(
        ({ x }) => this.apply(x, 'predict'),
        { x: [batch, ...this.inputShape] },
        {
          name: `${this.name} ${key}`,
          device: this.device,
        },
      )
      this.programs.set(key, program as unknown as Program)
    }
    return program
  }

  /** Layers, shapes and parameters as a table. */
  summary(): string {
    return summarize(this.name, this.inputShape, this.#steps, this.#weights)
  }

  /** Bytes a training program would need, by use, exact and before anything is allocated. The data set comes on top. */
  memory({ batchSize, optimizer }: { batchSize: number; optimizer: Optimizer }): ProgramMemory {
    checkInteger('batchSize', batchSize, { min: 1 })
    const updater = new Updater(optimizer)
    const program = record(
      ({ x }) => {
        updater.apply(this.params, grad(mean(this.apply(x, 'train')), this.params))
        return {}
      },
      { x: [batchSize, ...this.inputShape] },
      { device: this.device, step: updater.step },
    )
    return program.memory()
  }

  /** Copies of all parameters and state, by path. */
  async weights(): Promise<Map<string, { shape: Shape; data: Float32Array }>> {
    await this.initialize()
    return new Map(
      this.#entries().map(({ path, variable }) => [path, { shape: variable.shape, data: valuesOf(variable) }]),
    )
  }

  /** Writes parameters and state as safetensors, the file whole or not at all. */
  async save(file: string): Promise<void> {
    const weights = await this.weights()
    await saveWeights(
      file,
      [...weights].map(([path, { shape, data }]): Weight => ({ path, shape, data })),
    )
  }

  /** Reads what save() wrote. Names and shapes must be exactly those of the model, else nothing is changed. */
  async load(file: string): Promise<void> {
    if (this.#training)
      throw new GradlineError('state', `${this.name} is training and cannot be loaded`, { fix: 'Abort it first' })
    const entries = this.#entries()
    const weights = await loadWeights(
      file,
      entries.map(({ path, variable }) => ({ path, shape: variable.shape })),
    )
    await this.initialize()
    entries.forEach(({ variable }, i) => {
      write(variable, (weights[i] as Weight).data, this.device)
    })
  }

  /** All weights and state, to be given back with restore(). */
  async snapshot(): Promise<Snapshot> {
    await this.initialize()
    return { params: valuesOf(this.#weights.params.flat()), states: valuesOf(this.#weights.states.flat()) }
  }

  async restore({ params, states }: Snapshot): Promise<void> {
    await this.initialize()
    const parts = [
      [this.#weights.params.flat(), params],
      [this.#weights.states.flat(), states],
    ] as const
    for (const [flat, values] of parts) {
      if (values?.length === flat.size) continue
      throw new GradlineError('shape', `Expected a snapshot of ${this.name} but received one of another model`)
    }
    for (const [flat, values] of parts) if (flat.size > 0) write(flat, values, this.device)
  }

  /** Frees the programs of the model. Using it afterwards is an error. */
  close(): void {
    if (this.#training)
      throw new GradlineError('state', `${this.name} is training and cannot be closed`, { fix: 'Abort it first' })
    this.#closed = true
    for (const program of this.programs.values()) program.close()
    this.programs.clear()
  }

  /** Checks that a data set can be fed to this model and this loss. */
  checkData(what: string, data: Dataset, used: Loss): void {
    if (!(data instanceof Dataset)) throw expected('a data set made by dataset()', what, data)
    if (!sameShape(data.sampleShape, this.inputShape)) {
      throw new GradlineError(
        'shape',
        `Expected samples ${showShape(this.inputShape)} for ${what} of ${this.name} but received ${showShape(data.sampleShape)}`,
        { where: data.name },
      )
    }
    if (!data.labels) throw expected('labels', what, null, { where: data.name })
    if (used.reduction === 'none') {
      throw expected("a loss with reduction 'mean' or 'sum'", what, `${used.kind} with reduction 'none'`)
    }
    if (used.labels && data.labels.data instanceof Int32Array) this.#checkLabels(what, data, data.labels.data, used)
  }

  #checkLabels(what: string, data: Dataset, labels: Int32Array, { labels: kind, ignoreIndex }: Loss): void {
    const outputs = this.outputShape.at(-1) ?? 1
    const classes = kind === 'binary' ? Math.max(2, outputs) : outputs
    const ignored = ignoreIndex !== undefined
    const wrong = labels.find((label) => (label < 0 || label >= classes) && label !== ignoreIndex)
    if (wrong === undefined && (ignored || (data.classes ?? 0) <= classes)) return
    const negative = wrong !== undefined && wrong < 0
    throw new GradlineError(
      'data',
      `Expected labels from 0 to ${classes - 1}${ignored ? ` or ${ignoreIndex}` : ''} for ${what}, as ${this.name} ends ` +
        `with ${outputs} outputs, but received ${negative || ignored ? wrong : `${data.classes} classes`}`,
      {
        where: data.name,
        fix: negative
          ? `To leave these samples out give the loss ignoreIndex: ${wrong}`
          : `Give the last layer ${data.classes} units`,
      },
    )
  }

  /** The optimizer at work on this model; one per optimizer object. */
  updaterOf(optimizer: Optimizer): Updater {
    let updater = this.#updaters.get(optimizer)
    if (!updater) {
      updater = new Updater(optimizer, { seed: this.seed })
      this.#updaters.set(optimizer, updater)
    }
    return updater
  }

  #entries(): Entry[] {
    return [...this.#weights.entries.values()]
  }

  #checkOpen(): void {
    if (this.#closed) throw new GradlineError('state', `${this.name} was closed and cannot be used any more`)
  }
}

// Biases and factors of normalization may well be equal; a weight with one output has no other unit to be equal to.
const isWeight = (path: string, { shape }: Variable): boolean =>
  /weight$/i.test(path) && shape.length > 1 && (shape.at(-1) ?? 1) > 1

const allEqual = (values: ArrayLike<number>): boolean => {
  for (let i = 1; i < values.length; i++) if (values[i] !== values[0]) return false
  return true
}

function warnEqual(path: string): void {
  process.emitWarning(
    `All elements of ${path} begin with the same value, so its units have equal gradients and stay copies of each ` +
      'other. Give the layer random first weights, such as the default init',
    { type: 'GradlineWarning', code: 'GRADLINE_EQUAL_WEIGHTS' },
  )
}

const valuesOf = (variable: Variable): Float32Array =>
  variable.size === 0 ? new Float32Array() : (read(variable) as Float32Array)
