// Maxout (Goodfellow et al. 2013): the largest of several affine maps, an activation that is learned.

import { checkInteger, checkOptions } from '../errors.js'
import { constant, type Initializer, type InitializerChoice } from '../initializers/initializer.js'
import { add } from '../ops/elementwise.js'
import { matmul } from '../ops/matmul.js'
import { reshape } from '../ops/move.js'
import { max } from '../ops/reduce.js'
import { checkAffine, chooseInit } from './affine.js'
import { checkRows, type Layer, layer } from './layer.js'

export interface MaxoutOptions {
  /** Affine maps per unit. Default 2. */
  pieces?: number
  /** Weight [in, pieces * units]. Default 'auto': Glorot, unless an activation follows. */
  init?: InitializerChoice
  /** Bias [pieces * units]. Default zeros. */
  biasInit?: Initializer
  name?: string
}

/**
 * [n, in] gives [n, units]: unit u is the largest of x W_p + b_p over the pieces p, pieces times the parameters of dense.
 * Equal pieces share the gradient. Parameters: weight [in, pieces * units], piece after piece; bias [pieces * units].
 * PyTorch: none; Keras: none (TensorFlow Addons: Maxout)
 */
export function maxout(units: number, options: MaxoutOptions = {}): Layer {
  checkOptions('maxout', options, ['pieces', 'init', 'biasInit', 'name'])
  const pieces = checkInteger('pieces of maxout', options.pieces ?? 2, { min: 1 })
  checkInteger('units of maxout', units, { min: 1 })
  checkAffine('maxout', { ...options, bias: true })
  return layer(
    'maxout',
    (x, scope) => {
      const features = checkRows('maxout', x)
      const fans = { in: features, out: units }
      const weight = scope.param('weight', [features, pieces * units], chooseInit(options.init, scope), fans)
      const bias = scope.param('bias', [pieces * units], options.biasInit ?? constant(0))
      return max(reshape(add(matmul(x, weight), bias), [-1, pieces, units]), { axes: 1 })
    },
    options.name,
  )
}
