// Alpha dropout (Klambauer et al. 2017), for networks of SELU units: dropped elements get the value SELU saturates at, and an
// affine map brings mean and variance back to what they were.

import { checkFinite, checkOptions } from '../errors.js'
import { scale, select } from '../ops/elementwise.js'
import { fill } from '../ops/move.js'
import { dropout } from '../ops/random.js'
import { type Layer, layer } from './layer.js'

// -scale * alpha of SELU, its limit at -Infinity.
const saturation = -1.0507009873554805 * 1.6732632423543772

/**
 * While training each element becomes s = -1.7581 with probability `rate` (default 0.5); then y = a x + b with
 * a = ((1 - rate) (1 + rate s^2))^-1/2 and b = -a rate s, which keeps mean 0 and variance 1. In prediction nothing happens.
 * PyTorch: torch.nn.AlphaDropout; Keras: keras.layers.AlphaDropout
 */
export function alphaDropout(rate = 0.5, options: { name?: string } = {}): Layer {
  checkFinite('rate of alphaDropout', rate, { min: 0, below: 1 })
  checkOptions('alphaDropout', options, ['name'])
  const a = 1 / Math.sqrt((1 - rate) * (1 + rate * saturation * saturation))
  return layer(
    'alphaDropout',
    (x, scope) => {
      if (scope.mode !== 'train' || rate === 0) return x
      const kept = dropout(fill(x.shape, 1), rate)
      return scale(select(kept, x, saturation), a, -a * rate * saturation)
    },
    options.name,
  )
}
