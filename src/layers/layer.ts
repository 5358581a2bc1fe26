// What a layer is: a function of a tensor and a scope. The scope gives it parameters, state and a name; the layer itself
// holds nothing, so recording it again for another batch size finds the same parameters under the same names.

import { checkFunction, checkOptions, checkText, expected, GradlineError } from '../errors.js'
import { currentGraph } from '../graph.js'
import { type Fans, fansOf, type Initializer } from '../initializers/initializer.js'
import { checkShape, type Shape, sameShape, showShape } from '../shape.js'
import { type ParameterRules, Region, Tensor, type Variable } from '../tensor.js'

/** 'train' updates running statistics and drops units; 'predict' does neither. */
export type Mode = 'train' | 'predict'

/** A layer: called once per recording. Any function of this form is one; `layer` adds a kind and a name. */
export interface Layer {
  (x: Tensor, scope: Scope): Tensor
  /** What the layer is, e.g. 'dense'; numbers it within a model and tells its neighbours what follows. */
  readonly kind?: string
  /** Replaces the numbered name within its model. */
  readonly label?: string | undefined
  /** Layers that this one applies in order, so that neighbours can look inside. */
  readonly inner?: readonly Layer[]
  /** What it was made with, where tools make it again with changes (replaceHead, foldBatchNorm, fuseLinear). */
  readonly options?: object | undefined
}

/** Names a layer function; `label` replaces the numbered name (`dense1`) in parameter paths. */
export function layer(
  kind: string,
  apply: (x: Tensor, scope: Scope) => Tensor,
  label?: string,
  options?: object,
): Layer {
  checkText('the kind of a layer', kind)
  checkFunction(`the layer ${kind}`, apply, 'a function (x, scope) => y')
  if (label !== undefined) checkText(`name of ${kind}`, label)
  return Object.assign((x: Tensor, scope: Scope) => apply(x, scope), { kind, label, options })
}

/** A parameter or state of a model and how its first value is made. */
export interface Entry {
  readonly path: string
  readonly variable: Variable
  readonly initializer: Initializer
  readonly fans: Fans
}

/** All parameters and all state of one model, each side by side in one region. */
export class Weights {
  readonly params = new Region('param', 'parameters')
  readonly states = new Region('state', 'state')
  readonly entries = new Map<string, Entry>()
  /** Paths of entries that training must not change. */
  readonly frozen = new Set<string>()

  /** True for a layer that has state, all of it frozen. */
  keepsState(path: string): boolean {
    const own = this.states.variables.filter(({ name }) => name.slice(0, name.lastIndexOf('.')) === path)
    return own.length > 0 && own.every(({ name }) => this.frozen.has(name))
  }

  obtain(
    region: Region,
    path: string,
    shape: Shape,
    initializer: Initializer,
    fans?: Fans,
    rules: ParameterRules = {},
  ): Variable {
    const known = this.entries.get(path)
    if (!known) {
      if (typeof initializer !== 'function') throw expected('an initializer such as heNormal()', path, initializer)
      const variable = region.add(path, checkShape(`shape of ${path}`, shape), 'float32')
      variable.rules = rules
      this.entries.set(path, { path, variable, initializer, fans: fans ?? fansOf(shape) })
      return variable
    }
    if (!sameShape(known.variable.shape, shape)) {
      throw new GradlineError(
        'shape',
        `Expected ${showShape(known.variable.shape)} for ${path}, as when the model was built, but received ${showShape(shape)}`,
      )
    }
    return known.variable
  }
}

/** What a recording tells of each layer it has applied, inner ones first. */
export interface Applied {
  readonly path: string
  readonly kind: string
  readonly input: Tensor
  readonly output: Tensor
}

/** Sees every layer of a recording; a tensor that it returns takes the place of the layer's output. */
export type Watch = (applied: Applied) => Tensor | undefined

/** Names layers that stand side by side: a label of their own, or kind and number. */
class Names {
  readonly #counts = new Map<string, number>()
  readonly #taken = new Set<string>()

  next(kind: string, label: string | undefined, path: string): string {
    const count = (this.#counts.get(kind) ?? 0) + 1
    this.#counts.set(kind, count)
    const name = label ?? `${kind}${count}`
    if (this.#taken.has(name)) {
      throw expected('a name that no other layer has', path === '' ? name : `${path}.${name}`, name)
    }
    this.#taken.add(name)
    return name
  }
}

/** Kinds and names of the layers of a list. */
export function namesOf(layers: readonly Layer[]): { kind: string; name: string }[] {
  const names = new Names()
  return layers.map((each) => ({ kind: kindOf(each), name: names.next(kindOf(each), each.label, '') }))
}

export class Scope {
  /** A layer whose whole state is frozen, such as batch norm with its running statistics, works as in prediction. */
  readonly mode: Mode
  /** Dotted path of the layer: `block1.dense2`. */
  readonly path: string
  /** Kinds of the layers that come after this one, nearest first. */
  readonly next: readonly string[]
  /** Layers applied in this scope so far, in order. */
  readonly steps: Step[] = []
  readonly watch: Watch | undefined
  readonly #weights: Weights
  readonly #mode: Mode
  readonly #names = new Names()
  readonly #applied = new Map<Layer, string>()

  constructor(weights: Weights, mode: Mode, path = '', next: readonly string[] = [], watch?: Watch) {
    this.#weights = weights
    this.#mode = mode
    this.mode = weights.keepsState(path) ? 'predict' : mode
    this.path = path
    this.next = next
    this.watch = watch
  }

  /** A trained parameter, `path.name`. Fans are read from the shape unless given; `rules` are obeyed by optimizers. */
  param(name: string, shape: Shape, initializer: Initializer, fans?: Fans, rules: ParameterRules = {}): Variable {
    const path = this.#pathOf(checkText('the name of a parameter', name))
    return this.#weights.obtain(this.#weights.params, path, shape, initializer, fans, rules)
  }

  /** A value that outlives the step and is changed by assign(), not by the optimizer; saved with the model. */
  state(name: string, shape: Shape, initializer: Initializer): Variable {
    const path = this.#pathOf(checkText('the name of a state', name))
    return this.#weights.obtain(this.#weights.states, path, shape, initializer)
  }

  /** The scope of a layer inside this one. */
  child(name: string, next: readonly string[] = this.next): Scope {
    return new Scope(this.#weights, this.#mode, this.#pathOf(name), next, this.watch)
  }

  /**
   * Applies a layer, or layers one after the other, to x: for custom layers and models written as a function. Layers are
   * named by kind and number in this scope (dense1, relu1, dense2). The same layer object applied again has the same
   * parameters.
   */
  apply(layers: Layer | readonly Layer[], x: Tensor): Tensor {
    const list = typeof layers === 'function' ? [layers] : layers
    return walk(list, x, this, [], this.#applied).at(-1)?.output ?? x
  }

  /** The name of the next layer in this scope: its label, else kind and number. A name that is taken is an error. */
  nameOf(kind: string, label: string | undefined): string {
    return this.#names.next(kind, label, this.path)
  }

  /** Kind of the activation that follows, looking past layers that keep signs and units; undefined if none does. */
  get following(): string | undefined {
    return this.next.find((kind) => !passedOver.has(kind))
  }

  #pathOf(name: string): string {
    return this.path === '' ? name : `${this.path}.${name}`
  }
}

const passedOver = new Set([
  'batchNorm',
  'layerNorm',
  'groupNorm',
  'rmsNorm',
  'dropout',
  'spatialDropout2d',
  'alphaDropout',
  'gaussianNoise',
  'maxPool2d',
  'avgPool2d',
  'globalAvgPool2d',
  'adaptiveMaxPool2d',
  'adaptiveAvgPool2d',
  'upsample2d',
  'zeroPad2d',
  'flatten',
  'reshape',
])

/** Runs a layer under its name, so that ops and errors carry the path. */
export function applyLayer(applied: Layer, x: Tensor, scope: Scope): Tensor {
  const name = scope.path.slice(scope.path.lastIndexOf('.') + 1)
  const y: unknown = currentGraph('a layer').inLayer(name, () => applied(x, scope))
  if (!(y instanceof Tensor)) throw expected('a tensor', `the result of ${scope.path}`, y)
  return y
}

/**
 * Layers one after the other. Names them by kind and number: dense1, conv2d1, dense2.
 * PyTorch: torch.nn.Sequential; Keras: keras.Sequential
 */
export function sequential(layers: readonly Layer[], options: { name?: string } = {}): Layer {
  checkOptions('sequential', options, ['name'])
  if (!Array.isArray(layers)) throw expected('a list of layers', 'sequential', layers)
  const applied = layer('sequential', (x, scope) => walk(layers, x, scope).at(-1)?.output ?? x, options.name)
  return Object.assign(applied, { inner: layers })
}

const kindOf = (each: Layer): string => each.kind ?? (each.name || 'custom')
const kindsAhead = (layers: readonly Layer[]): string[] =>
  layers.flatMap((each) => (each.inner ? kindsAhead(each.inner) : [kindOf(each)]))

/** One layer of a walk, for summaries. */
export interface Step {
  readonly name: string
  readonly kind: string
  readonly output: Tensor
}

/**
 * Applies layers in order and keeps every result; `next` are the kinds that follow the last, `applied` the names of layers
 * that keep them when they are applied again. An error tells the shapes up to the layer that failed.
 */
export function walk(
  layers: readonly Layer[],
  x: Tensor,
  scope: Scope,
  next: readonly string[] = scope.next,
  applied?: Map<Layer, string>,
): Step[] {
  if (!Array.isArray(layers)) throw expected('a layer or a list of layers', scope.path || 'a model', layers)
  layers.forEach((each, i) => {
    checkFunction(`layer ${i + 1}`, each, 'a layer, i.e. a function (x, scope) => y')
  })
  if (!(x instanceof Tensor)) throw expected('a tensor', `the input of ${scope.path || 'layers'}`, x)
  const steps: Step[] = []
  layers.forEach((each, i) => {
    const kind = kindOf(each)
    const known = applied?.get(each)
    const name = known ?? scope.nameOf(kind, each.label)
    applied?.set(each, name)
    const input = steps.at(-1)?.output ?? x
    try {
      const own = scope.child(name, [...kindsAhead(layers.slice(i + 1)), ...next])
      const output = applyLayer(each, input, own)
      const step = { name, kind, output: scope.watch?.({ path: own.path, kind, input, output }) ?? output }
      steps.push(step)
      if (!known) scope.steps.push(step)
    } catch (error) {
      throw withShapes(error, scope.child(name).path, x, steps)
    }
  })
  return steps
}

// What an error of inner layers has told already; each sequence around it puts its own shapes in front.
const told = new WeakMap<GradlineError, { error: GradlineError; where: string; shapes: readonly string[] }>()

function withShapes(error: unknown, path: string, x: Tensor, steps: readonly Step[]): unknown {
  if (!(error instanceof GradlineError)) return error
  const inner = told.get(error) ?? { error, where: path, shapes: [] }
  const own = [`input ${showShape(x.shape)}`, ...steps.map(({ name, output }) => `${name} ${showShape(output.shape)}`)]
  const shapes = [...own, ...inner.shapes.slice(1)]
  const located = new GradlineError(inner.error.code, inner.error.message, {
    where: inner.where,
    fix: `Shapes so far, with a batch of ${x.shape[0]}: ${shapes.join(' -> ')}`,
    cause: inner.error,
  })
  told.set(located, { ...inner, shapes })
  return located
}

/** Channels of an image [n, h, w, channels]; an error for anything else. */
export function checkImage(what: string, x: Tensor): number {
  if (x.rank === 4) return x.shape[3] as number
  throw new GradlineError(
    'shape',
    `Expected an image [n, h, w, channels] for ${what} but received ${showShape(x.shape)}`,
  )
}

/** Sizes of the last axes of x, before which the batch must stand. */
export function checkAxes(what: string, x: Tensor, axes: number): Shape {
  if (x.dtype === 'float32' && x.rank > axes) return x.shape.slice(x.rank - axes)
  throw new GradlineError(
    'shape',
    `Expected a float tensor [n, ...] with ${axes} axis or axes after the batch for ${what} but received ${x}`,
  )
}

/** Features of rows [n, features]; an error for anything else. */
export function checkRows(what: string, x: Tensor): number {
  if (x.rank === 2) return x.shape[1] as number
  throw new GradlineError('shape', `Expected an input [n, features] for ${what} but received ${showShape(x.shape)}`, {
    fix: 'Put flatten() before it',
  })
}
