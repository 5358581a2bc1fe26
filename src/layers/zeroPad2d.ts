// Zeros around images.

import { checkInteger, checkOptions } from '../errors.js'
import { pad } from '../ops/move.js'
import { checkPair, type Pair } from '../ops/window.js'
import { checkImage, type Layer, layer } from './layer.js'

/** Rows and columns of zeros on each side; those not given are 0. */
export interface Sides {
  top?: number
  bottom?: number
  left?: number
  right?: number
}

/**
 * [n, h, w, c] gives [n, top + h + bottom, left + w + right, c]. `padding` is one number for all sides, [vertical,
 * horizontal], or the sides by name.
 * PyTorch: torch.nn.ZeroPad2d; Keras: keras.layers.ZeroPadding2D
 */
export function zeroPad2d(padding: Pair | Sides, options: { name?: string } = {}): Layer {
  checkOptions('zeroPad2d', options, ['name'])
  const { top = 0, bottom = 0, left = 0, right = 0 } = sidesOf(padding)
  for (const [side, size] of Object.entries({ top, bottom, left, right })) {
    checkInteger(`${side} of zeroPad2d`, size, { min: 0 })
  }
  return layer(
    'zeroPad2d',
    (x) => {
      checkImage('zeroPad2d', x)
      return pad(x, [0, top, left, 0], [0, bottom, right, 0])
    },
    options.name,
  )
}

function sidesOf(padding: Pair | Sides): Sides {
  if (typeof padding === 'object' && padding !== null && !Array.isArray(padding)) {
    return checkOptions('the padding of zeroPad2d', padding as Sides, ['top', 'bottom', 'left', 'right'])
  }
  const [vertical, horizontal] = checkPair('padding of zeroPad2d', padding as Pair, 0)
  return { top: vertical, bottom: vertical, left: horizontal, right: horizontal }
}
