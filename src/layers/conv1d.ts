// One-dimensional convolution: a convolution of images of height 1, so it needs no kernels of its own.

import { checkInteger, checkOptions, GradlineError } from '../errors.js'
import { conv2d as convolve } from '../ops/conv.js'
import { reshape } from '../ops/move.js'
import { showShape } from '../shape.js'
import { type AffineOptions, addBias, affineOptions, checkAffine, chooseInit } from './affine.js'
import { type Layer, layer } from './layer.js'

export interface Conv1dOptions extends AffineOptions {
  /** Default 1. */
  stride?: number
  /** 'same': output length = length / stride rounded up. A number: zeros on either side. Default 'valid': none. */
  padding?: 'valid' | 'same' | number
  /** Distance of filter taps. Default 1. */
  dilation?: number
  /** Channels are split into this many independent convolutions. Default 1. */
  groups?: number
}

const names = ['stride', 'padding', 'dilation', 'groups', ...affineOptions]

/**
 * [n, length, in] gives [n, out, filters], out = floor((length + padding - dilation * (kernel - 1) - 1) / stride) + 1.
 * Parameters: weight [kernel, in / groups, filters] (PyTorch: [filters, in / groups, kernel]), bias [filters].
 * PyTorch: torch.nn.Conv1d; Keras: keras.layers.Conv1D
 */
export function conv1d(filters: number, kernel: number, options: Conv1dOptions = {}): Layer {
  checkOptions('conv1d', options, names)
  checkInteger('filters of conv1d', filters, { min: 1 })
  checkInteger('kernel of conv1d', kernel, { min: 1 })
  const stride = checkInteger('stride of conv1d', options.stride ?? 1, { min: 1 })
  const dilation = checkInteger('dilation of conv1d', options.dilation ?? 1, { min: 1 })
  const groups = checkInteger('groups of conv1d', options.groups ?? 1, { min: 1 })
  const { padding = 'valid' } = options
  if (padding !== 'valid' && padding !== 'same') checkInteger('padding of conv1d', padding, { min: 0 })
  checkAffine('conv1d', options)
  return layer(
    'conv1d',
    (x, scope) => {
      const [n, length, channels] = x.shape as [number, number, number]
      if (x.rank !== 3 || channels % groups !== 0 || filters % groups !== 0) {
        throw new GradlineError(
          'shape',
          `Expected a sequence [n, length, channels] for conv1d with channels and ${filters} filters divisible by ` +
            `${groups} group(s) but received ${showShape(x.shape)}`,
        )
      }
      const shape = [kernel, channels / groups, filters]
      const weight = scope.param('weight', shape, chooseInit(options.init, scope))
      const y = convolve(reshape(x, [n, 1, length, channels]), reshape(weight, [1, ...shape]), {
        stride: [1, stride],
        padding: typeof padding === 'number' ? [0, padding] : padding,
        dilation: [1, dilation],
        groups,
      })
      return addBias(reshape(y, [n, y.shape[2] as number, filters]), scope, options)
    },
    options.name,
  )
}
