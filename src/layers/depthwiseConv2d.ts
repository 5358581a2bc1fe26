// Depthwise convolution: every channel has filters of its own. A convolution in as many groups as channels.

import { checkInteger, checkOptions } from '../errors.js'
import type { Initializer } from '../initializers/initializer.js'
import { type Conv2dOptions, conv2d as convolve } from '../ops/conv.js'
import { checkPair, checkPlace, type Pair } from '../ops/window.js'
import type { Tensor } from '../tensor.js'
import { type AffineOptions, addBias, affineOptions, checkAffine, chooseInit } from './affine.js'
import { checkImage, type Layer, layer, type Scope } from './layer.js'

export interface DepthwiseConv2dOptions extends Omit<Conv2dOptions, 'groups'>, AffineOptions {
  /** Filters per channel. Default 1. */
  multiplier?: number
}

const names = ['stride', 'padding', 'dilation', 'multiplier', ...affineOptions]

/**
 * [n, h, w, c] gives [n, oh, ow, c * multiplier]; results c * multiplier + m are made of channel c alone. Defaults as
 * conv2d. Parameters: weight [kh, kw, 1, c * multiplier], bias [c * multiplier].
 * PyTorch: torch.nn.Conv2d with groups = channels; Keras: keras.layers.DepthwiseConv2D (kernel [kh, kw, c, multiplier])
 */
export function depthwiseConv2d(kernel: Pair, options: DepthwiseConv2dOptions = {}): Layer {
  checkOptions('depthwiseConv2d', options, names)
  const { multiplier = 1, bias, init, biasInit, name, ...place } = options
  const [kh, kw] = checkPair('kernel of depthwiseConv2d', kernel, 1)
  checkInteger('multiplier of depthwiseConv2d', multiplier, { min: 1 })
  checkAffine('depthwiseConv2d', options)
  checkPlace('depthwiseConv2d', place)
  return layer(
    'depthwiseConv2d',
    (x, scope) => {
      const y = depthwise('depthwiseConv2d', 'weight', x, scope, [kh, kw], multiplier, chooseInit(init, scope), place)
      return addBias(y, scope, options)
    },
    name,
  )
}

/** The convolution without bias; its weight is a parameter of the given name. */
export function depthwise(
  what: string,
  name: string,
  x: Tensor,
  scope: Scope,
  [kh, kw]: readonly [number, number],
  multiplier: number,
  init: Initializer,
  place: Omit<Conv2dOptions, 'groups'>,
): Tensor {
  const channels = checkImage(what, x)
  // A result sees one channel only, which the shape of the weight does not tell.
  const fans = { in: kh * kw, out: kh * kw * multiplier }
  const weight = scope.param(name, [kh, kw, 1, channels * multiplier], init, fans)
  return convolve(x, weight, { ...place, groups: channels })
}
