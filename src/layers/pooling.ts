// Pooling layers; none has parameters.

import { checkOneOf, checkOptions } from '../errors.js'
import {
  type AvgPool2dOptions,
  avgPool2d as averageOf,
  globalAvgPool2d as globalAverageOf,
  maxPool2d as largestOf,
  type Pool2dOptions,
} from '../ops/pool.js'
import { checkPair, checkPlace, type Pair } from '../ops/window.js'
import { type Layer, layer } from './layer.js'

/**
 * Largest element of each window: [n, h, w, c] gives [n, oh, ow, c]. Stride default: the kernel.
 * PyTorch: torch.nn.MaxPool2d; Keras: keras.layers.MaxPooling2D
 */
export function maxPool2d(kernel: Pair, options: Pool2dOptions & { name?: string } = {}): Layer {
  checkPair('kernel of maxPool2d', kernel, 1)
  checkOptions('maxPool2d', options, ['stride', 'padding', 'name'])
  const { name, ...place } = options
  checkPlace('maxPool2d', place)
  return layer('maxPool2d', (x) => largestOf(x, kernel, place), name)
}

/**
 * Mean of each window: [n, h, w, c] gives [n, oh, ow, c]. Stride default: the kernel. Padding is left out of the mean unless
 * `countPadding`, as in Keras; PyTorch counts it by default.
 * PyTorch: torch.nn.AvgPool2d; Keras: keras.layers.AveragePooling2D
 */
export function avgPool2d(kernel: Pair, options: AvgPool2dOptions & { name?: string } = {}): Layer {
  checkPair('kernel of avgPool2d', kernel, 1)
  checkOptions('avgPool2d', options, ['stride', 'padding', 'countPadding', 'name'])
  const { name, ...place } = options
  checkPlace('avgPool2d', place)
  checkOneOf('countPadding of avgPool2d', place.countPadding ?? false, [true, false])
  return layer('avgPool2d', (x) => averageOf(x, kernel, place), name)
}

/**
 * Mean over height and width: [n, h, w, c] gives [n, c].
 * PyTorch: torch.nn.AdaptiveAvgPool2d(1); Keras: keras.layers.GlobalAveragePooling2D
 */
export function globalAvgPool2d(options: { name?: string } = {}): Layer {
  checkOptions('globalAvgPool2d', options, ['name'])
  return layer('globalAvgPool2d', (x) => globalAverageOf(x), options.name)
}
