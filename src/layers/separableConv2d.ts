// Depthwise separable convolution (Sifre 2014, Chollet 2017): each channel is filtered alone, then a 1 x 1 convolution
// mixes the channels. No activation stands between the two.

import { checkInteger, checkOptions } from '../errors.js'
import type { InitializerChoice } from '../initializers/initializer.js'
import { type Conv2dOptions, conv2d as convolve } from '../ops/conv.js'
import { checkPair, checkPlace, type Pair } from '../ops/window.js'
import { type AffineOptions, addBias, affineOptions, checkAffine, chooseInit } from './affine.js'
import { depthwise } from './depthwiseConv2d.js'
import { type Layer, layer } from './layer.js'

export interface SeparableConv2dOptions extends Omit<Conv2dOptions, 'groups'>, AffineOptions {
  /** Depthwise filters per channel. Default 1. */
  multiplier?: number
  /** Both weights. Default 'auto': the pointwise one by the activation that follows, the depthwise one Glorot. */
  init?: InitializerChoice
}

const names = ['stride', 'padding', 'dilation', 'multiplier', ...affineOptions]

/**
 * [n, h, w, c] gives [n, oh, ow, filters]; stride, padding and dilation are those of the depthwise part. Parameters:
 * depthwise [kh, kw, 1, c * multiplier], pointwise [1, 1, c * multiplier, filters], bias [filters].
 * PyTorch: two torch.nn.Conv2d, the first with groups = channels; Keras: keras.layers.SeparableConv2D
 */
export function separableConv2d(filters: number, kernel: Pair, options: SeparableConv2dOptions = {}): Layer {
  checkOptions('separableConv2d', options, names)
  const { multiplier = 1, bias, init = 'auto', biasInit, name, ...place } = options
  checkInteger('filters of separableConv2d', filters, { min: 1 })
  const [kh, kw] = checkPair('kernel of separableConv2d', kernel, 1)
  checkInteger('multiplier of separableConv2d', multiplier, { min: 1 })
  checkAffine('separableConv2d', options)
  checkPlace('separableConv2d', place)
  return layer(
    'separableConv2d',
    (x, scope) => {
      // Nothing follows the depthwise part but a linear map.
      const linear = chooseInit(init, scope.child('depthwise', []))
      const inner = depthwise('separableConv2d', 'depthwise', x, scope, [kh, kw], multiplier, linear, place)
      const shape = [1, 1, inner.shape[3] as number, filters]
      const y = convolve(inner, scope.param('pointwise', shape, chooseInit(init, scope)))
      return addBias(y, scope, options)
    },
    name,
  )
}
