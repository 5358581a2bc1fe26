// Depthwise convolution: every channel has filters of its own. A convolution in as many groups as channels.

import { checkInteger, checkOptions } from '../errors.js'
import { constant, type Initializer, type InitializerChoice } from '../initializers/initializer.js'
import { type Conv2dOptions, conv2d as convolve } from '../ops/conv.js'
import { add } from '../ops/elementwise.js'
import { checkPair, checkPlace, type Pair } from '../ops/window.js'
import type { Tensor } from '../tensor.js'
import { checkBias, chooseInit, wantsBias } from './dense.js'
import { checkImage, type Layer, layer, type Scope } from './layer.js'

export interface DepthwiseConv2dOptions extends Omit<Conv2dOptions, 'groups'> {
  /** Filters per channel. Default 1. */
  multiplier?: number
  /** 'auto' leaves the bias out before batch norm, which has its own. Default 'auto'. */
  bias?: boolean | 'auto'
  /** Weight [kh, kw, 1, channels * multiplier]. Default 'auto': by the activation that follows. */
  init?: InitializerChoice
  /** Bias [channels * multiplier]. Default zeros. */
  biasInit?: Initializer
  name?: string
}

const names = ['stride', 'padding', 'dilation', 'multiplier', 'bias', 'init', 'biasInit', 'name']

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
  checkBias('depthwiseConv2d', options)
  checkPlace('depthwiseConv2d', place)
  return layer(
    'depthwiseConv2d',
    (x, scope) => {
      const y = depthwise('depthwiseConv2d', 'weight', x, scope, [kh, kw], multiplier, chooseInit(init, scope), place)
      return wantsBias(bias, scope) ? add(y, scope.param('bias', y.shape.slice(3), biasInit ?? constant(0))) : y
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
