// Joins all axes but the batch.

import { checkOptions } from '../errors.js'
import { reshape } from '../ops/move.js'
import { type Layer, layer } from './layer.js'

/**
 * [n, ...] gives [n, product of the rest]. Costs nothing.
 * PyTorch: torch.nn.Flatten; Keras: keras.layers.Flatten
 */
export function flatten(options: { name?: string } = {}): Layer {
  checkOptions('flatten', options, ['name'])
  return layer('flatten', (x) => reshape(x, [x.shape[0] as number, -1]), options.name)
}
