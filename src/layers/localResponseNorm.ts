// Local response normalization (Krizhevsky et al. 2012): a channel is divided by a power of the energy of its neighbours.

import { checkFinite, checkInteger, checkOptions } from '../errors.js'
import { exp, log, mul, scale, square } from '../ops/elementwise.js'
import { pad, reshape } from '../ops/move.js'
import { avgPool2d } from '../ops/pool.js'
import { checkAxes, type Layer, layer } from './layer.js'

export interface LocalResponseNormOptions {
  /** Default 1e-4. */
  alpha?: number
  /** Default 0.75. */
  beta?: number
  /** Default 1. */
  k?: number
  name?: string
}

/**
 * [n, ..., c] keeps its shape: y = x / (k + alpha / size * S)^beta, S the sum of x^2 over channels c - floor(size / 2) to
 * c + floor((size - 1) / 2), those outside counting as 0. Here alpha is divided by size, as in PyTorch. The paper and
 * TensorFlow do not divide: their alpha is size times smaller (AlexNet's size 5, alpha 1e-4, k 2 is alpha 5e-4 here), and
 * TensorFlow gives the radius (size - 1) / 2.
 * PyTorch: torch.nn.LocalResponseNorm; Keras: none (tf.nn.local_response_normalization)
 */
export function localResponseNorm(size: number, options: LocalResponseNormOptions = {}): Layer {
  checkOptions('localResponseNorm', options, ['alpha', 'beta', 'k', 'name'])
  checkInteger('size of localResponseNorm', size, { min: 1 })
  const alpha = checkFinite('alpha of localResponseNorm', options.alpha ?? 1e-4, { min: 0 })
  const beta = checkFinite('beta of localResponseNorm', options.beta ?? 0.75, { min: 0 })
  const k = checkFinite('k of localResponseNorm', options.k ?? 1, { above: 0 })
  return layer(
    'localResponseNorm',
    (x) => {
      const [channels] = checkAxes('localResponseNorm', x, 1) as [number]
      // Channels as the height of one-channel images, so that the window mean is a pooling.
      const columns = reshape(square(x), [-1, channels, 1, 1])
      const padded = pad(columns, [0, Math.floor(size / 2), 0, 0], [0, Math.floor((size - 1) / 2), 0, 0])
      const energy = reshape(avgPool2d(padded, [size, 1], { stride: 1 }), x.shape)
      return mul(x, exp(scale(log(scale(energy, alpha, k)), -beta)))
    },
    options.name,
  )
}
