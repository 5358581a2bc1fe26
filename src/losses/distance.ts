// Embeddings side by side in one prediction, and the distance between two of them; shared by the losses over pairs and
// triplets.

import { GradlineError } from '../errors.js'
import { abs, scale, sqrt, square, sub } from '../ops/elementwise.js'
import { reshape, slice } from '../ops/move.js'
import { sum } from '../ops/reduce.js'
import { showShape } from '../shape.js'
import type { Tensor } from '../tensor.js'

/** The `count` embeddings [n, d] of a prediction [n, count, d]. */
export function embeddings(kind: string, prediction: Tensor, count: number): Tensor[] {
  const [n, parts, d] = prediction.shape
  if (prediction.rank !== 3 || n === undefined || d === undefined || parts !== count) {
    throw new GradlineError(
      'shape',
      `Expected a prediction [n, ${count}, d] for ${kind}, ${count} embeddings per sample, but received ` +
        showShape(prediction.shape),
    )
  }
  return Array.from({ length: count }, (_, i) => reshape(slice(prediction, [0, i, 0], [n, 1, d]), [n, d]))
}

/**
 * (sum |a - b + 1e-6|^p)^(1/p) of each pair of rows [n, d]: [n]. The small number gives equal rows a derivative that is
 * finite and parts them, as in PyTorch's pairwise distance.
 */
export function distance(a: Tensor, b: Tensor, p: 1 | 2 = 2): Tensor {
  const difference = scale(sub(a, b), 1, 1e-6)
  return p === 1 ? sum(abs(difference), { axes: 1 }) : sqrt(sum(square(difference), { axes: 1 }))
}
