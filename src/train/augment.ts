// What fit() does to a batch before the model sees it in training: layers of their own scope, which are no part of the model.

import { expected, GradlineError } from '../errors.js'
import { type Layer, Scope, Weights, walk } from '../layers/layer.js'
import { Tensor } from '../tensor.js'
import type { Named } from './graphModel.js'

/** A function (x, scope) => y of the inputs of a batch, like a layer without parameters, or a list of such layers. */
export type Augment = Layer | readonly Layer[]
/** The same for a model written as a function: of its inputs and the other parts of the batch, by name. */
export type NamedAugment = (parts: Named, scope: Scope) => Named

/** Records it: inputs in, inputs out. */
export function augmented(augment: Augment | NamedAugment, inputs: Tensor): Tensor {
  const weights = new Weights()
  const scope = new Scope(weights, 'train', 'augment')
  const changed =
    inputs instanceof Tensor
      ? (walk(typeof augment === 'function' ? [augment as Layer] : augment, inputs, scope).at(-1)?.output ?? inputs)
      : named(augment as NamedAugment, inputs, scope)
  const [path] = weights.entries.keys()
  if (path === undefined) return changed
  throw new GradlineError('argument', `Expected no parameter or state in augment but received ${path}`, {
    fix: 'It is no part of the model, so nothing of it would be trained or saved; put the layer into the model',
  })
}

function named(augment: NamedAugment, parts: Named, scope: Scope): Tensor {
  const given: unknown = augment(parts, scope)
  const isNamed = typeof given === 'object' && given !== null && !(given instanceof Tensor)
  const odd = isNamed ? Object.entries(given).find(([name, y]) => !(y instanceof Tensor) || !(name in parts)) : given
  if (!isNamed || odd) throw expected('tensors of the batch by name', 'the result of augment', given)
  return { ...parts, ...(given as Named) } as unknown as Tensor
}
