// Layer normalization (Ba, Kiros, Hinton 2016): each sample is normalized over its own last axes, in training as in
// prediction. No running statistics, nothing shared between samples.

import { checkFinite, checkInteger, checkOptions } from '../errors.js'
import { constant } from '../initializers/initializer.js'
import { add, div, mul, scale, sqrt, square, sub } from '../ops/elementwise.js'
import { reshape } from '../ops/move.js'
import { mean } from '../ops/reduce.js'
import { checkAxes, type Layer, layer } from './layer.js'

export interface LayerNormOptions {
  /** How many of the last axes are normalized together, the batch not among them. Default 1. */
  axes?: number
  /** Added to the variance under the root. Default 1e-5 (Keras: 1e-3). */
  eps?: number
  name?: string
}

/**
 * gamma (x - mean) / sqrt(variance + eps) + beta with mean and biased variance over the last axes; the shape stays.
 * Parameters: gamma (ones) and beta (zeros) of the shape of those axes.
 * PyTorch: torch.nn.LayerNorm; Keras: keras.layers.LayerNormalization
 */
export function layerNorm(options: LayerNormOptions = {}): Layer {
  checkOptions('layerNorm', options, ['axes', 'eps', 'name'])
  const axes = checkInteger('axes of layerNorm', options.axes ?? 1, { min: 1 })
  const eps = checkFinite('eps of layerNorm', options.eps ?? 1e-5, { above: 0 })
  return layer(
    'layerNorm',
    (x, scope) => {
      const shape = checkAxes('layerNorm', x, axes)
      const gamma = scope.param('gamma', shape, constant(1))
      const beta = scope.param('beta', shape, constant(0))
      const rows = reshape(x, [-1, gamma.size])
      const last = { axes: 1, keepAxes: true }
      const centred = sub(rows, mean(rows, last))
      const deviation = sqrt(scale(mean(square(centred), last), 1, eps))
      const y = mul(div(centred, deviation), reshape(gamma, [gamma.size]))
      return reshape(add(y, reshape(beta, [gamma.size])), x.shape)
    },
    options.name,
  )
}
