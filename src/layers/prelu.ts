// Parametric ReLU (He et al. 2015): a leaky ReLU that learns its slope.

import { checkOneOf, checkOptions } from '../errors.js'
import { constant, type Initializer } from '../initializers/initializer.js'
import { prelu as parametric } from '../ops/activations.js'
import { checkInit } from './affine.js'
import { type Layer, layer } from './layer.js'

export interface PreluOptions {
  /** One slope for all channels instead of one for each. Default false. */
  shared?: boolean
  /** First slopes. Default 0.25. */
  init?: Initializer
  name?: string
}

/**
 * x where x > 0, else alpha * x: [..., c] gives the same shape. Parameter: alpha [c], or [1] if shared; like a bias it has
 * one axis, so weight decay leaves it out.
 * PyTorch: torch.nn.PReLU (its default is one shared slope); Keras: keras.layers.PReLU (its default starts at 0)
 */
export function prelu(options: PreluOptions = {}): Layer {
  checkOptions('prelu', options, ['shared', 'init', 'name'])
  const shared = checkOneOf('shared of prelu', options.shared ?? false, [true, false])
  checkInit('init of prelu', options.init)
  return layer(
    'prelu',
    (x, scope) => {
      const shape = shared ? [1] : x.shape.slice(-1)
      return parametric(x, scope.param('alpha', shape, options.init ?? constant(0.25)))
    },
    options.name,
  )
}
