// Root mean square normalization (Zhang & Sennrich 2019): layer normalization without the mean and without a shift.

import { checkFinite, checkInteger, checkOptions } from '../errors.js'
import { constant } from '../initializers/initializer.js'
import { div, mul, scale, sqrt, square } from '../ops/elementwise.js'
import { reshape } from '../ops/move.js'
import { mean } from '../ops/reduce.js'
import { checkAxes, type Layer, layer } from './layer.js'

export interface RmsNormOptions {
  /** How many of the last axes are normalized together, the batch not among them. Default 1. */
  axes?: number
  /** Added to the mean square under the root. Default 1e-6 (PyTorch: 2^-23, the distance of floats at 1). */
  eps?: number
  name?: string
}

/**
 * gamma x / sqrt(mean(x^2) + eps) over the last axes; the shape stays. Parameter: gamma (ones) of the shape of those axes.
 * PyTorch: torch.nn.RMSNorm; Keras: keras.layers.RMSNormalization
 */
export function rmsNorm(options: RmsNormOptions = {}): Layer {
  checkOptions('rmsNorm', options, ['axes', 'eps', 'name'])
  const axes = checkInteger('axes of rmsNorm', options.axes ?? 1, { min: 1 })
  const eps = checkFinite('eps of rmsNorm', options.eps ?? 1e-6, { above: 0 })
  return layer(
    'rmsNorm',
    (x, scope) => {
      const gamma = scope.param('gamma', checkAxes('rmsNorm', x, axes), constant(1))
      const rows = reshape(x, [-1, gamma.size])
      const size = sqrt(scale(mean(square(rows), { axes: 1, keepAxes: true }), 1, eps))
      return reshape(mul(div(rows, size), reshape(gamma, [gamma.size])), x.shape)
    },
    options.name,
  )
}
