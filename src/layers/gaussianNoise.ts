// Additive noise on activations or inputs, a regularizer (Bishop 1995).

import { checkFinite, checkOptions } from '../errors.js'
import { add } from '../ops/elementwise.js'
import { randomNormal } from '../ops/random.js'
import { type Layer, layer } from './layer.js'

/**
 * While training x + e with e normal of mean 0 and standard deviation `std`, drawn anew for every element and step. In
 * prediction nothing happens.
 * PyTorch: none; Keras: keras.layers.GaussianNoise
 */
export function gaussianNoise(std: number, options: { name?: string } = {}): Layer {
  checkFinite('std of gaussianNoise', std, { min: 0 })
  checkOptions('gaussianNoise', options, ['name'])
  return layer(
    'gaussianNoise',
    (x, scope) => (scope.mode === 'train' && std > 0 ? add(x, randomNormal(x.shape, 0, std)) : x),
    options.name,
  )
}
