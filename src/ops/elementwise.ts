// Elementwise operations: one element of each operand gives one element of the result. Operands of two- and three-operand
// ops broadcast from the right as in NumPy. Activations keep their output, not their input, for the derivative.

import { checkFinite, expected } from '../errors.js'
import { apply1 } from '../graph.js'
import {
  type Attrs,
  type Backward,
  checkFloat,
  checkSameShape,
  checkTensors,
  defineOp,
  expectTensor,
  type Op,
} from '../op.js'
import { broadcastShapes, type Shape, sameShape } from '../shape.js'
import { Tensor } from '../tensor.js'
import { fill, reshape } from './move.js'
import { sum } from './reduce.js'

/** A tensor, or a number that stands for a tensor of that one value. */
export type Operand = Tensor | number

// ---- One operand ---------------------------------------------------------------------------------------------------

function unary(name: string, backward: Backward, options: { attrs?: string[]; epilogue?: boolean } = {}): Op {
  return defineOp({
    name,
    ...options,
    inPlace: true,
    shape: ([x]) => {
      checkFloat(name, x as Tensor)
      return [{ shape: (x as Tensor).shape, dtype: 'float32' }]
    },
    backward,
  })
}

// The shorthand of every derivative below: g is the gradient of the only output, x, a, b the inputs, y the output.
type Rule = (g: Tensor, at: { x: Tensor; a: Tensor; b: Tensor; y: Tensor; attrs: Attrs }) => (Tensor | undefined)[]

function rule(derive: Rule): Backward {
  return ([g], { inputs, outputs, attrs }) =>
    derive(g as Tensor, {
      x: inputs[0] as Tensor,
      a: inputs[0] as Tensor,
      b: inputs[1] as Tensor,
      y: outputs[0] as Tensor,
      attrs,
    })
}

const negOp = unary(
  'neg',
  rule((g) => [neg(g)]),
)
const absOp = unary(
  'abs',
  rule((g, { x }) => [mul(g, sign(x))]),
)
const signOp = unary(
  'sign',
  rule(() => [undefined]),
)
const expOp = unary(
  'exp',
  rule((g, { y }) => [mul(g, y)]),
)
const logOp = unary(
  'log',
  rule((g, { x }) => [div(g, x)]),
)
const log1pOp = unary(
  'log1p',
  rule((g, { x }) => [div(g, scale(x, 1, 1))]),
)
const erfOp = unary(
  'erf',
  rule((g, { x }) => [mul(g, scale(exp(neg(square(x))), 2 / Math.sqrt(Math.PI)))]),
)
const sqrtOp = unary(
  'sqrt',
  rule((g, { y }) => [div(scale(g, 0.5), y)]),
)
const scaleOp = unary(
  'scale',
  rule((g, { attrs }) => [scale(g, attrs.factor as number)]),
  {
    attrs: ['factor', 'offset'],
  },
)

/** -x */
export function neg(x: Tensor): Tensor {
  return apply1(negOp, [x])
}
/** |x|; the derivative at 0 is 0. */
export function abs(x: Tensor): Tensor {
  return apply1(absOp, [x])
}
/** -1, 0 or 1; NaN stays NaN. No gradient flows. */
export function sign(x: Tensor): Tensor {
  return apply1(signOp, [x])
}
/** e^x */
export function exp(x: Tensor): Tensor {
  return apply1(expOp, [x])
}
/** Natural logarithm; log(0) = -Infinity, of a negative number NaN. */
export function log(x: Tensor): Tensor {
  return apply1(logOp, [x])
}
/** log(1 + x) with the digits of small x; -Infinity at -1, below NaN. */
export function log1p(x: Tensor): Tensor {
  return apply1(log1pOp, [x])
}
/** Error function: 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x. */
export function erf(x: Tensor): Tensor {
  return apply1(erfOp, [x])
}
/** Square root; of a negative number NaN. */
export function sqrt(x: Tensor): Tensor {
  return apply1(sqrtOp, [x])
}
/** factor * x + offset, with two numbers that never change. */
export function scale(x: Tensor, factor: number, offset = 0): Tensor {
  return scaled('scale', x, checkFinite('factor of scale', factor), checkFinite('offset of scale', offset))
}
// `name` is that of the function that was called.
function scaled(name: string, x: Tensor, factor: number, offset: number): Tensor {
  checkTensors(name, x)
  checkFloat(name, x)
  return apply1(scaleOp, [x], { factor, offset })
}
/** x * x */
export function square(x: Tensor): Tensor {
  return mul(x, x)
}

// ---- Activations and their derivatives -----------------------------------------------------------------------------

// dx = dy * f'(x), written in the output y. `wrtOutput` is the derivative of that expression with respect to y.
function activationGrad(name: string, attrs: string[], wrtOutput: Rule): Op {
  const op: Op = defineOp({
    name,
    attrs,
    inPlace: true,
    epilogue: true,
    shape: ([dy, y]) => {
      checkFloat(name, dy as Tensor, y as Tensor)
      checkSameShape(name, dy as Tensor, y as Tensor)
      return [{ shape: (y as Tensor).shape, dtype: 'float32' }]
    },
    backward: rule((g, at) => [apply1(op, [g, at.b], at.attrs), ...wrtOutput(g, at)]),
  })
  return op
}

function activation(name: string, gradient: Op, attrs: string[] = []): Op {
  return unary(
    name,
    rule((g, at) => [apply1(gradient, [g, at.y], at.attrs)]),
    { attrs, epilogue: true },
  )
}

const reluGradOp = activationGrad('reluGrad', [], () => [undefined])
const leakyReluGradOp = activationGrad('leakyReluGrad', ['slope'], () => [undefined])
const eluGradOp = activationGrad('eluGrad', ['alpha'], (g, { a, b }) => [select(greater(b, 0), 0, mul(g, a))])
const sigmoidGradOp = activationGrad('sigmoidGrad', [], (g, { a, b }) => [mul(mul(g, a), scale(b, -2, 1))])
const tanhGradOp = activationGrad('tanhGrad', [], (g, { a, b }) => [mul(mul(g, a), scale(b, -2))])

const reluOp = activation('relu', reluGradOp)
const leakyReluOp = activation('leakyRelu', leakyReluGradOp, ['slope'])
const eluOp = activation('elu', eluGradOp, ['alpha'])
const sigmoidOp = activation('sigmoid', sigmoidGradOp)
const tanhOp = activation('tanh', tanhGradOp)

/** max(x, 0); the derivative at 0 is 0. */
export function relu(x: Tensor): Tensor {
  return apply1(reluOp, [x])
}
/** x where x > 0, else slope * x (default 0.01). Defined by the sign of x, so a slope above 1 is right too; slope >= 0. */
export function leakyRelu(x: Tensor, slope = 0.01): Tensor {
  checkFinite('slope of leakyRelu', slope, { min: 0 })
  return apply1(leakyReluOp, [x], { slope })
}
/** x where x > 0, else alpha * (e^x - 1) (default alpha 1, with which the derivative is continuous); alpha >= 0. */
export function elu(x: Tensor, alpha = 1): Tensor {
  checkFinite('alpha of elu', alpha, { min: 0 })
  return apply1(eluOp, [x], { alpha })
}
/** 1 / (1 + e^-x) */
export function sigmoid(x: Tensor): Tensor {
  return apply1(sigmoidOp, [x])
}
/** Hyperbolic tangent. */
export function tanh(x: Tensor): Tensor {
  return apply1(tanhOp, [x])
}

// ---- Two and three operands ----------------------------------------------------------------------------------------

function binary(
  name: string,
  derive: Rule,
  options: { attrs?: string[]; inPlace?: boolean; epilogue?: boolean } = {},
): Op {
  return defineOp({
    name,
    ...options,
    shape: ([a, b]) => {
      checkFloat(name, a as Tensor, b as Tensor)
      return [{ shape: broadcastShapes(name, (a as Tensor).shape, (b as Tensor).shape), dtype: 'float32' }]
    },
    backward: rule(derive),
  })
}

const arithmetic = { inPlace: true }
const addOp = binary('add', (g, { a, b }) => [sumTo(g, a), sumTo(g, b)], { ...arithmetic, epilogue: true })
const subOp = binary('sub', (g, { a, b }) => [sumTo(g, a), sumTo(neg(g), b)], arithmetic)
const mulOp = binary('mul', (g, { a, b }) => [sumTo(mul(g, b), a), sumTo(mul(g, a), b)], {
  ...arithmetic,
  epilogue: true,
})
const divOp = binary('div', (g, { a, b, y }) => [sumTo(div(g, b), a), sumTo(neg(div(mul(g, y), b)), b)], arithmetic)
// Where both are equal the gradient goes to the first operand.
const maximumOp = binary('maximum', (g, { a, b }) => toWinner(g, greater(b, a), a, b), arithmetic)
const minimumOp = binary('minimum', (g, { a, b }) => toWinner(g, greater(a, b), a, b), arithmetic)
const weightedSumOp = binary(
  'weightedSum',
  (g, { a, b, attrs }) => [sumTo(scale(g, attrs.weightA as number), a), sumTo(scale(g, attrs.weightB as number), b)],
  { attrs: ['weightA', 'weightB'], ...arithmetic },
)
const greaterOp = binary('greater', () => [undefined, undefined])

function toWinner(g: Tensor, secondWins: Tensor, a: Tensor, b: Tensor): Tensor[] {
  return [sumTo(select(secondWins, 0, g), a), sumTo(select(secondWins, g, 0), b)]
}

const equalOp = defineOp({
  name: 'equal',
  shape: ([a, b]) => {
    const [first, second] = [a as Tensor, b as Tensor]
    if (first.dtype !== second.dtype || first.dtype === 'uint8') {
      throw expectTensor(`a tensor of the element type of the first (${first.dtype})`, 'equal', second)
    }
    return [{ shape: broadcastShapes('equal', first.shape, second.shape), dtype: 'float32' }]
  },
  backward: () => [undefined, undefined],
})

const selectOp = defineOp({
  name: 'select',
  shape: ([c, a, b]) => {
    checkFloat('select', c as Tensor, a as Tensor, b as Tensor)
    const shapes = [c, a, b].map((t) => (t as Tensor).shape)
    return [{ shape: broadcastShapes('select', ...shapes), dtype: 'float32' }]
  },
  backward: ([g], { inputs: [c, a, b] }) => [
    undefined,
    sumTo(select(c as Tensor, g as Tensor, 0), a as Tensor),
    sumTo(select(c as Tensor, 0, g as Tensor), b as Tensor),
  ],
})

// The error for a number that is none, or for something that is neither, names the function that was called.
const operand = (name: string, value: number): number => checkFinite(`an operand of ${name}`, value)

function tensor(name: string, value: Operand): Tensor {
  if (typeof value === 'number') return fill([], operand(name, value))
  if (!(value instanceof Tensor)) throw expected('a tensor or a number', name, value)
  return value
}

// The gradient of an operand that was repeated by broadcasting is the sum over its repetitions.
function sumTo(g: Tensor, operand: Tensor): Tensor {
  const target: Shape = operand.shape
  if (sameShape(g.shape, target)) return g
  const missing = g.rank - target.length
  const repeated = g.shape.flatMap((dim, axis) => (axis < missing || target[axis - missing] !== dim ? [axis] : []))
  return reshape(sum(g, { axes: repeated, keepAxes: true }), target)
}

/** a + b */
export function add(a: Operand, b: Operand): Tensor {
  if (typeof b === 'number' && typeof a !== 'number') return scaled('add', a, 1, operand('add', b))
  if (typeof a === 'number' && typeof b !== 'number') return scaled('add', b, 1, operand('add', a))
  return apply1(addOp, [tensor('add', a), tensor('add', b)])
}
/** a - b */
export function sub(a: Operand, b: Operand): Tensor {
  if (typeof b === 'number' && typeof a !== 'number') return scaled('sub', a, 1, -operand('sub', b))
  if (typeof a === 'number' && typeof b !== 'number') return scaled('sub', b, -1, operand('sub', a))
  return apply1(subOp, [tensor('sub', a), tensor('sub', b)])
}
/** a * b, element by element */
export function mul(a: Operand, b: Operand): Tensor {
  if (typeof b === 'number' && typeof a !== 'number') return scaled('mul', a, operand('mul', b), 0)
  if (typeof a === 'number' && typeof b !== 'number') return scaled('mul', b, operand('mul', a), 0)
  return apply1(mulOp, [tensor('mul', a), tensor('mul', b)])
}
/** a / b */
export function div(a: Operand, b: Operand): Tensor {
  return apply1(divOp, [tensor('div', a), tensor('div', b)])
}
/** The larger of each pair; NaN if either is NaN. */
export function maximum(a: Operand, b: Operand): Tensor {
  return apply1(maximumOp, [tensor('maximum', a), tensor('maximum', b)])
}
/** The smaller of each pair; NaN if either is NaN. */
export function minimum(a: Operand, b: Operand): Tensor {
  return apply1(minimumOp, [tensor('minimum', a), tensor('minimum', b)])
}
/** weightA * a + weightB * b, with two numbers that never change: an average that forgets, a step between two points. */
export function weightedSum(a: Operand, b: Operand, weightA: number, weightB: number): Tensor {
  checkFinite('weightA of weightedSum', weightA)
  checkFinite('weightB of weightedSum', weightB)
  return apply1(weightedSumOp, [tensor('weightedSum', a), tensor('weightedSum', b)], { weightA, weightB })
}
/** 1 where a > b, else 0. No gradient flows. */
export function greater(a: Operand, b: Operand): Tensor {
  return apply1(greaterOp, [tensor('greater', a), tensor('greater', b)])
}
/** 1 where a equals b, else 0; both float or both int32. No gradient flows. */
export function equal(a: Tensor, b: Tensor): Tensor {
  return apply1(equalOp, [a, b])
}
/** a where condition is not 0, else b. */
export function select(condition: Tensor, a: Operand, b: Operand): Tensor {
  return apply1(selectOp, [condition, tensor('select', a), tensor('select', b)])
}
