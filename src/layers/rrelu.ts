// Randomized leaky ReLU (Xu et al. 2015): a slope drawn for every element while training, their mean afterwards.

import { checkFinite, checkOptions } from '../errors.js'
import { prelu } from '../ops/activations.js'
import { leakyRelu } from '../ops/elementwise.js'
import { randomUniform } from '../ops/random.js'
import { type Layer, layer } from './layer.js'

export interface RreluOptions {
  /** Bounds of the slope, at least 0. Default 1/8 and 1/3. */
  lower?: number
  upper?: number
  name?: string
}

/**
 * x where x > 0, else slope * x; while training the slope of each element is uniform in [lower, upper), new in every step
 * and decided by the seed; otherwise it is (lower + upper) / 2, by default 11/48.
 * PyTorch: torch.nn.RReLU; Keras: none
 */
export function rrelu(options: RreluOptions = {}): Layer {
  checkOptions('rrelu', options, ['lower', 'upper', 'name'])
  const lower = checkFinite('lower of rrelu', options.lower ?? 1 / 8, { min: 0 })
  const upper = checkFinite('upper of rrelu', options.upper ?? 1 / 3, { min: lower })
  return layer(
    'rrelu',
    (x, { mode }) =>
      mode === 'train' ? prelu(x, randomUniform(x.shape, lower, upper)) : leakyRelu(x, (lower + upper) / 2),
    options.name,
  )
}
