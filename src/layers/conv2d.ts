// Two-dimensional convolution of NHWC images with learned filters.

import { checkInteger, checkOptions, GradlineError } from '../errors.js'
import { constant, type Initializer, type InitializerChoice } from '../initializers/initializer.js'
import { type Conv2dOptions as ConvOptions, conv2d as convolve } from '../ops/conv.js'
import { add } from '../ops/elementwise.js'
import { checkPair, type Pair } from '../ops/window.js'
import { checkBias, chooseInit, wantsBias } from './dense.js'
import { checkImage, type Layer, layer } from './layer.js'

export interface Conv2dOptions extends ConvOptions {
  /** 'auto' leaves the bias out before batch norm, which has its own. Default 'auto'. */
  bias?: boolean | 'auto'
  /** Weight [kh, kw, in / groups, filters]. Default 'auto': by the activation that follows. */
  init?: InitializerChoice
  /** Bias [filters]. Default zeros. */
  biasInit?: Initializer
  name?: string
}

/**
 * [n, h, w, in] gives [n, oh, ow, filters] (defaults: stride 1, padding 'valid', dilation 1, groups 1).
 * Parameters: weight [kh, kw, in / groups, filters] (PyTorch: [filters, in / groups, kh, kw]), bias [filters].
 * PyTorch: torch.nn.Conv2d; Keras: keras.layers.Conv2D
 */
export function conv2d(filters: number, kernel: Pair, options: Conv2dOptions = {}): Layer {
  const { bias, init, biasInit, name, ...place } = options
  checkInteger('filters of conv2d', filters, { min: 1 })
  checkOptions('conv2d', options, ['stride', 'padding', 'dilation', 'groups', 'bias', 'init', 'biasInit', 'name'])
  checkBias('conv2d', bias)
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
      const weight = scope.param('weight', [kh, kw, channels / groups, filters], chooseInit(init, scope))
      const y = convolve(x, weight, place)
      return wantsBias(bias, scope) ? add(y, scope.param('bias', [filters], biasInit ?? constant(0))) : y
    },
    name,
  )
}
