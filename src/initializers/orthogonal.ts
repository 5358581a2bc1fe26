// Random orthogonal weights.

import { checkFinite, checkOptions } from '../errors.js'
import { add, div, scale, sqrt, square, weightedSum } from '../ops/elementwise.js'
import { matmul } from '../ops/matmul.js'
import { reshape } from '../ops/move.js'
import { randomNormal } from '../ops/random.js'
import { sum } from '../ops/reduce.js'
import { sizeOf } from '../shape.js'
import type { Tensor } from '../tensor.js'
import type { Initializer } from './initializer.js'

export interface GainOptions {
  /** Factor on the result. Default 1. */
  gain?: number
}

// a x + b x^3 + c x^5, applied to all singular values at once. The first (Jordan et al. 2024, "Muon") takes small ones up
// by 3.4 each time until all lie in [0.7, 1.2]; the second brings those to 1, with an error of the third power of the last.
const rise = { a: 3.4445, b: -4.775, c: 2.0315, times: 16 }
const settle = { a: 15 / 8, b: -10 / 8, c: 3 / 8, times: 5 }

/**
 * A random matrix with orthonormal rows or columns, whichever are fewer, times gain: [..., in, out] as the matrix
 * [taps * in, out] (Saxe, McClelland & Ganguli 2014).
 *
 * It is the orthogonal factor of the polar decomposition of a normal matrix, which is distributed like that of its QR
 * decomposition with positive diagonal (uniformly over all orthogonal matrices), but is found by matrix products alone
 * (a Newton-Schulz iteration) and so runs on every device; a QR decomposition would have to run outside the program.
 *
 * PyTorch: torch.nn.init.orthogonal_; Keras: keras.initializers.Orthogonal
 */
export function orthogonal(options: GainOptions = {}): Initializer {
  checkOptions('orthogonal', options, ['gain'])
  const gain = checkFinite('gain of orthogonal', options.gain ?? 1)
  return (shape) => {
    const columns = shape.at(-1) ?? 1
    const rows = sizeOf(shape) / columns
    const drawn = randomNormal([rows, columns])
    let x = div(drawn, sqrt(sum(square(drawn))))
    for (const { a, b, c, times } of [rise, settle]) {
      for (let i = 0; i < times; i++) x = oddPolynomial(x, a, b, c)
    }
    return reshape(scale(x, gain), shape)
  }
}

// By the smaller of the two Gram matrices: x (a + b g + c g^2) with g = x'x, or (a + b g + c g^2) x with g = xx'.
function oddPolynomial(x: Tensor, a: number, b: number, c: number): Tensor {
  const [rows, columns] = x.shape as [number, number]
  const tall = rows > columns
  const gram = tall ? matmul(x, x, { transposeA: true }) : matmul(x, x, { transposeB: true })
  const even = weightedSum(gram, matmul(gram, gram), b, c)
  return add(scale(x, a), tall ? matmul(x, even) : matmul(even, x))
}
