// Two-dimensional convolution of NHWC images with learned filters.

import { checkInteger, checkOptions, GradlineError } from '../errors.js'
import { type Conv2dOptions as ConvOptions, conv2d as convolve } from '../ops/conv.js'
import { checkPair, checkPlace, type Pair } from '../ops/window.js'
import { readWeight, rulesOf, type WeightOptions, weightOptions } from '../regularizers/weights.js'
import { type AffineOptions, addBias, affineOptions, checkAffine, chooseInit } from './affine.js'
import { checkImage, type Layer, layer } from './layer.js'

export interface Conv2dOptions extends ConvOptions, WeightOptions, AffineOptions {}

/**
 * [n, h, w, in] gives [n, oh, ow, filters] (defaults: stride 1, padding 'valid', dilation 1, groups 1).
 * Parameters: weight [kh, kw, in / groups, filters] (PyTorch: [filters, in / groups, kh, kw]), bias [filters].
 * PyTorch: torch.nn.Conv2d; Keras: keras.layers.Conv2D
 */
export function conv2d(filters: number, kernel: Pair, options: Conv2dOptions = {}): Layer {
  const names = ['stride', 'padding', 'dilation', 'groups', ...weightOptions, ...affineOptions]
  checkOptions('conv2d', options, names)
  const { bias, init, biasInit, name, regularizer: _, constraint: __, weightNoise: ___, ...place } = options
  checkInteger('filters of conv2d', filters, { min: 1 })
  const rules = rulesOf('conv2d', options)
  checkAffine('conv2d', options)
  checkPlace('conv2d', place)
  const [kh, kw] = checkPair('kernel of conv2d', kernel, 1)
  const groups = checkInteger('groups of conv2d', place.groups ?? 1, { min: 1 })
  return layer(
    'conv2d',
    (x, scope) => {
      const channels = checkImage('conv2d', x)
      if (channels % groups !== 0 || filters % groups !== 0) {
        throw new GradlineError(
          'shape',
          `Expected channels and filters divisible by ${groups} groups for conv2d but received ${channels} and ${filters}`,
        )
      }
      const shape = [kh, kw, channels / groups, filters]
      const weight = scope.param('weight', shape, chooseInit(init, scope), undefined, rules)
      const y = convolve(x, readWeight(weight, scope, options), place)
      return addBias(y, scope, options)
    },
    name,
    { filters, kernel, ...options },
  )
}
