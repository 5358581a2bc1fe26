// Normal numbers without their tails. Drawn by the inverse of the normal distribution function instead of drawing again what
// falls outside, so that every element takes one random number and is the same on every device.

import { checkFinite, checkOptions } from '../errors.js'
import { add, log, mul, scale } from '../ops/elementwise.js'
import { randomUniform } from '../ops/random.js'
import type { Shape } from '../shape.js'
import type { Tensor } from '../tensor.js'
import type { Initializer } from './initializer.js'

export interface TruncatedNormalOptions {
  /** Standard deviation BEFORE the tails are cut off; what is left has 0.8796 times as much. */
  std: number
  /** Default 0. */
  mean?: number
}

/** Standard deviation of a standard normal number that lies within 2: sqrt(1 - 4 phi(2) / (2 Phi(2) - 1)). */
export const truncatedStd = 0.8796256610342398

/** Share of normal numbers within 2 standard deviations, 2 Phi(2) - 1. */
const within = 0.9544997361036416

// Of the polynomial for erfinv(x) / x in w - 2.5, w = -log(1 - x^2), from the highest power down (Giles 2010,
// "Approximating the erfinv function", single precision, the branch w < 5; here w stays below 2.43).
const coefficients = [
  2.81022636e-8, 3.43273939e-7, -3.5233877e-6, -4.39150654e-6, 0.00021858087, -0.00125372503, -0.00417768164,
  0.246640727, 1.50140941,
]

/** Numbers of a normal distribution of mean 0 and standard deviation `std` that lie within 2 std. */
export function drawTruncatedNormal(shape: Shape, std: number): Tensor {
  const x = randomUniform(shape, -within, within)
  const w = scale(log(scale(mul(x, x), -1, 1)), -1, -2.5)
  const [first, second, ...rest] = coefficients as [number, number, ...number[]]
  const polynomial = rest.reduce((sum, next) => scale(mul(sum, w), 1, next), scale(w, first, second))
  return mul(x, scale(polynomial, Math.SQRT2 * std))
}

/**
 * Normal numbers of which none lies further than 2 std from the mean. As in Keras, `std` is that of the normal distribution
 * that was cut; varianceScaling() with 'truncatedNormal' corrects for the cut.
 *
 * PyTorch: torch.nn.init.trunc_normal_ (a = mean - 2 std, b = mean + 2 std); Keras: keras.initializers.TruncatedNormal
 */
export function truncatedNormal(options: TruncatedNormalOptions): Initializer {
  checkOptions('truncatedNormal', options, ['std', 'mean'])
  const std = checkFinite('std of truncatedNormal', options?.std, { min: 0 })
  const mean = checkFinite('mean of truncatedNormal', options.mean ?? 0)
  return (shape) => {
    const drawn = drawTruncatedNormal(shape, std)
    return mean === 0 ? drawn : add(drawn, mean)
  }
}
