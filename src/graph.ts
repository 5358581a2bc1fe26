// Recording: a graph is the list of op applications in the order they were written. `apply` is the one junction through
// which every op passes, into the graph being recorded or, outside a recording, into the eager context that the machine
// room installs. No data exists here and nothing runs.

import { GradlineError } from './errors.js'
import { type Attrs, checkTensors, type Op } from './op.js'
import type { Shape } from './shape.js'
import { stepState } from './step.js'
import { type Region, Tensor, Variable } from './tensor.js'

/** Where an op was written: the path of the layer and the user's file and line. */
export interface Site {
  readonly path: string
  readonly line: string
}

/** An op fused onto the result of a node before it is stored. */
export interface Epilogue {
  readonly op: Op
  readonly operand: Tensor | undefined
  readonly attr: number
}

/** One application of an op. */
export interface Node {
  readonly op: Op
  readonly inputs: readonly Tensor[]
  readonly outputs: readonly Tensor[]
  readonly attrs: Attrs
  readonly site: Site
  readonly epilogues: readonly Epilogue[]
  /** Changes memory that outlives the program; such nodes keep their written order and are never dropped. */
  readonly effect: boolean
}

export interface Context {
  apply(op: Op, inputs: readonly Tensor[], attrs: Attrs, asked: Shape): readonly Tensor[]
}

/** What a flat update does differently for one parameter. */
export interface UpdateSettings {
  /** Factor on the learning rate. */
  readonly rate: number
  /** Decoupled decay: rate * decay * w is subtracted from the weights w beside the step itself. */
  readonly decay: number
  /** Penalty l1 * sum |w|: its gradient l1 * sign(w) is added to the clipped gradient. */
  readonly l1: number
  /** Penalty l2 / 2 * sum w^2: its gradient l2 * w is added to the clipped gradient. */
  readonly l2: number
}

/** A gradient, the variable it belongs to, and how that variable is updated. */
export interface GradientPart {
  readonly variable: Variable
  readonly gradient: Tensor
  readonly settings: UpdateSettings
}

/** Gradients that must stand side by side, at the places their parameters have in `region`, when `flat` is read. */
export interface GradientBuffer {
  readonly region: Region
  readonly flat: Tensor
  readonly parts: readonly GradientPart[]
}

export class Graph implements Context {
  readonly nodes: Node[] = []
  readonly inputs: { name: string; tensor: Tensor }[] = []
  readonly gradientBuffers: GradientBuffer[] = []
  /** The step state of random numbers, batches and optimizers that do not bring their own. */
  readonly step: Variable
  readonly #order = new Map<Node, number>()
  readonly #steps = new Map<Variable, { batch: number; samples: number }>()
  readonly #assigned = new Map<Variable, number>()
  readonly #path: string[] = []
  #streams = 0

  constructor(step: Variable = stepState()) {
    this.step = step
  }

  apply(op: Op, inputs: readonly Tensor[], attrs: Attrs, asked: Shape): readonly Tensor[] {
    for (const input of inputs) this.claim(op.name, input)
    const node: { -readonly [K in keyof Node]: Node[K] } = {
      op,
      inputs,
      attrs,
      site: this.#site(),
      outputs: [],
      epilogues: [],
      effect: op.effect !== undefined,
    }
    node.outputs = op.effect
      ? op.effect.map((i) => inputs[i] as Tensor)
      : op.shape(inputs, attrs, asked).map(({ shape, dtype }) => new Tensor(shape, dtype, { node }))
    if (op.effect) op.shape(inputs, attrs, asked)
    this.#push(node)
    return node.outputs
  }

  input(name: string, tensor: Tensor): Tensor {
    this.inputs.push({ name, tensor })
    return tensor
  }

  /** Records `variable = value`, in written order: ops recorded later read the new value. */
  assign(copy: Op, variable: Variable, value: Tensor): void {
    this.claim(copy.name, value)
    this.#push({
      op: copy,
      inputs: [value],
      outputs: [variable],
      attrs: {},
      site: this.#site(),
      epilogues: [],
      effect: true,
    })
  }

  /** True when `variable` got a new value after `node` was recorded. */
  assignedSince(variable: Variable, node: Node): boolean {
    return (this.#assigned.get(variable) ?? -1) > (this.#order.get(node) ?? 0)
  }

  /** A step state used by this program: it is advanced once, before anything else, in every step. */
  useStep(state: Variable = this.step): Variable {
    if (!this.#steps.has(state)) this.#steps.set(state, { batch: 0, samples: 0 })
    return state
  }

  /** Makes each step hand out the next `batch` of `samples` rows. One data set per step state. */
  useRows(state: Variable, batch: number, samples: number): void {
    const rows = this.#steps.get(this.useStep(state)) as { batch: number; samples: number }
    if (rows.samples !== 0 && (rows.samples !== samples || rows.batch !== batch)) {
      throw new GradlineError(
        'recording',
        `Expected one data set per step state but received batches of ${rows.batch} of ${rows.samples} ` +
          `and of ${batch} of ${samples} rows`,
      )
    }
    rows.batch = batch
    rows.samples = samples
  }

  get steps(): ReadonlyMap<Variable, { readonly batch: number; readonly samples: number }> {
    return this.#steps
  }

  /** Number of a new random stream; counts up in the order of recording, so it is the same for every batch size. */
  nextStream(): number {
    return this.#streams++
  }

  /** Names the layer that is being recorded while `body` runs. */
  inLayer<T>(name: string, body: () => T): T {
    this.#path.push(name)
    try {
      return body()
    } finally {
      this.#path.pop()
    }
  }

  #site(): Site {
    return { path: this.#path.join('.'), line: userLine() }
  }

  #push(node: Node): void {
    if (node.effect) {
      for (const output of node.outputs) this.#assigned.set(output as Variable, this.nodes.length)
    }
    this.#order.set(node, this.nodes.length)
    this.nodes.push(node)
  }

  /** Checks that a value belongs to this recording. `user` is who is given it, for messages. */
  claim(user: string, input: Tensor): void {
    if (input instanceof Variable || this.inputs.some(({ tensor }) => tensor === input)) return
    if (this.gradientBuffers.some(({ flat }) => flat === input)) return
    if (input.node && this.#order.has(input.node)) return
    if (!input.isEager) {
      throw new GradlineError(
        'recording',
        `The ${input} given to ${user} belongs to another recording. Keep what must outlive a program in a variable`,
      )
    }
    throw new GradlineError(
      'recording',
      `Expected a value of the program being recorded for ${user} but received an eager tensor, whose numbers would ` +
        'be frozen into the program. Pass it as an input, or keep it in a variable',
    )
  }
}

// The first stack frame outside the library; '' when there is none.
function userLine(): string {
  const limit = Error.stackTraceLimit
  Error.stackTraceLimit = 40
  const stack = new Error().stack ?? ''
  Error.stackTraceLimit = limit
  for (const line of stack.split('\n').slice(1)) {
    const place = /\(?((?:file:\/\/)?[^\s()]+):(\d+):\d+\)?$/.exec(line)
    const file = place?.[1]
    if (!file || file.startsWith('node:') || file.includes('/node_modules/') || file.includes(libraryFolder)) continue
    return `${file.slice(file.lastIndexOf('/') + 1)}:${place[2]}`
  }
  return ''
}

// Without the scheme, which some stack frames lack.
const libraryFolder = new URL('.', import.meta.url).pathname

let recordingNow: Graph | undefined
let eager: Context | undefined

/** Applies an op: recorded when a program is being recorded, else run at once. */
export function apply(op: Op, inputs: readonly Tensor[], attrs: Attrs = {}, asked: Shape = []): readonly Tensor[] {
  checkTensors(op.name, ...inputs)
  const context = recordingNow ?? eager
  if (!context) throw new GradlineError('state', `No device is ready to run ${op.name} outside a recording`)
  return context.apply(op, inputs, attrs, asked)
}

/** The first output of `apply`. */
export function apply1(op: Op, inputs: readonly Tensor[], attrs: Attrs = {}, asked: Shape = []): Tensor {
  return apply(op, inputs, attrs, asked)[0] as Tensor
}

/** The graph being recorded. Throws outside a recording. */
export function currentGraph(what: string): Graph {
  if (!recordingNow) throw new GradlineError('recording', `${what} is only possible inside record()`)
  return recordingNow
}

/** Runs `body` with `graph` as the target of every op. */
export function recordInto<T>(graph: Graph, body: () => T): T {
  const outer = recordingNow
  recordingNow = graph
  try {
    return body()
  } finally {
    recordingNow = outer
  }
}

/** Installs what runs ops outside a recording. */
export function setEagerContext(context: Context): void {
  eager = context
}
