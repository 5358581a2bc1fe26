// A model: layers with their weights on a device, and the programs made of them. Building it records the layers once
// without data, so that shapes, names and errors are known before anything is allocated.

import { type DataArray, Dataset } from '../data/dataset.js'
import { Joined } from '../data/joined.js'
import { type Device, type DeviceOptions, device } from '../device.js'
import { allocate, convert, type DType } from '../dtype.js'
import { checkInteger, checkOptions, expected, GradlineError } from '../errors.js'
import { grad } from '../grad.js'
import { Graph, recordInto } from '../graph.js'
import { loadWeights, saveWeights, type Weight } from '../io/weights.js'
import { type Entry, type Layer, type Mode, Scope, type Step, Weights, walk } from '../layers/layer.js'
import type { Loss } from '../losses/loss.js'
import { read, write } from '../memory.js'
import { assign } from '../ops/move.js'
import { type Optimizer, Updater } from '../optimizers/optimizer.js'
import { type InputSpec, type Outputs, type Program, type ProgramMemory, record } from '../program.js'
import { type Shape, sameShape, showShape, sizeOf } from '../shape.js'
import { stepState } from '../step.js'
import { Tensor, type Variable } from '../tensor.js'
import { flatten, rebuild } from '../tree.js'
import { drawBatch } from './batches.js'
import type { Measures } from './events.js'
import { Fit, type FitOptions } from './fit.js'
import {
  checkInputs,
  checkJoined,
  checkOutputs,
  checkPart,
  type GraphFunction,
  type GraphModel,
  type ModelInput,
  meanOf,
  type Named,
  namedOptions,
  type Samples,
  toInput,
  toInputs,
} from './graphModel.js'
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

/**
 * A model of several inputs and outputs: a function of tensors by name, in which `scope.apply` applies layers.
 *
 *     const net = model({ image: [28, 28, 1], age: [1] }, ({ image, age }, scope) => {
 *       const seen = scope.apply([conv2d(8, 3), relu(), flatten()], image)
 *       const all = ops.concat([seen, age], -1)
 *       return { digit: scope.apply(dense(10), all), weight: scope.apply(dense(1), all) }
 *     })
 *     await net.fit(joined({ image, age, digit, weight }), {
 *       loss: (y, batch) => ops.add(crossEntropy()(y.digit, batch.digit), mse()(y.weight, batch.weight)), ...
 *     })
 *
 * Training data are joined(): parts with the names of inputs go in, the loss gets all parts. PyTorch: torch.nn.Module with
 * forward(); Keras: the functional API.
 */
export function model<I extends Readonly<Record<string, InputSpec>>, Y extends Tensor | Named>(
  inputs: I,
  fn: (inputs: { readonly [K in keyof I]: Tensor }, scope: Scope) => Y,
  options?: ModelOptions,
): GraphModel<{ readonly [K in keyof I]: Tensor }, Y>
/**
 * A model of layers applied one after the other to samples of a shape (without the batch axis); inputs that are no floats
 * name their element type: `{ shape: [20], dtype: 'int32' }`.
 */
export function model(input: InputSpec, layers: readonly Layer[], options?: ModelOptions): Model
export function model(
  inputs: InputSpec | Readonly<Record<string, InputSpec>>,
  layers: readonly Layer[] | GraphFunction,
  options: ModelOptions = {},
): unknown {
  return new Model(inputs, layers, options)
}

type Specs = Record<string, { shape: Shape; dtype: DType }>

export class Model {
  readonly name: string
  /** What it is given per sample, by name; `x` for a list of layers. */
  readonly inputs: Readonly<Record<string, ModelInput>>
  readonly seed: number
  readonly device: Device
  /** Programs kept for predict(), by their key. */
  readonly programs = new Map<string, Program>()
  readonly #layers: readonly Layer[]
  readonly #fn: GraphFunction | undefined
  readonly #weights = new Weights()
  readonly #steps: readonly Step[]
  readonly #outputs: Tensor | Named
  readonly #updaters = new WeakMap<Optimizer, Updater>()
  #initialized: Promise<void> | undefined
  #training = false
  #closed = false

  constructor(
    inputs: InputSpec | Readonly<Record<string, InputSpec>>,
    layers: readonly Layer[] | GraphFunction,
    options: ModelOptions,
  ) {
    checkOptions('model', options, ['seed', 'device', 'name', 'threads', 'isa'])
    const fn = typeof layers === 'function' ? layers : undefined
    if (!fn && (!Array.isArray(layers) || layers.length === 0)) throw expected('at least one layer', 'model', layers)
    this.name = options.name ?? 'model'
    this.inputs = fn
      ? toInputs(inputs as Readonly<Record<string, InputSpec>>)
      : { x: toInput('input shape', inputs as InputSpec) }
    this.seed = checkInteger('seed', options.seed ?? 0, { min: 0 })
    const { threads, isa } = options
    this.device = device(options.device, { ...(threads === undefined ? {} : { threads }), ...(isa ? { isa } : {}) })
    this.#layers = fn ? [] : [...(layers as readonly Layer[])]
    this.#fn = fn
    const { steps, outputs } = this.#record()
    this.#steps = steps
    this.#outputs = outputs
  }

  /** Parameters in order; changed by the optimizer. */
  get params(): Variable[] {
    return this.#weights.params.variables
  }

  get parameterCount(): number {
    return this.params.reduce((total, { size }) => total + size, 0)
  }

  /** Shape of one sample, without the batch axis. */
  get inputShape(): Shape {
    const [input, ...more] = Object.values(this.inputs) as [ModelInput, ...ModelInput[]]
    if (more.length === 0) return input.shape
    throw new GradlineError('state', `${this.name} has ${more.length + 1} inputs, whose shapes stand in model.inputs`)
  }

  /** Shape of one output, without the batch axis. */
  get outputShape(): Shape {
    if (this.#outputs instanceof Tensor) return this.#outputs.shape.slice(1)
    throw new GradlineError('state', `${this.name} has several outputs, and so no one outputShape`)
  }

  // Records the layers for one sample: creates every variable and finds every shape error.
  #record(): { steps: readonly Step[]; outputs: Tensor | Named } {
    const graph = new Graph()
    const inputs = Object.entries(this.inputs).map(([name, { shape, dtype }]) => [
      name,
      graph.input(name, new Tensor([1, ...shape], dtype)),
    ])
    const scope = new Scope(this.#weights, 'predict')
    const outputs = recordInto(graph, () => this.#run(Object.fromEntries(inputs), scope))
    return { steps: scope.steps, outputs }
  }

  #run(inputs: Named, scope: Scope): Tensor | Named {
    if (!this.#fn) return (walk(this.#layers, inputs.x as Tensor, scope).at(-1) as Step).output
    const batch = (Object.values(inputs)[0] as Tensor).shape[0] as number
    return checkOutputs(this.name, this.#fn(inputs, scope), batch)
  }

  /** Applies the layers inside a recording: x [n, ...inputShape] gives [n, ...outputShape]. */
  apply(x: Tensor, mode: Mode): Tensor {
    const inputs = this.#fn ? (x as unknown as Named) : { x }
    checkInputs(this.name, this.inputs, inputs)
    return this.#run(inputs, new Scope(this.#weights, mode)) as Tensor
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
    return new Fit(this, data, this.#fn ? namedOptions(options) : options, async (makeLoop) => {
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
  async evaluate(data: Dataset, given: EvaluateOptions): Promise<Measures> {
    const options = this.#fn ? namedOptions(given) : given
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
    if (this.#fn) return this.#predictNamed(samples, options.batchSize) as Promise<Tensor>
    const source = this.#samples(samples)
    const rowSize = sizeOf(this.inputShape)
    const rows = source.data.length / rowSize
    const batch = Math.min(checkInteger('batchSize', options.batchSize ?? 256, { min: 1 }), rows)
    await this.initialize()
    const result = new Float32Array(rows * sizeOf(this.outputShape))
    for (let row = 0; row < rows; row += batch) {
      const count = Math.min(batch, rows - row)
      const { factor, offset } = source.scale
      const part = convert(source.data.subarray(row * rowSize, (row + count) * rowSize), this.#dtype)
      const x = factor === 1 && offset === 0 ? part : part.map((value) => Math.fround(factor) * value + offset)
      const y = await this.#predictor(count).run({ x })
      result.set(y.data as Float32Array, row * sizeOf(this.outputShape))
    }
    return new Tensor([rows, ...this.outputShape], 'float32', { data: result })
  }

  // The element type of a list's input.
  get #dtype(): 'float32' | 'int32' {
    return (this.inputs.x as ModelInput).dtype
  }

  async #predictNamed(samples: unknown, batchSize = 256): Promise<Tensor | Named> {
    const given = (samples instanceof Joined ? samples.parts : samples) as Readonly<Record<string, Samples>>
    const names = Object.keys(this.inputs)
    if (!(samples instanceof Joined)) checkOptions(`the samples of ${this.name}`, given, names)
    const sources = names.map((name) => {
      const input = this.inputs[name] as ModelInput
      const { data, scale } = this.#samples(given[name] as Samples, input, name)
      return { name, data, scale, dtype: input.dtype, size: sizeOf(input.shape) }
    })
    const [rows, ...others] = sources.map(({ data, size }) => data.length / size) as [number, ...number[]]
    const odd = others.findIndex((count) => count !== rows)
    if (odd >= 0) throw expected(`${rows} samples, as of ${names[0]},`, `input ${names[odd + 1]}`, others[odd])
    checkInteger('batchSize', batchSize, { min: 1 })
    await this.initialize()
    const leaves = flatten(this.#outputs, isTensor, 'tensors').map(({ leaf }) => ({
      shape: [rows, ...leaf.shape.slice(1)],
      dtype: leaf.dtype,
      data: allocate(leaf.dtype, leaf.size * rows),
      size: leaf.size,
    }))
    for (let row = 0; row < rows; row += batchSize) {
      const count = Math.min(batchSize, rows - row)
      const inputs = sources.map(({ name, data, scale: { factor, offset }, dtype, size }) => {
        const part = convert(data.subarray(row * size, (row + count) * size), dtype)
        return [name, factor === 1 && offset === 0 ? part : part.map((v) => Math.fround(factor) * v + offset)]
      })
      const results = flatten(await this.#predictor(count).run(Object.fromEntries(inputs)), isTensor, 'tensors')
      leaves.forEach(({ data, size }, i) => {
        data.set((results[i] as { leaf: Tensor }).leaf.data, row * size)
      })
    }
    const tensors = leaves.map(({ shape, dtype, data }) => new Tensor(shape, dtype, { data }))
    return rebuild(this.#outputs, isTensor, tensors)
  }

  #samples(
    samples: Samples,
    input: ModelInput = this.inputs.x as ModelInput,
    name = 'x',
  ): Pick<DataArray, 'data' | 'scale'> {
    const { shape, dtype } = input
    if (samples instanceof Dataset) {
      checkPart('samples', samples, name, this.name, input)
      return samples.inputs
    }
    const plain = { factor: 1, offset: 0 }
    if (samples instanceof Tensor) {
      if (!sameShape(samples.shape.slice(1), shape)) {
        throw new GradlineError(
          'shape',
          `Expected samples ${showShape(shape)} for ${this.name} but received ${showShape(samples.shape.slice(1))}`,
        )
      }
      return { data: convert(samples.data, dtype) as DataArray['data'], scale: plain }
    }
    const length = samples?.length
    if (typeof length !== 'number' || length === 0 || length % sizeOf(shape) !== 0) {
      throw expected(
        `a multiple of ${sizeOf(shape)} elements (${showShape(shape)} each)`,
        name === 'x' ? 'predict' : `input ${name} of predict`,
        samples,
      )
    }
    return { data: convert(samples, dtype) as DataArray['data'], scale: plain }
  }

  #specs(batch: number): Specs {
    return Object.fromEntries(
      Object.entries(this.inputs).map(([name, { shape, dtype }]) => [name, { shape: [batch, ...shape], dtype }]),
    )
  }

  // Calls apply() with the inputs of a program: the tensor x alone for a list of layers.
  #given(inputs: Named): Tensor {
    return this.#fn ? (inputs as unknown as Tensor) : (inputs.x as Tensor)
  }

  #predictor(batch: number): Program<Specs, Tensor> {
    this.#checkOpen()
    const key = `predict ${batch}`
    let program = this.programs.get(key) as Program<Specs, Tensor> | undefined
    if (!program) {
      program = record((inputs) => this.apply(this.#given(inputs), 'predict'), this.#specs(batch), {
        name: `${this.name} ${key}`,
        device: this.device,
      })
      this.programs.set(key, program as unknown as Program)
    }
    return program
  }

  /** Layers, shapes and parameters as a table. */
  summary(): string {
    return summarize(this.name, this.inputs, this.#steps, this.#weights)
  }

  /** Bytes a training program would need, by use, exact and before anything is allocated. The data set comes on top. */
  memory({ batchSize, optimizer }: { batchSize: number; optimizer: Optimizer }): ProgramMemory {
    checkInteger('batchSize', batchSize, { min: 1 })
    const updater = new Updater(optimizer)
    const program = record(
      (inputs) => {
        const outputs: Tensor | Named = this.apply(this.#given(inputs), 'train')
        updater.apply(this.params, grad(meanOf(outputs), this.params))
        return {}
      },
      this.#specs(batchSize),
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
    if (this.#fn) {
      checkJoined(what, data, this.name, this.inputs)
      return
    }
    if (!(data instanceof Dataset)) throw expected('a data set made by dataset()', what, data)
    checkPart(what, data, 'x', this.name, this.inputs.x as ModelInput)
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

const isTensor = (value: unknown): value is Tensor => value instanceof Tensor
