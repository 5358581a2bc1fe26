// Models of several inputs and outputs, written as a function of named tensors: their types, and what differs from a list of
// layers in checks and options. The model itself is the same class, and so are loop and programs.

import type { NamedBatch } from '../data/batch.js'
import type { Dataset } from '../data/dataset.js'
import { Joined } from '../data/joined.js'
import type { DType } from '../dtype.js'
import { checkOneOf, expected, GradlineError } from '../errors.js'
import type { Mode, Scope } from '../layers/layer.js'
import { loss } from '../losses/loss.js'
import { add } from '../ops/elementwise.js'
import { mean } from '../ops/reduce.js'
import type { InputSpec } from '../program.js'
import { checkShape, type Shape, sameShape, showShape } from '../shape.js'
import { Tensor } from '../tensor.js'
import type { NamedAugment } from './augment.js'
import type { Measures } from './events.js'
import type { Fit, FitOptions } from './fit.js'
import type { MetricChoice } from './metrics.js'
import type { EvaluateOptions, Model } from './model.js'
import type { BatchSource } from './source.js'

export type Named = { readonly [name: string]: Tensor }

/** What a model is given per sample under one name. */
export interface ModelInput {
  /** Without the batch axis. */
  readonly shape: Shape
  readonly dtype: 'float32' | 'int32'
}

/** Scalar loss or metric of the model's outputs and the batch: every part of the joined data set by its name. */
export type GraphLoss<Y> = (outputs: Y, batch: Named) => Tensor

export interface GraphFitOptions<Y> extends Omit<FitOptions, 'loss' | 'metrics' | 'validation' | 'augment'> {
  loss: GraphLoss<Y>
  /** Measured beside the loss, by name. */
  metrics?: { readonly [name: string]: GraphLoss<Y> }
  validation?: Joined | BatchSource<NamedBatch>
  /** Changes parts of the batch before model and loss see them, in training only; gives those that it changes, by name. */
  augment?: NamedAugment
}

export interface GraphEvaluateOptions<Y> extends Omit<EvaluateOptions, 'loss' | 'metrics'> {
  loss: GraphLoss<Y>
  metrics?: { readonly [name: string]: GraphLoss<Y> }
}

/** Samples of one input: a data set, an eager tensor [n, ...shape], or the elements row by row. */
export type Samples = Dataset | Tensor | ArrayLike<number>

/**
 * A model made of a function. Everything else is as in Model; `inputShape` and `outputShape` are errors where there is not
 * one input or output.
 */
export interface GraphModel<X extends Named, Y extends Tensor | Named>
  extends Omit<Model, 'apply' | 'predict' | 'fit' | 'evaluate' | 'checkData' | 'batches' | 'batchProgram' | 'layers'> {
  /** Calls the function inside a recording. */
  apply(x: X, mode: Mode): Y
  /** Outputs for samples given by the names of the inputs, or as a joined data set, with their batch axis. */
  predict(samples: Joined | { readonly [K in keyof X]: Samples }, options?: { batchSize?: number }): Promise<Y>
  fit(data: Joined | BatchSource<NamedBatch>, options: GraphFitOptions<Y>): Fit
  evaluate(data: Joined | BatchSource<NamedBatch>, options: GraphEvaluateOptions<Y>): Promise<Measures>
}

export type GraphFunction = (inputs: Named, scope: Scope) => Tensor | Named

export function toInput(name: string, spec: InputSpec): ModelInput {
  const isSpec = spec !== null && typeof spec === 'object' && 'shape' in spec
  const dtype: DType = isSpec ? spec.dtype : 'float32'
  return {
    shape: checkShape(`${name} of model`, isSpec ? spec.shape : (spec as Shape)),
    dtype: checkOneOf(`element type of ${name}`, dtype as ModelInput['dtype'], ['float32', 'int32']),
  }
}

/** Inputs of a model written as a function. */
export function toInputs(specs: Readonly<Record<string, InputSpec>>): Record<string, ModelInput> {
  const entries = typeof specs === 'object' && specs !== null && !Array.isArray(specs) ? Object.entries(specs) : []
  if (entries.length === 0) throw expected('shapes by name, such as { image: [28, 28, 1] },', 'inputs of model', specs)
  return Object.fromEntries(entries.map(([name, spec]) => [name, toInput(`input ${name}`, spec)]))
}

/** Checks tensors given for the inputs of a model, all of one batch. */
export function checkInputs(model: string, inputs: Readonly<Record<string, ModelInput>>, given: Named): void {
  const batch = Object.values(given ?? {})[0]?.shape?.[0]
  for (const [name, { shape, dtype }] of Object.entries(inputs)) {
    const x = given?.[name]
    if (x instanceof Tensor && x.dtype === dtype && sameShape(x.shape, [batch as number, ...shape])) continue
    throw new GradlineError(
      'shape',
      `Expected ${dtype} ${showBatch(shape)} for ${name === 'x' ? '' : `input ${name} of `}${model} but received ${x}`,
    )
  }
}

const showBatch = (shape: Shape): string => `[${['n', ...shape].join(', ')}]`

/** Checks what the function of a model gave back: a tensor or tensors by name, each with the batch in front. */
export function checkOutputs(model: string, outputs: unknown, batch: number): Tensor | Named {
  const entries =
    outputs instanceof Tensor ? [['', outputs]] : typeof outputs === 'object' && outputs ? Object.entries(outputs) : []
  if (entries.length === 0 || entries.some(([, y]) => !(y instanceof Tensor))) {
    throw expected('a tensor or an object of tensors', `the result of the function of ${model}`, outputs)
  }
  for (const [name, y] of entries as [string, Tensor][]) {
    if (y.shape[0] === batch) continue
    throw new GradlineError(
      'shape',
      `Expected the batch as first axis of output ${name} of ${model} but received ${showShape(y.shape)} for ${batch} sample(s)`,
    )
  }
  return outputs as Tensor | Named
}

/** Checks that a joined data set holds every input of a model. */
export function checkJoined(
  what: string,
  data: unknown,
  model: string,
  inputs: Readonly<Record<string, ModelInput>>,
): void {
  if (!(data instanceof Joined)) {
    throw expected('data sets by name, made by joined()', what, data, {
      where: model,
      fix: `Join one data set per input (${Object.keys(inputs).join(', ')}) and per target`,
    })
  }
  for (const [name, input] of Object.entries(inputs)) checkPart(what, data.parts[name], name, model, input)
}

/** Checks that a data set fits an input in shape and element type. */
export function checkPart(
  what: string,
  data: Dataset | undefined,
  name: string,
  model: string,
  { shape, dtype }: ModelInput,
): void {
  const received: DType = data?.inputs.data instanceof Int32Array ? 'int32' : 'float32'
  if (data && sameShape(data.sampleShape, shape) && received === dtype) return
  throw new GradlineError(
    'shape',
    `Expected samples ${dtype} ${showShape(shape)} for input ${name} in the ${what} of ${model} but received ` +
      (data ? `${received} ${showShape(data.sampleShape)}` : `only ${what} without it`),
    data ? { where: data.name } : {},
  )
}

const named = new WeakSet<readonly MetricChoice[]>()

/** Loss and metrics as the training loop wants them: each with its name. */
export function namedOptions<O extends { loss: unknown; metrics?: unknown }>(options: O): O {
  const { loss: used, metrics = {} } = options ?? {}
  if (named.has(metrics as readonly MetricChoice[])) return options
  if (typeof used !== 'function') throw expected('a function of outputs and batch', 'loss', used)
  if (Array.isArray(metrics) || Object.values(metrics as object).some((metric) => typeof metric !== 'function')) {
    throw expected('functions of outputs and batch by name', 'metrics', metrics)
  }
  const call = used as (prediction: Tensor, target: Tensor) => Tensor
  const list = Object.entries(metrics as Record<string, typeof call>).map(([name, metric]) => loss(name, metric))
  named.add(list)
  return { ...options, loss: loss('loss', (outputs, batch) => call(outputs, batch)), metrics: list }
}

/** A scalar on which every float output depends. */
export function meanOf(outputs: Tensor | Named): Tensor {
  const list = outputs instanceof Tensor ? [outputs] : Object.values(outputs)
  return list
    .filter(({ dtype }) => dtype === 'float32')
    .map((y) => mean(y))
    .reduce((a, b) => add(a, b))
}
