// Embedding: a learned vector for each of a number of things, looked up by index.

import { checkInteger, checkOptions, GradlineError } from '../errors.js'
import { type Initializer, normal } from '../initializers/initializer.js'
import { gather, reshape } from '../ops/move.js'
import { checkInit } from './affine.js'
import { type Layer, layer } from './layer.js'

export interface EmbeddingOptions {
  /** Weight [count, size]. Default normal with standard deviation 1 (Keras: uniform within 0.05). */
  init?: Initializer
  name?: string
}

/**
 * int32 [n, ...] with numbers from 0 to count - 1 gives [n, ..., size]; another number fails the step. The model's input is
 * declared as `{ shape, dtype: 'int32' }`. Parameter: weight [count, size].
 * PyTorch: torch.nn.Embedding; Keras: keras.layers.Embedding
 */
export function embedding(count: number, size: number, options: EmbeddingOptions = {}): Layer {
  checkOptions('embedding', options, ['init', 'name'])
  checkInteger('count of embedding', count, { min: 1 })
  checkInteger('size of embedding', size, { min: 1 })
  checkInit('init of embedding', options.init)
  return layer(
    'embedding',
    (x, scope) => {
      if (x.dtype !== 'int32') {
        throw new GradlineError('shape', `Expected int32 indices for embedding but received ${x}`, {
          fix: "Declare the model's input as { shape, dtype: 'int32' }",
        })
      }
      const weight = scope.param('weight', [count, size], options.init ?? normal({ std: 1 }))
      return reshape(gather(weight, reshape(x, [x.size])), [...x.shape, size])
    },
    options.name,
  )
}
