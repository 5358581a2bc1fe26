// A program: what a recorded function became, with fixed places in memory, ready to run any number of steps in one call.
// record -> passes -> plan -> encode -> load, each stage visible through the methods below.

import { type Device, device } from './device.js'
import { allocate, bytesOf, bytesView, convert, type DType, dtypes, type Numerics, numericsClasses } from './dtype.js'
import { type Encoded, encode, placeOf } from './encode.js'
import { checkFunction, checkInteger, checkOneOf, checkOptions, checkText, expected, GradlineError } from './errors.js'
import { Graph, recordInto } from './graph.js'
import { type Lowered, lower } from './lower.js'
import { hasMemory, releaseMemory, storageOf } from './memory.js'
import { addon, type NativeFailure, type NativeProgram, type NativeStorage, translate, translated } from './native.js'
import { optimize, type PassName } from './passes/index.js'
import { type MemoryPlan, type PlanMode, planMemory } from './plan.js'
import { printProgram } from './print.js'
import { Profile } from './profile.js'
import { checkShape, type Shape, showShape, sizeOf } from './shape.js'
import { stepState } from './step.js'
import { isSource, Pump, type Source } from './stream.js'
import { type Region, Tensor, type Variable } from './tensor.js'
import { flatten, rebuild, type Tree } from './tree.js'

/** A shape of floats, or a shape with an element type. */
export type InputSpec = Shape | { readonly shape: Shape; readonly dtype: DType }
export type InputSpecs = Readonly<Record<string, InputSpec>>
/** What a step is given for its inputs: the elements of each, row by row. */
export type InputData<I extends InputSpecs> = { readonly [K in keyof I]: ArrayLike<number> }
/** What a recorded function may return: a tensor, or arrays and objects of tensors. */
export type Outputs = Tree<Tensor>

export interface ProgramOptions {
  /** Name in the printout. Default 'program'. */
  name?: string
  /** Default 'cpu'. */
  device?: string | Device
  /** Step state of random numbers and batches. Default: one of its own. */
  step?: Variable
  /** Seed of the program's own step state. Default 0. */
  seed?: number
  /**
   * 'fp32': errors are bounded element by element. 'fast': 32 bits too, but convolutions may be computed with fewer
   * multiplications, so that errors are bounded by the largest numbers a result is made of; device 'cpu' only, others take
   * it for 'fp32'. 'tf32' and 'bf16': operands of matmul, conv2d and their gradients may be rounded to 11 or 8 significant
   * bits before they are multiplied, for the tensor cores of a card; sums, storage and everything else stay 32 bits wide, and
   * 'cpu' and 'ref' compute as in 'fp32'. 'fp64': double precision, on the 'ref' device only. Default 'fp32'.
   */
  numerics?: Numerics
  /** 'none' gives each value its own memory, 'packed' as little as there can be. Default 'packed', on a card 'apart': between the two. */
  plan?: PlanMode
  /** Passes to leave out. */
  without?: readonly PassName[]
}

const isTensor = (value: unknown): value is Tensor => value instanceof Tensor
const maxSteps = 2 ** 31
const maxResultBytes = 2 ** 30 // of a run, in native code too
const noTensors = 'tensors, or arrays and objects of tensors'

/**
 * Records what `fn` does with tensors that stand for `inputs` and makes a program of it. `fn` runs once, with no data;
 * what it returns is what every step returns.
 * @throws when an op is given shapes that do not fit, or a value is read while recording.
 */
export function record<I extends InputSpecs, O extends Outputs>(
  fn: (inputs: { readonly [K in keyof I]: Tensor }) => O,
  inputs: I = {} as I,
  options: ProgramOptions = {},
): Program<I, O> {
  checkOptions('record', options, ['name', 'device', 'step', 'seed', 'numerics', 'plan', 'without'])
  checkFunction('record', fn, 'a function of tensors')
  if (typeof inputs !== 'object' || inputs === null) throw expected('shapes by name', 'the inputs of record', inputs)
  if (options.name !== undefined) checkText('name of record', options.name)
  if (options.step && options.seed !== undefined) throw expected('either step or seed', 'record', options)
  const seed = checkInteger('seed', options.seed ?? 0, { min: 0 })
  const graph = new Graph(options.step ?? stepState('step', { seed }))
  const tensors = Object.fromEntries(
    Object.entries(inputs).map(([name, spec]) => {
      if (typeof spec !== 'object' || spec === null)
        throw expected('a shape or { shape, dtype }', `input ${name}`, spec)
      const { shape, dtype } = 'shape' in spec ? spec : { shape: spec, dtype: 'float32' as const }
      checkOneOf(`element type of input ${name}`, dtype, dtypes)
      return [name, graph.input(name, new Tensor(checkShape(`shape of input ${name}`, shape), dtype))]
    }),
  )
  const returned: unknown = recordInto(graph, () => fn(tensors as { [K in keyof I]: Tensor }))
  if (returned instanceof Promise) throw expected('a function that returns its tensors at once', 'record', returned)
  return new Program<I, O>(graph, (returned ?? {}) as O, options)
}

export interface RunOptions {
  /**
   * This run goes on where the one queued before it ends: when that one failed it does nothing and gives no results.
   * Default false.
   */
  continues?: boolean
}

export interface PrintOptions {
  /** Times of this program's ops, from profile(). */
  profile?: Profile
}

/** Bytes a program needs, by use, exact before anything is allocated. */
export interface ProgramMemory {
  /** Parameters, optimizer state, other state, data: shared with other programs. */
  readonly param: number
  readonly opt: number
  readonly state: number
  readonly step: number
  readonly data: number
  /** Owned by the program. */
  readonly grad: number
  readonly act: number
  readonly input: number
  readonly metric: number
  readonly workspace: number
  readonly total: number
}

export class Program<I extends InputSpecs = InputSpecs, O extends Outputs = Outputs> {
  readonly name: string
  readonly device: Device
  readonly numerics: Numerics
  /** Step state that the program uses by default. */
  readonly step: Variable
  readonly #returned: O
  readonly #lowered: Lowered
  readonly #memory: MemoryPlan
  readonly #encoded: Encoded
  readonly #leaves: readonly { readonly offset: number; readonly shape: Shape; readonly dtype: DType }[]
  #native: NativeProgram | undefined
  readonly #pumps = new Set<{ stop(): void }>()
  #closed = false

  constructor(graph: Graph, returned: O, options: ProgramOptions) {
    this.name = options.name ?? 'program'
    this.device = device(options.device)
    this.numerics = checkOneOf('numerics', options.numerics ?? 'fp32', numericsClasses)
    if (this.numerics === 'fp64' && this.device.name !== 'ref') {
      throw expected("the device 'ref'", 'a program of numerics fp64', this.device.name)
    }
    this.step = graph.step
    this.#returned = returned
    const outputs = flatten(returned, isTensor, noTensors)
    for (const { path, leaf } of outputs) graph.claim(path === '' ? 'the result' : `the result ${path}`, leaf)
    this.#lowered = optimize(lower(graph, outputs), options.without)
    const usual = this.device.name.startsWith('cuda') ? 'apart' : 'packed'
    const plan = checkOneOf('plan', options.plan ?? usual, ['packed', 'apart', 'none'] as const)
    this.#memory = planMemory(this.#lowered, this.numerics, plan)
    this.#encoded = encode(this.#lowered, this.#memory, this.numerics, opcodes())
    this.#leaves = this.#lowered.outputs.map(({ tensor }) => ({
      offset: placeOf(tensor, this.#memory).offset,
      shape: tensor.shape,
      dtype: tensor.dtype,
    }))
  }

  /** Runs one step off the JavaScript thread. Resolves to what the recorded function returned, with data. */
  async run(inputs: InputData<I> = {} as InputData<I>): Promise<O> {
    const native = this.#load()
    const { results } = await this.#settle(() => native.run(1, this.#pack(inputs), false))
    return this.#unpack(results, 0)
  }

  /** Runs one step and waits for it, blocking the JavaScript thread: for scripts, tests and measurements. */
  runSync(inputs: InputData<I> = {} as InputData<I>): O {
    const native = this.#load()
    const { results } = translate(() => native.runSync(1, this.#pack(inputs)))
    return this.#unpack(results, 0)
  }

  /**
   * Runs `steps` steps in one native call. Inputs are the same in each; what should differ between steps is drawn inside
   * (ops.sampleRows, ops.gather) or kept in variables. Results of all steps, newest last; fewer when stopped.
   */
  async runMany(
    steps: number,
    inputs: InputData<I> = {} as InputData<I>,
    options: RunOptions = {},
  ): Promise<Results<O>> {
    checkOptions('runMany', options, ['continues'])
    checkInteger('steps', steps, { min: 0, max: maxSteps })
    const native = this.#load()
    const done = await this.#settle(() => native.run(steps, this.#pack(inputs), options.continues ?? false))
    return this.#results(done, native.resultBytes)
  }

  /** Like runMany, blocking the JavaScript thread. */
  runManySync(steps: number, inputs: InputData<I> = {} as InputData<I>): Results<O> {
    checkInteger('steps', steps, { min: 0, max: maxSteps })
    const native = this.#load()
    const done = translate(() => native.runSync(steps, this.#pack(inputs)))
    return this.#results(done, native.resultBytes)
  }

  /**
   * Runs one step with each batch that a source gives: inputs by name, as `run` takes them. While steps run, the next batch
   * is asked for and copied beside them, at most three are under way, and the JavaScript thread stays free. Gives results of
   * whole steps in order, several at a time. A source that throws ends it with its error behind the steps of the batches
   * before, a failing step behind those before it; leaving the loop early stops at a step boundary and closes the source.
   *
   *     for await (const results of program.stream(batches())) losses.push(...results.series('loss'))
   */
  async *stream(batches: Source<InputData<I>>): AsyncGenerator<Results<O>, void> {
    if (!isSource(batches)) {
      throw expected('something to iterate over that gives inputs', 'stream', batches, {
        fix: typeof batches === 'function' ? 'Call the generator function: stream(batches())' : undefined,
      })
    }
    const native = this.#load()
    const slots = translate(() => native.slots())
    const pump = new Pump(batches, {
      slots,
      put: (inputs, slot, isFirst) => this.#settle(() => native.feed(slot, this.#pack(inputs), !isFirst)),
      stop: () => native.stop(),
    })
    this.#pumps.add(pump)
    try {
      for await (const outcomes of pump.run()) yield this.#joined(outcomes, native.resultBytes)
    } finally {
      this.#pumps.delete(pump)
    }
  }

  /** Ends running and queued runs of this program at the next step boundary; they resolve with the steps done. */
  stop(): void {
    this.#native?.stop()
    for (const pump of this.#pumps) pump.stop()
  }

  /** Frees what the program owns. Running it afterwards is an error; variables are untouched. */
  close(): void {
    this.#closed = true
    this.#native?.release()
    this.#native = undefined
  }

  /**
   * Runs `steps` steps with a clock read behind every op. They are real steps: variables change as in runMany. Ops that
   * share a parallel region otherwise are waited for one by one, so the sum is a little above the time of a step.
   * @param steps Default 50; each op gets the median over them.
   */
  async profile(steps = 50, inputs: InputData<I> = {} as InputData<I>): Promise<Profile> {
    checkInteger('steps', steps, { min: 1, max: maxSteps })
    const native = this.#load()
    const done = await this.#settle(() => native.run(steps, this.#pack(inputs), false, true))
    if (done.steps === 0) throw new GradlineError('state', `The program ${this.name} was stopped before its first step`)
    const { plans, threads } = translate(() => this.device.native.measure(this.#encoded.bytes))
    return new Profile(this.#encoded.nodes, plans, threads, done.steps, done.seconds as Float64Array)
  }

  /** The program as text, one line per op; with a profile of this program, time and share of each. */
  print(options: PrintOptions = {}): string {
    checkOptions('print', options, ['profile'])
    const { profile } = options
    if (profile && profile.rows.length !== this.#encoded.nodes.length) {
      throw expected(`a profile of ${this.name}`, 'print', profile)
    }
    const title = `${this.name}  ${this.numerics}  ${this.#encoded.nodes.length} ops  ${this.device.describe()}`
    const { plans } = translate(() => this.device.native.measure(this.#encoded.bytes))
    return printProgram(title, this.#lowered, this.#memory, this.#encoded, this.numerics, plans, profile)
  }

  /** Bytes the program needs; allocates nothing. */
  memory(): ProgramMemory {
    const { workspace } = translate(() => this.device.native.measure(this.#encoded.bytes))
    const bytes = { param: 0, opt: 0, state: 0, step: 0, data: 0, grad: 0, act: 0, input: 0, metric: 0, workspace }
    for (const region of this.#memory.regions) bytes[region.kind] += region.bytes
    return { ...bytes, total: Object.values(bytes).reduce((sum, b) => sum + b, 0) }
  }

  /** The encoded program, as native code receives it. */
  get bytes(): Uint8Array {
    return this.#encoded.bytes
  }

  #load(): NativeProgram {
    if (this.#closed) throw new GradlineError('state', `The program ${this.name} was closed`)
    if (this.#native) return this.#native
    const results = this.#memory.regions.find(({ kind }) => kind === 'metric')?.bytes ?? 0
    if (results > maxResultBytes) {
      throw new GradlineError(
        'argument',
        `The results of a step of ${this.name} take ${results} bytes, at most 1 GiB come back`,
      )
    }
    // Data that were not on the device yet: they go again where not everything fits.
    const arriving = this.#memory.regions.flatMap(({ kind, external }) =>
      kind === 'data' && external && !hasMemory(external) ? [external] : [],
    )
    try {
      const storages = this.#storages()
      this.#native = translate(() => this.device.native.load(this.#encoded.bytes, storages))
    } catch (error) {
      for (const region of arriving) releaseMemory(region)
      throw this.#tooLarge(error, arriving)
    }
    return this.#native
  }

  // Out of memory with a data set on the way: what it takes, and how to train without it being there.
  #tooLarge(error: unknown, data: readonly Region[]): unknown {
    const isFull = error instanceof GradlineError && (error.cause as NativeFailure | undefined)?.code === 'GL_MEMORY'
    const bytes = data.reduce((sum, region) => sum + region.bytes, 0)
    if (!isFull || bytes === 0) return error
    const names = data.map(({ name, bytes }) => `${name} of ${(bytes / 2 ** 20).toFixed(1)} MiB`).join(' and ')
    return new GradlineError('native', `${names} cannot be held on ${this.device.describe()}: ${error.message}`, {
      fix:
        'Stream it instead, which needs room for a few batches only: fit(function* () { yield { x, y } }, ...) ' +
        'with the rows of one batch at a time',
      cause: error.cause,
    })
  }

  #storages(): (NativeStorage | null)[] {
    return this.#memory.regions.map(({ external }) => {
      if (!external) return null
      const wide = external.variables.find(({ dtype }) => dtype === 'float32')
      if (this.numerics === 'fp64' && wide) {
        throw new GradlineError('state', `A program of numerics fp64 cannot use the float variable ${wide.name}`, {
          fix: 'Pass its value as an input',
        })
      }
      return storageOf(external, this.device)
    })
  }

  async #settle<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run()
    } catch (error) {
      throw translated(error)
    }
  }

  #pack(inputs: InputData<I>): Uint8Array[] {
    const names = this.#lowered.inputs.map(({ name }) => name)
    checkOptions(`the inputs of ${this.name}`, inputs, names)
    return this.#lowered.inputs.map(({ name, tensor }) => {
      const data = (inputs as Record<string, ArrayLike<number>>)[name]
      if (typeof data?.length !== 'number') {
        throw expected(`${tensor.size} elements ${showShape(tensor.shape)}`, `input ${name} of ${this.name}`, data)
      }
      if (data.length !== tensor.size) {
        throw new GradlineError(
          'shape',
          `Expected ${tensor.size} elements ${showShape(tensor.shape)} for input ${name} of ${this.name} ` +
            `but received ${data.length}`,
        )
      }
      return bytesView(convert(data, tensor.dtype, this.numerics))
    })
  }

  // Results of single steps as of one run.
  #joined(outcomes: readonly { results: Uint8Array }[], stride: number): Results<O> {
    const results = new Uint8Array(outcomes.length * stride)
    for (const [step, outcome] of outcomes.entries()) results.set(outcome.results, step * stride)
    return this.#results({ steps: outcomes.length, results }, stride)
  }

  #results({ steps, results }: { steps: number; results: Uint8Array }, stride: number): Results<O> {
    const series = (path: string): Float32Array => {
      const index = this.#lowered.outputs.findIndex((output) => output.path === path)
      const leaf = this.#leaves[index]
      if (!leaf || sizeOf(leaf.shape) !== 1 || leaf.dtype !== 'float32' || this.numerics === 'fp64') {
        throw expected(`a float scalar returned by ${this.name}`, 'series', path)
      }
      const view = new DataView(results.buffer, results.byteOffset, results.byteLength)
      return Float32Array.from({ length: steps }, (_, step) => view.getFloat32(step * stride + leaf.offset, true))
    }
    return new Results(steps, (step) => this.#unpack(results, step * stride), series)
  }

  #unpack(results: Uint8Array, base: number): O {
    const values = this.#leaves.map(({ offset, shape, dtype }) => {
      const data = allocate(dtype, sizeOf(shape), this.numerics)
      const bytes = sizeOf(shape) * bytesOf(dtype, this.numerics)
      bytesView(data).set(results.subarray(base + offset, base + offset + bytes))
      return new Tensor(shape, dtype, { data })
    })
    return rebuild(this.#returned, isTensor, values)
  }
}

/** What the steps of one call returned; a step's tensors are made when asked for. */
export class Results<O extends Outputs> implements Iterable<O> {
  /** Whole steps done. */
  readonly steps: number
  /** A float scalar of every step, by its path in what the recorded function returned ('' if it is all). */
  readonly series: (path: string) => Float32Array
  readonly #at: (step: number) => O

  constructor(steps: number, at: (step: number) => O, series: (path: string) => Float32Array) {
    this.steps = steps
    this.series = series
    this.#at = at
  }

  /** Results of one step, negative from the end. */
  at(step: number): O {
    checkInteger('step', step, { min: -this.steps, max: this.steps - 1 })
    return this.#at(step < 0 ? step + this.steps : step)
  }

  *[Symbol.iterator](): Iterator<O> {
    for (let step = 0; step < this.steps; step++) yield this.#at(step)
  }
}

let codes: ReadonlyMap<string, number> | undefined

function opcodes(): ReadonlyMap<string, number> {
  codes ??= new Map(
    addon()
      .ops()
      .map(({ name }, code) => [name, code]),
  )
  return codes
}
