// The derivative of any function of numbers by central differences: slow, approximate, and independent of everything it is
// used to check. It knows nothing of programs.

import { checkFinite, checkOptions, expected } from '../errors.js'

export interface NumericalGradientOptions {
  /** Half the distance of the two points. Default 1e-4. */
  h?: number
}

/**
 * (f(x + h e) - f(x - h e)) / 2h for every element of x, whose shape does not matter: elements row by row in, partial
 * derivatives row by row out. Calls f twice per element; the error falls with h^2 until rounding in f, about 1e-16 f / h,
 * outweighs it. `f` is given an array of its own that it must not keep.
 * PyTorch: torch.autograd.gradcheck; Keras: none
 */
export function numericalGradient(
  f: (x: Float64Array) => number,
  x: ArrayLike<number>,
  options: NumericalGradientOptions = {},
): Float64Array {
  checkOptions('numericalGradient', options, ['h'])
  const h = checkFinite('h of numericalGradient', options.h ?? 1e-4, { above: 0 })
  if (typeof f !== 'function') throw expected('a function of an array', 'numericalGradient', f)
  if (!(x?.length >= 0)) throw expected('an array of numbers', 'x of numericalGradient', x)
  const point = new Float64Array(x.length)
  for (let i = 0; i < point.length; i++) {
    const value: unknown = x[i]
    if (typeof value !== 'number') throw expected('a number', `element ${i} of x of numericalGradient`, value)
    point[i] = value
  }
  return point.map((at, i) => {
    point[i] = at + h
    const above = f(point)
    point[i] = at - h
    const below = f(point)
    point[i] = at
    return (above - below) / (2 * h)
  })
}
