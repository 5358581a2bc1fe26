// The fully connected layer: y = x W + b.

import { checkInteger, checkOptions } from '../errors.js'
import { matmul } from '../ops/matmul.js'
import { readWeight, rulesOf, type WeightOptions, weightOptions } from '../regularizers/weights.js'
import { type AffineOptions, addBias, affineOptions, checkAffine, chooseInit } from './affine.js'
import { checkRows, type Layer, layer } from './layer.js'

export interface DenseOptions extends AffineOptions, WeightOptions {}

/**
 * [n, in] gives [n, units]: x W + b. Parameters: weight [in, units] (PyTorch's transposed), bias [units].
 * PyTorch: torch.nn.Linear; Keras: keras.layers.Dense
 */
export function dense(units: number, options: DenseOptions = {}): Layer {
  checkInteger('units of dense', units, { min: 1 })
  checkOptions('dense', options, [...weightOptions, ...affineOptions])
  const rules = rulesOf('dense', options)
  checkAffine('dense', options)
  return layer(
    'dense',
    (x, scope) => {
      const shape = [checkRows('dense', x), units]
      const weight = scope.param('weight', shape, chooseInit(options.init, scope), undefined, rules)
      return addBias(matmul(x, readWeight(weight, scope, options)), scope, options)
    },
    options.name,
    { units, ...options },
  )
}
