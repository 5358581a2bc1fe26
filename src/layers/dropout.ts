// Dropout (Srivastava et al. 2014), in the inverted form: nothing is scaled or dropped outside training.

import { checkFinite, checkOptions } from '../errors.js'
import { dropout as drop } from '../ops/random.js'
import { type Layer, layer } from './layer.js'

/**
 * Sets a share `rate` of the elements to 0 while training and divides the rest by 1 - rate. Default 0.5.
 * PyTorch: torch.nn.Dropout; Keras: keras.layers.Dropout
 */
export function dropout(rate = 0.5, options: { name?: string } = {}): Layer {
  checkFinite('rate of dropout', rate, { min: 0, below: 1 })
  checkOptions('dropout', options, ['name'])
  return layer('dropout', (x, scope) => (scope.mode === 'train' ? drop(x, rate) : x), options.name)
}
