// Another shape for the elements of each sample.

import { checkInteger, checkOptions, expected } from '../errors.js'
import { reshape as reshaped } from '../ops/move.js'
import type { Shape } from '../shape.js'
import { type Layer, layer } from './layer.js'

/**
 * [n, ...] gives [n, ...shape], the elements of a sample in their order; one size may be -1. Costs nothing.
 * PyTorch: torch.nn.Unflatten, Tensor.reshape; Keras: keras.layers.Reshape
 */
export function reshape(shape: Shape, options: { name?: string } = {}): Layer {
  checkOptions('reshape', options, ['name'])
  if (!Array.isArray(shape)) throw expected('an array of sizes without the batch', 'shape of reshape', shape)
  shape.forEach((size, i) => {
    if (size !== -1) checkInteger(`shape[${i}] of reshape`, size, { min: 1 })
  })
  if (shape.filter((size) => size === -1).length > 1) throw expected('at most one -1', 'shape of reshape', shape)
  const sizes = [...shape]
  return layer('reshape', (x) => reshaped(x, [x.shape[0] as number, ...sizes]), options.name)
}
