// A residual block (He et al. 2016): layers with a short cut around them.

import { checkOptions, expected, GradlineError } from '../errors.js'
import { add } from '../ops/elementwise.js'
import { sameShape, showShape } from '../shape.js'
import { type Layer, layer, walk } from './layer.js'

export interface ResidualOptions {
  /** Layers on the short cut, where the block changes the shape. Default none: the input itself. */
  shortcut?: readonly Layer[]
  name?: string
}

/**
 * layers(x) + shortcut(x). Parameters: those of the layers (`residual1.conv2d1.weight`) and of the short cut
 * (`residual1.shortcut.conv2d1.weight`).
 * PyTorch: none (x + f(x)); Keras: keras.layers.Add
 */
export function residual(layers: readonly Layer[], options: ResidualOptions = {}): Layer {
  checkOptions('residual', options, ['shortcut', 'name'])
  const { shortcut = [] } = options
  for (const list of [layers, shortcut]) {
    if (!Array.isArray(list))
      throw expected('a list of layers', list === layers ? 'residual' : 'shortcut of residual', list)
  }
  return layer(
    'residual',
    (x, scope) => {
      const y = walk(layers, x, scope).at(-1)?.output ?? x
      const around = walk(shortcut, x, scope.child('shortcut')).at(-1)?.output ?? x
      if (!sameShape(y.shape, around.shape)) {
        throw new GradlineError(
          'shape',
          `Expected a short cut of shape ${showShape(y.shape)}, like the layers of residual, but received ` +
            showShape(around.shape),
          { fix: 'Bring it to that shape with { shortcut: [conv2d(channels, 1, { stride })] }' },
        )
      }
      return add(y, around)
    },
    options.name,
  )
}
