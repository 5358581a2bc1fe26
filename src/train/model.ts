// A model: layers with their weights on a device, and the programs made of them. Building it records the layers once
// without data, so that shapes, names and errors are known before anything is allocated.

import type { Batch } from '../data/batch.js'
import { Dataset } from '../data/dataset.js'
import { type Device, type DeviceOptions, device } from '../device.js'
import { allocate, convert, type DType, type TypedArray } from '../dtype.js'
import {
  checkFunction,
  checkInteger,
  checkOneOf,
  checkOptions,
  checkText,
  expected,
  GradlineError,
  nearest,
} from '../errors.js'
import { grad } from '../grad.js'
import { Graph, recordInto } from '../graph.js'
import { type LoadOptions, loadWeights, saveWeights, type Weight } from '../io/weights.js'
import { type Entry, type Layer, type Mode, Scope, type Step, type Watch, Weights, walk } from '../layers/layer.js'
import type { Loss } from '../losses/loss.js'
import { read, readStep, write } from '../memory.js'
import { assign } from '../ops/move.js'
import { wildcard } from '../optimizers/groups.js'
import { type Optimizer, Updater, viewOf } from '../optimizers/optimizer.js'
import { type InputSpec, type InputSpecs, type Outputs, type Program, type ProgramMemory, record } from '../program.js'
import { type Shape, showShape } from '../shape.js'
import { stepState } from '../step.js'
import { Tensor, type Variable } from '../tensor.js'
import { flatten, rebuild } from '../tree.js'
import { drawBatch } from './batches.js'
import type { Measures } from './events.js'
import { measureBatches } from './feeds.js'
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
import { Measuring, type MetricChoice, metricsOf } from './metrics.js'
import { batchesOf, type SampleBatch } from './samples.js'
import { Batches, type BatchSource, isBatchSource } from './source.js'
import { summarize } from './summary.js'

const modelNumerics = ['fp32', 'fast', 'tf32', 'bf16'] as const
/** Classes of programs that train: all but fp64, whose weights another program could not read. */
export type ModelNumerics = (typeof modelNumerics)[number]

export interface ModelOptions extends Omit<DeviceOptions, 'numerics'> {
  /**
   * Of the model's programs: 'fp32'; 'fast', which may compute convolutions with fewer multiplications for errors bounded by
   * the largest numbers a result is made of instead of element by element; 'tf32' or 'bf16', which may round the operands of
   * products and convolutions to 11 or 8 significant bits for the tensor cores of a card, while weights, sums and updates keep
   * 32 bits (docs/architecture.md, "Numbers"). Or of the device, as `device` takes it: 'portable', or 'native'. For both at
   * once: device('cpu', { numerics: 'portable' }). Default 'fp32', 'native'.
   */
  numerics?: ModelNumerics | 'native' | 'portable'
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

// Batch sizes for which predict() keeps a program with its memory; a server is asked for any number of rows.
const maxPredictors = 16

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

export class Model {
  readonly name: string
  /** What it is given per sample, by name; `x` for a list of layers. */
  readonly inputs: Readonly<Record<string, ModelInput>>
  readonly seed: number
  readonly device: Device
  /** Class of its programs. */
  readonly numerics: ModelNumerics
  readonly #layers: readonly Layer[]
  readonly #fn: GraphFunction | undefined
  readonly #weights = new Weights()
  readonly #steps: readonly Step[]
  readonly #outputs: Tensor | Named
  /** Programs kept for predict(), by rows, in the order of their last use. */
  readonly #predictors = new Map<number, Program<InputSpecs, Tensor>>()
  readonly #updaters = new WeakMap<Optimizer, Updater>()
  #initialized: Promise<void> | undefined
  #training = false
  #closed = false

  constructor(
    inputs: InputSpec | Readonly<Record<string, InputSpec>>,
    layers: readonly Layer[] | GraphFunction,
    options: ModelOptions,
  ) {
    checkOptions('model', options, ['seed', 'device', 'name', 'threads', 'isa', 'numerics'])
    const fn = typeof layers === 'function' ? layers : undefined
    if (!fn && (!Array.isArray(layers) || layers.length === 0)) throw expected('at least one layer', 'model', layers)
    if (options.name !== undefined && typeof options.name !== 'string') throw expected('text', 'name', options.name)
    this.name = options.name ?? 'model'
    this.inputs = fn
      ? toInputs(inputs as Readonly<Record<string, InputSpec>>)
      : { x: toInput('input shape', inputs as InputSpec) }
    this.seed = checkInteger('seed', options.seed ?? 0, { min: 0 })
    const { threads, isa, numerics = 'fp32' } = options
    checkOneOf('numerics', numerics, [...modelNumerics, 'native', 'portable'] as const)
    this.numerics = numerics === 'native' || numerics === 'portable' ? 'fp32' : numerics
    this.device = device(options.device, {
      ...(threads === undefined ? {} : { threads }),
      ...(isa === undefined ? {} : { isa }),
      ...(numerics === 'native' || numerics === 'portable' ? { numerics } : {}),
    })
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

  /** Parameters that training changes: all but the frozen ones. */
  get trainable(): Variable[] {
    return this.params.filter(({ name }) => !this.#weights.frozen.has(name))
  }

  /** False for a model written as a function. */
  get isLayered(): boolean {
    return this.#fn === undefined
  }

  /** The layers it was made of. */
  get layers(): readonly Layer[] {
    if (this.isLayered) return this.#layers
    throw new GradlineError('state', `${this.name} is made of a function, and so has no list of layers`)
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

  /** Applies the layers inside a recording: x [n, ...inputShape] gives [n, ...outputShape]. `watch` sees every layer. */
  apply(x: Tensor, mode: Mode, watch?: Watch): Tensor {
    const inputs = this.#fn ? (x as unknown as Named) : { x }
    checkOneOf('mode of apply', mode, ['train', 'predict'])
    if (watch !== undefined) checkFunction('watch of apply', watch)
    checkInputs(this.name, this.inputs, inputs)
    return this.#run(inputs, new Scope(this.#weights, mode, '', [], watch)) as Tensor
  }

  /** Records a program of this model on its device. */
  program<O extends Outputs, I extends InputSpecs = Record<string, never>>(
    name: string,
    fn: (inputs: { readonly [K in keyof I]: Tensor }) => O,
    step?: Variable,
    inputs: I = {} as I,
  ): Program<I, O> {
    this.#checkOpen()
    checkText('name of a program', name)
    return record(fn, inputs, {
      name: `${this.name} ${name}`,
      device: this.device,
      numerics: this.numerics,
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
          const values: unknown = located(`the initializer of ${path}`, () => initializer(variable.shape, fans))
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

  /**
   * Trains on a data set, which becomes memory of the device, or on batches that are made while it trains: anything to
   * iterate over that gives { x, y } or [x, y], such as a list or an async generator, or a function that gives it anew for each
   * epoch. See FitOptions. Gives a run that can be awaited or iterated over.
   *
   *     await net.fit(async function* () { for (const file of files) yield await decode(file) }, options)
   *
   * PyTorch: a loop over a DataLoader; Keras: fit() of a generator or a tf.data.Dataset
   */
  fit(data: Dataset | BatchSource<Batch>, options: FitOptions): Fit {
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

  /** Loss and metrics over a whole data set, or all batches of a source, the last smaller batch included. */
  async evaluate(data: Dataset | BatchSource<Batch>, given: EvaluateOptions): Promise<Measures> {
    const options = this.#fn ? namedOptions(given) : given
    checkOptions('evaluate', options, ['loss', 'metrics', 'batchSize', 'signal'])
    if (typeof options?.loss !== 'function') throw expected('a loss such as crossEntropy()', 'loss', options?.loss)
    const { signal } = options
    if (signal !== undefined && !(signal instanceof AbortSignal)) throw expected('an AbortSignal', 'signal', signal)
    const measuring = new Measuring(options.loss, metricsOf(options.loss, options.metrics))
    if (isBatchSource(data)) {
      if (options.batchSize !== undefined) {
        throw expected('no batchSize, since batches come as the source makes them,', 'batchSize', options.batchSize)
      }
      this.checkLoss('data', options.loss)
      const batches = new Batches(data, { what: 'data', model: this, epochs: 1 })
      await this.initialize()
      await measureBatches(this, batches, measuring, stepState('evaluate', { seed: this.seed }), signal)
      if (signal?.aborted) {
        throw new GradlineError('aborted', 'Evaluation was stopped by its signal', { cause: signal.reason })
      }
      return measuring.result()
    }
    this.checkData('data', data, options.loss)
    const batch = Math.min(checkInteger('batchSize', options.batchSize ?? 256, { min: 1 }), data.length)
    await this.initialize()
    const step = stepState('evaluate', { seed: this.seed })
    for (const [size, steps] of [
      [batch, Math.floor(data.length / batch)],
      [data.length % batch, 1],
    ] as const) {
      if (size === 0) continue
      const program = this.program(
        `evaluate ${size}`,
        () => {
          const { inputs, labels } = drawBatch(data, size, 'none', this.device, step)
          return measuring.record(this.apply(inputs, 'predict'), labels as Tensor)
        },
        step,
      )
      const stop = (): void => program.stop()
      signal?.addEventListener('abort', stop)
      try {
        const results = await program.runMany(signal?.aborted ? 0 : steps)
        if (signal?.aborted) {
          throw new GradlineError('aborted', 'Evaluation was stopped by its signal', { cause: signal.reason })
        }
        measuring.add(results, size)
      } finally {
        signal?.removeEventListener('abort', stop)
        program.close()
      }
    }
    return measuring.result()
  }

  /**
   * Outputs [n, ...outputShape] for samples given as a data set, an eager tensor [n, ...inputShape], or their elements
   * row by row.
   */
  async predict(samples: Samples, options: { batchSize?: number } = {}): Promise<Tensor> {
    checkOptions('predict', options, ['batchSize'])
    let leaves: { size: number; shape: Shape; dtype: DType; data: TypedArray }[] = []
    for (const { inputs, row, count, rows } of this.batches(samples, options.batchSize)) {
      await this.initialize()
      if (row === 0) {
        leaves = flatten(this.#outputs, isTensor, 'tensors').map(({ leaf: { size, shape, dtype } }) => {
          return { size, shape: [rows, ...shape.slice(1)], dtype, data: allocate(dtype, size * rows) }
        })
      }
      const results = flatten(await this.#predictor(count).run(inputs), isTensor, 'tensors')
      leaves.forEach(({ data, size }, i) => {
        data.set((results[i] as { leaf: Tensor }).leaf.data, row * size)
      })
    }
    const tensors = leaves.map(({ shape, dtype, data }) => new Tensor(shape, dtype, { data }))
    return rebuild(this.#outputs, isTensor, tensors) as Tensor
  }

  /** Samples as predict() takes them, cut into batches of scaled numbers; the last one is smaller. Default 256 rows. */
  batches(samples: Samples, batchSize?: number): Generator<SampleBatch> {
    const named: unknown = this.#fn ? samples : { x: samples }
    return batchesOf(this.name, this.inputs, named as Readonly<Record<string, Samples>>, batchSize)
  }

  /** Records a program that is given a batch of samples, by input. */
  batchProgram<O extends Outputs>(
    name: string,
    batch: number,
    fn: (x: Tensor) => O,
    step?: Variable,
  ): Program<InputSpecs, O> {
    checkText('name of a program', name)
    checkInteger('batch of a program', batch, { min: 1 })
    checkFunction(`the program ${name}`, fn, 'a function of tensors')
    const specs = Object.entries(this.inputs).map(([input, { shape, dtype }]) => [
      input,
      { shape: [batch, ...shape], dtype },
    ])
    return this.program(
      name,
      (inputs) => fn(this.#fn ? (inputs as unknown as Tensor) : (inputs.x as Tensor)),
      step,
      Object.fromEntries(specs) as InputSpecs,
    )
  }

  #predictor(batch: number): Program<InputSpecs, Tensor> {
    this.#checkOpen()
    const known = this.#predictors.get(batch)
    const program = known ?? this.batchProgram(`predict ${batch}`, batch, (x) => this.apply(x, 'predict'))
    // The program used last is last; of too many the first one goes, and what it still runs is finished.
    this.#predictors.delete(batch)
    this.#predictors.set(batch, program)
    const [oldest] = this.#predictors
    if (oldest && this.#predictors.size > maxPredictors) {
      this.#predictors.delete(oldest[0])
      oldest[1].close()
    }
    return program
  }

  /** Layers, shapes and parameters as a table. */
  summary(): string {
    return summarize(this.name, this.inputs, this.#steps, this.#weights)
  }

  /** Bytes a training program would need, by use, exact and before anything is allocated. The data set comes on top. */
  memory(options: { batchSize: number; optimizer: Optimizer }): ProgramMemory {
    const { batchSize, optimizer } = checkOptions('memory', options, ['batchSize', 'optimizer'])
    checkInteger('batchSize', batchSize, { min: 1 })
    const updater = new Updater(optimizer as Optimizer)
    const fn = (x: Tensor): Outputs => {
      const outputs: Tensor | Named = this.apply(x, 'train')
      updater.apply(this.trainable, grad(meanOf(outputs), this.trainable))
      return {}
    }
    return this.batchProgram('memory', batchSize as number, fn, updater.step).memory()
  }

  /** Copies of all parameters and state, by path. */
  async weights(): Promise<Map<string, { shape: Shape; data: Float32Array }>> {
    await this.initialize()
    return new Map(
      this.#entries().map(({ path, variable }) => [path, { shape: variable.shape, data: valuesOf(variable) }]),
    )
  }

  /** Sets the named parameters and states; the others keep their values. Nothing is changed when a name or size is wrong. */
  async setWeights(weights: ReadonlyMap<string, { data: ArrayLike<number> }>): Promise<void> {
    if (!(weights instanceof Map)) throw expected('a Map of { data } by path', 'setWeights', weights)
    const chosen = [...weights].map(([path, values]: [string, { data: ArrayLike<number> } | undefined]) => {
      const entry = this.#weights.entries.get(path)
      if (!entry) throw this.#noEntry(path)
      const data = values?.data
      if (typeof data?.length !== 'number') throw expected('{ data } with its elements', path, values)
      if (data.length !== entry.variable.size) {
        throw expected(`${entry.variable.size} elements ${showShape(entry.variable.shape)}`, path, data.length, {
          code: 'shape',
        })
      }
      return { variable: entry.variable, data: convert(data, 'float32') }
    })
    await this.initialize()
    for (const { variable, data } of chosen) write(variable, data, this.device)
  }

  /**
   * Keeps what `pattern` names as it is in training: such parameters are left out of gradient and update and stay the same
   * bit for bit. A text names a layer (`dense1`, `block1`) or one entry (`dense1.weight`), `*` standing for any characters;
   * a regular expression is searched for in the paths of entries. A frozen batch norm keeps its running statistics too and
   * normalizes by them, as in prediction (Keras does so; in PyTorch it takes module.eval() besides requires_grad = False).
   * Holds from the next fit() on. Gives the paths that it matched; none is an error.
   */
  freeze(pattern: string | RegExp): string[] {
    const paths = this.#matching(pattern)
    for (const path of paths) this.#weights.frozen.add(path)
    return paths
  }

  /** Takes freeze() back for what `pattern` names. */
  unfreeze(pattern: string | RegExp = '*'): string[] {
    const paths = this.#matching(pattern)
    for (const path of paths) this.#weights.frozen.delete(path)
    return paths
  }

  #matching(pattern: string | RegExp): string[] {
    if (this.#training) throw new GradlineError('state', `${this.name} is training; freeze its layers before or after`)
    if (typeof pattern !== 'string' && !(pattern instanceof RegExp)) {
      throw expected('a text or a regular expression', 'pattern', pattern)
    }
    const paths = [...this.#weights.entries.keys()].filter(naming(pattern))
    if (paths.length === 0) throw this.#noEntry(String(pattern))
    return paths
  }

  #noEntry(name: string): GradlineError {
    const paths = [...this.#weights.entries.keys()]
    const layers = paths.map((path) => path.slice(0, path.lastIndexOf('.')))
    const near = nearest(name, name.includes('.') ? paths : layers)
    return new GradlineError('argument', `Expected a parameter or state of ${this.name} but received "${name}"`, {
      fix: near === undefined ? `It has ${paths.slice(0, 6).join(', ')}` : `Did you mean "${near}"?`,
    })
  }

  /** Writes parameters and state as safetensors, the file whole or not at all. */
  async save(file: string): Promise<void> {
    const weights = await this.weights()
    await saveWeights(
      file,
      [...weights].map(([path, { shape, data }]): Weight => ({ path, shape, data })),
    )
  }

  /**
   * Reads what save() wrote and gives the paths it has set. Names and shapes must be exactly those of the model, else
   * nothing is changed; for a file of another model, `map` translates names and `strict: false` takes what both have.
   */
  async load(file: string, options: LoadOptions = {}): Promise<string[]> {
    checkOptions('load', options, ['map', 'strict'])
    if (this.#training)
      throw new GradlineError('state', `${this.name} is training and cannot be loaded`, { fix: 'Abort it first' })
    const wanted = this.#entries().map(({ path, variable }) => ({ path, shape: variable.shape }))
    const weights = await loadWeights(file, wanted, options)
    await this.setWeights(new Map(weights.map((weight) => [weight.path, weight])))
    return weights.map(({ path }) => path)
  }

  /** All weights and state, to be given back with restore(). */
  async snapshot(): Promise<Snapshot> {
    await this.initialize()
    return { params: valuesOf(this.#weights.params.flat()), states: valuesOf(this.#weights.states.flat()) }
  }

  async restore(snapshot: Snapshot): Promise<void> {
    await this.initialize()
    const { params, states } = snapshot ?? {}
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

  /**
   * The moving average of the parameters that an optimizer with the option ema keeps, by path. Parameters it never moves
   * have their own value.
   * @throws when the optimizer keeps none, or has not updated this model yet.
   */
  averagedWeights(optimizer: Optimizer): Map<string, { shape: Shape; data: Float32Array }> {
    const average = this.#averageOf(optimizer)
    return new Map(
      this.params.map((variable) => [
        variable.name,
        { shape: variable.shape, data: valuesOf(viewOf(average, variable)) },
      ]),
    )
  }

  /**
   * Runs `fn` while the model has its averaged parameters (state such as running statistics stays), then gives it back its
   * own, bit for bit, also when `fn` fails: `await net.useAverage(optimizer, () => net.evaluate(...))`.
   */
  async useAverage<T>(optimizer: Optimizer, fn: () => T | Promise<T>): Promise<T> {
    this.#checkOpen()
    if (this.#training) throw new GradlineError('state', `${this.name} is training; await fit() before useAverage()`)
    const average = valuesOf(this.#averageOf(optimizer))
    const flat = this.#weights.params.flat()
    const own = valuesOf(flat)
    write(flat, average, this.device)
    try {
      return await fn()
    } finally {
      write(flat, own, this.device)
    }
  }

  #averageOf(optimizer: Optimizer): Variable {
    const updater = this.#updaters.get(optimizer)
    const average = updater?.averages.get(this.#weights.params)
    if (!updater || !average || readStep(updater.step).updates === 0) {
      throw new GradlineError('state', `${this.name} has no averaged weights of this ${optimizer?.kind}`, {
        fix: 'Give the optimizer the option ema, e.g. { decay: 0.999 }, and train with it first',
      })
    }
    return average
  }

  /** Frees the programs of the model. Using it afterwards is an error. */
  close(): void {
    if (this.#training)
      throw new GradlineError('state', `${this.name} is training and cannot be closed`, { fix: 'Abort it first' })
    this.#closed = true
    for (const program of this.#predictors.values()) program.close()
    this.#predictors.clear()
  }

  /** Checks that a loss can be trained on. */
  checkLoss(what: string, used: Loss): void {
    if (used.reduction !== 'none') return
    throw expected("a loss with reduction 'mean' or 'sum'", what, `${used.kind} with reduction 'none'`)
  }

  /** Checks that a data set can be fed to this model and this loss. */
  checkData(what: string, data: Dataset, used: Loss): void {
    if (this.#fn) {
      checkJoined(what, data, this.name, this.inputs)
      return
    }
    if (!(data instanceof Dataset)) {
      throw expected('a data set made by dataset(), or batches to iterate over', what, data)
    }
    checkFunction('loss', used, 'a loss such as crossEntropy()')
    checkPart(what, data, 'x', this.name, this.inputs.x as ModelInput)
    if (!data.labels) throw expected('labels', what, null, { where: data.name })
    this.checkLoss(what, used)
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

// What a text names is an entry or a layer around it.
function naming(pattern: string | RegExp): (path: string) => boolean {
  if (typeof pattern !== 'string') return (path) => path.search(pattern) >= 0
  const matches = wildcard(pattern)
  const around = (path: string): string[] => path.split('.').map((_, i, parts) => parts.slice(0, i + 1).join('.'))
  return (path) => around(path).some(matches)
}

/** Checks the model of a tool that goes through its layers. */
export function checkLayered(what: string, net: unknown): void {
  if (net instanceof Model && net.isLayered) return
  const received = net instanceof Model ? `${net.name}, which is made of a function` : net
  throw expected('a model made of a list of layers', what, received)
}

// Puts the place into an error of the library.
function located<T>(where: string, body: () => T): T {
  try {
    return body()
  } catch (error) {
    if (!(error instanceof GradlineError)) throw error
    throw new GradlineError(error.code, error.message, { where, cause: error })
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
