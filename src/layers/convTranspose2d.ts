// Transposed convolution (Zeiler et al. 2010): the adjoint of a convolution, used forward to enlarge images.

import { checkInteger, checkOptions, GradlineError } from '../errors.js'
import { type ConvTranspose2dOptions as PlaceOptions, convTranspose2d as transposed } from '../ops/conv.js'
import { checkPair, checkPlace, type Pair } from '../ops/window.js'
import { type AffineOptions, addBias, affineOptions, checkAffine, chooseInit } from './affine.js'
import { checkImage, type Layer, layer } from './layer.js'

export interface ConvTranspose2dOptions extends PlaceOptions, AffineOptions {}

const names = ['stride', 'padding', 'outputPadding', 'dilation', 'groups', ...affineOptions]

/**
 * [n, h, w, in] gives [n, oh, ow, filters], oh = (h - 1) * stride - 2 * padding + dilation * (kh - 1) + outputPadding + 1,
 * or h * stride for padding 'same'. Parameters: weight [kh, kw, filters / groups, in], which is Keras's kernel as it is and
 * PyTorch's [in, filters / groups, kh, kw] with its axes in the order 2, 3, 1, 0; bias [filters].
 * PyTorch: torch.nn.ConvTranspose2d; Keras: keras.layers.Conv2DTranspose
 */
export function convTranspose2d(filters: number, kernel: Pair, options: ConvTranspose2dOptions = {}): Layer {
  checkOptions('convTranspose2d', options, names)
  const { bias, init, biasInit, name, ...place } = options
  checkInteger('filters of convTranspose2d', filters, { min: 1 })
  const [kh, kw] = checkPair('kernel of convTranspose2d', kernel, 1)
  const groups = checkInteger('groups of convTranspose2d', place.groups ?? 1, { min: 1 })
  checkAffine('convTranspose2d', options)
  checkPlace('convTranspose2d', place)
  const strides = checkPair('stride of convTranspose2d', place.stride ?? 1, 1)
  const dilations = checkPair('dilation of convTranspose2d', place.dilation ?? 1, 1)
  checkPair('outputPadding of convTranspose2d', place.outputPadding ?? 0, 0).forEach((added, axis) => {
    const most = place.padding === 'same' ? 0 : Math.max(strides[axis] as number, dilations[axis] as number) - 1
    checkInteger('outputPadding of convTranspose2d', added, { min: 0, max: most })
  })
  return layer(
    'convTranspose2d',
    (x, scope) => {
      const channels = checkImage('convTranspose2d', x)
      if (channels % groups !== 0 || filters % groups !== 0) {
        throw new GradlineError(
          'shape',
          `Expected channels and filters divisible by ${groups} groups for convTranspose2d but received ${channels} ` +
            `and ${filters}`,
        )
      }
      const fans = { in: (kh * kw * channels) / groups, out: (kh * kw * filters) / groups }
      const weight = scope.param('weight', [kh, kw, filters / groups, channels], chooseInit(init, scope), fans)
      const y = transposed(x, weight, place)
      return addBias(y, scope, options)
    },
    name,
  )
}
