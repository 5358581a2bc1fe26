// Activations as compositions of elementwise ops; those that are kernels of their own (relu, leakyRelu, elu, sigmoid,
// tanh, softmax) stand in elementwise.ts and norm.ts. Where a formula has a kink, the operands are ordered so that the
// derivative there is the one PyTorch documents.

import { checkFinite, checkOneOf, checkOptions, expected } from '../errors.js'
import { checkTensors, expectTensor } from '../op.js'
import type { Tensor } from '../tensor.js'
import {
  abs,
  add,
  div,
  elu,
  erf,
  exp,
  greater,
  log,
  log1p,
  maximum,
  minimum,
  mul,
  neg,
  type Operand,
  relu,
  scale,
  select,
  sigmoid,
  square,
  sub,
  tanh,
} from './elementwise.js'
import { slice, stopGradient } from './move.js'
import { max, sum } from './reduce.js'

/** min(max(x, 0), 6); the derivative at 0 and at 6 is 0. Krizhevsky 2010. */
export function relu6(x: Tensor): Tensor {
  return minimum(6, relu(x))
}

/** x where x > 0, else alpha * x, with a tensor alpha that broadcasts to x (its derivative is x where x <= 0). */
export function prelu(x: Tensor, alpha: Operand): Tensor {
  return select(greater(x, 0), x, mul(alpha, x))
}

// Klambauer et al. 2017: the fixed point of mean 0 and variance 1.
const seluScale = 1.0507009873554805
const seluAlpha = 1.6732632423543772

/** 1.0507... * (x where x > 0, else 1.6732... * (e^x - 1)). Klambauer et al. 2017. */
export function selu(x: Tensor): Tensor {
  return scale(elu(x, seluAlpha), seluScale)
}

export interface GeluOptions {
  /** 'exact': by the error function; 'tanh': the approximation by tanh. Default 'exact'. */
  form?: 'exact' | 'tanh'
}

/** Checks the options of gelu, for the op and the layer. */
export function checkGelu(options: GeluOptions): 'exact' | 'tanh' {
  checkOptions('gelu', options, ['form'])
  return checkOneOf('form of gelu', options.form ?? 'exact', ['exact', 'tanh'])
}

/**
 * x * Phi(x) with the normal distribution function: 0.5 x (1 + erf(x / sqrt 2)), or with form 'tanh'
 * 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))). Hendrycks & Gimpel 2016.
 */
export function gelu(x: Tensor, options: GeluOptions = {}): Tensor {
  const inner =
    checkGelu(options) === 'exact'
      ? erf(scale(x, Math.SQRT1_2))
      : tanh(scale(mul(x, scale(square(x), 0.044715, 1)), Math.sqrt(2 / Math.PI)))
  return mul(x, scale(inner, 0.5, 0.5))
}

/** x * sigmoid(x), also called swish. Elfwing et al. 2018. */
export function silu(x: Tensor): Tensor {
  return mul(x, sigmoid(x))
}

/** log(1 + e^x), exact far out on both sides: (x + |x|) / 2 + log1p(e^-|x|). Dugas et al. 2001. */
export function softplus(x: Tensor): Tensor {
  const size = abs(x)
  // Half of x + |x| is max(x, 0) with the derivative 1/2 at 0, so that the sum has the derivative sigmoid(x) there too.
  return add(scale(add(x, size), 0.5), log1p(exp(neg(size))))
}

/** x * tanh(softplus(x)). Misra 2019. */
export function mish(x: Tensor): Tensor {
  return mul(x, tanh(softplus(x)))
}

/** x / (1 + |x|). Turian et al. 2009. */
export function softsign(x: Tensor): Tensor {
  return div(x, scale(abs(x), 1, 1))
}

/** min(max(x + 3, 0), 6) / 6: PyTorch's hard sigmoid, of slope 1/6. */
export function hardSigmoid(x: Tensor): Tensor {
  return scale(relu6(scale(x, 1, 3)), 1 / 6)
}

/** Checks the bounds of hardTanh, for the op and the layer. */
export function checkHardTanh(min: number, max: number): void {
  checkFinite('min of hardTanh', min)
  checkFinite('max of hardTanh', max, { above: min })
}

/** min(max(x, min), max), default -1 and 1; the derivative at the bounds is 0. Collobert 2004. */
export function hardTanh(x: Tensor, min = -1, max = 1): Tensor {
  checkHardTanh(min, max)
  return maximum(min, minimum(max, x))
}

/** log(softmax(x)) over the last axis, shifted by the row's maximum so that nothing overflows and no log(0) is taken. */
export function logSoftmax(x: Tensor): Tensor {
  checkTensors('logSoftmax', x)
  if (x.rank === 0) throw expectTensor('a tensor with at least one axis', 'logSoftmax', x)
  const row = { axes: -1, keepAxes: true }
  const shifted = sub(x, stopGradient(max(x, row)))
  return sub(shifted, log(sum(exp(shifted), row)))
}

/** [..., 2c] gives [..., c]: the first half times the sigmoid of the second. Dauphin et al. 2017. */
export function glu(x: Tensor): Tensor {
  checkTensors('glu', x)
  const width = x.shape.at(-1) ?? 1
  if (width % 2 !== 0) throw expected('an even last axis', 'glu', x.shape, { code: 'shape' })
  const half = [...x.shape.slice(0, -1), width / 2]
  const second = x.shape.map((_, axis) => (axis === x.rank - 1 ? width / 2 : 0))
  return mul(
    slice(
      x,
      x.shape.map(() => 0),
      half,
    ),
    sigmoid(slice(x, second, half)),
  )
}
