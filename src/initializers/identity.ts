// Weights that let their input through.

import { checkFinite, checkOptions } from '../errors.js'
import { fill, pad, reshape, slice } from '../ops/move.js'
import type { Initializer } from './initializer.js'
import type { GainOptions } from './orthogonal.js'

/**
 * gain where input number = output number, else 0: [in, out], or the middle tap of a filter [..., in, out] (a convolution
 * with padding 'same' then gives its input back). Inputs without an output of their number are lost, outputs without an
 * input are 0.
 *
 * PyTorch: torch.nn.init.eye_, dirac_; Keras: keras.initializers.Identity
 */
export function identity(options: GainOptions = {}): Initializer {
  checkOptions('identity', options, ['gain'])
  const gain = checkFinite('gain of identity', options.gain ?? 1)
  return (shape) => {
    const [columns, rows] = [shape.at(-1) ?? 1, shape.at(-2) ?? 1]
    const ones = Math.min(rows, columns)
    // A column of ones, one zero more than the row is long behind each, read in rows: each one stands a place further.
    const shifted = reshape(pad(fill([ones, 1], gain), [0, 0], [0, columns]), [ones * (columns + 1)])
    const square = reshape(slice(shifted, [0], [ones * columns]), [ones, columns])
    const matrix = pad(square, [0, 0], [rows - ones, 0])
    const taps = shape.slice(0, -2)
    if (taps.length === 0) return reshape(matrix, shape)
    const middle = taps.map((size) => Math.floor((size - 1) / 2))
    const behind = taps.map((size, i) => size - 1 - (middle[i] as number))
    return pad(reshape(matrix, [...taps.map(() => 1), rows, columns]), [...middle, 0, 0], [...behind, 0, 0])
  }
}
