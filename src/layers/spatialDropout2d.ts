// Spatial dropout (Tompson et al. 2015): whole channels are dropped, since neighbouring pixels tell almost the same.

import { checkFinite, checkOptions } from '../errors.js'
import { mul } from '../ops/elementwise.js'
import { fill } from '../ops/move.js'
import { dropout } from '../ops/random.js'
import { checkImage, type Layer, layer } from './layer.js'

/**
 * [n, h, w, c] while training: each channel of each sample is 0 with probability `rate` (default 0.5), else divided by
 * 1 - rate. In prediction nothing happens.
 * PyTorch: torch.nn.Dropout2d; Keras: keras.layers.SpatialDropout2D
 */
export function spatialDropout2d(rate = 0.5, options: { name?: string } = {}): Layer {
  checkFinite('rate of spatialDropout2d', rate, { min: 0, below: 1 })
  checkOptions('spatialDropout2d', options, ['name'])
  return layer(
    'spatialDropout2d',
    (x, scope) => {
      const channels = checkImage('spatialDropout2d', x)
      if (scope.mode !== 'train' || rate === 0) return x
      return mul(x, dropout(fill([x.shape[0] as number, 1, 1, channels], 1), rate))
    },
    options.name,
  )
}
