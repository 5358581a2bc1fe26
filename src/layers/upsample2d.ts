// Enlarging images by repeating pixels.

import { checkOptions } from '../errors.js'
import { broadcast, reshape } from '../ops/move.js'
import { checkPair, type Pair } from '../ops/window.js'
import { checkImage, type Layer, layer } from './layer.js'

/**
 * Every pixel becomes a block of `factor` (whole numbers, [vertical, horizontal] or one for both): [n, h, w, c] gives
 * [n, h * vertical, w * horizontal, c]. No interpolation.
 * PyTorch: torch.nn.Upsample with mode 'nearest'; Keras: keras.layers.UpSampling2D
 */
export function upsample2d(factor: Pair, options: { name?: string } = {}): Layer {
  checkOptions('upsample2d', options, ['name'])
  const [vertical, horizontal] = checkPair('factor of upsample2d', factor, 1)
  return layer(
    'upsample2d',
    (x) => {
      const channels = checkImage('upsample2d', x)
      const [n, h, w] = x.shape as [number, number, number]
      const blocks = broadcast(reshape(x, [n, h, 1, w, 1, channels]), [n, h, vertical, w, horizontal, channels])
      return reshape(blocks, [n, h * vertical, w * horizontal, channels])
    },
    options.name,
  )
}
