// Parallel branches whose results stand side by side (as in Inception, Szegedy et al. 2015).

import { checkInteger, checkOptions, expected } from '../errors.js'
import { concat } from '../ops/move.js'
import { type Layer, layer, walk } from './layer.js'

export interface ConcatenateOptions {
  /** Axis of the join, counted with the batch; negative from the end. Default -1: channels. */
  axis?: number
  name?: string
}

/**
 * Gives x to every branch and joins their results along an axis; an empty branch hands x on. Parameters stand under
 * `concatenate1.branch1`, `concatenate1.branch2`. Inside a model written as a function, ops.concat joins any tensors.
 * PyTorch: torch.cat; Keras: keras.layers.Concatenate
 */
export function concatenate(branches: readonly (readonly Layer[])[], options: ConcatenateOptions = {}): Layer {
  checkOptions('concatenate', options, ['axis', 'name'])
  const axis = checkInteger('axis of concatenate', options.axis ?? -1)
  if (!Array.isArray(branches) || branches.length === 0 || !branches.every((branch) => Array.isArray(branch))) {
    throw expected('a list of branches, each a list of layers', 'concatenate', branches)
  }
  return layer(
    'concatenate',
    (x, scope) => {
      const results = branches.map((branch, i) => walk(branch, x, scope.child(`branch${i + 1}`)).at(-1)?.output ?? x)
      return concat(results, axis)
    },
    options.name,
  )
}
