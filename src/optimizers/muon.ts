// Muon: momentum made orthogonal, for weights that are matrices; everything else goes by AdamW. The matrices are updated
// by a composition of ops, since their update needs products of whole matrices.

import { checkFinite, checkInteger, checkOneOf, checkOptions } from '../errors.js'
import { add, div, mul, scale, select, sign, sqrt, square, sub, weightedSum } from '../ops/elementwise.js'
import { matmul } from '../ops/matmul.js'
import { assign, reshape } from '../ops/move.js'
import { sum } from '../ops/reduce.js'
import { adamUpdate, stepValue } from '../ops/update.js'
import type { Tensor, Variable } from '../tensor.js'
import { type AdamOptions, adamNumbers } from './adam.js'
import { type Match, matcher } from './groups.js'
import { type Alone, type CommonOptions, clamped, commonOptions, type Optimizer, optimizer } from './optimizer.js'

/** `lr` defaults to 0.02, that of the matrices. */
export interface MuonOptions extends CommonOptions {
  /** Decay of the mean of gradients. Default 0.95. */
  momentum?: number
  /** Orthogonalizes (1 - momentum) g + momentum m instead of the mean m. Default true. */
  nesterov?: boolean
  /** Newton-Schulz iterations. Default 5. */
  iterations?: number
  /** Matrices that go by AdamW all the same: embeddings and the last layer. Default none. */
  exclude?: Match
  /** AdamW of the other parameters. Defaults: lr 0.0003, beta1 0.9, beta2 0.95, eps 1e-10. */
  adam?: Pick<AdamOptions, 'lr' | 'beta1' | 'beta2' | 'eps'>
}

/**
 * m = momentum m + (1 - momentum) g; theta -= lr sqrt(max(1, out / in)) O(m), where O brings the singular values of a
 * matrix near 1 by five steps of X = a X + b X X^T X + c (X X^T)^2 X, (a, b, c) = (3.4445, -4.7750, 2.0315), from X = m /
 * |m| (Jordan et al. 2024). A convolution's weight counts as a matrix [taps * in, out]. Parameters of one axis go by AdamW
 * with its own rate; `decay` (default 0) is for both.
 *
 * PyTorch: torch.optim.Muon (2.9 and newer); Keras: keras.optimizers.Muon
 */
export function muon(options: MuonOptions = {}): Optimizer {
  checkOptions('muon', options, [...commonOptions, 'momentum', 'nesterov', 'iterations', 'exclude', 'adam'])
  checkOptions('adam of muon', options.adam, ['lr', 'beta1', 'beta2', 'eps'])
  const lr = checkFinite('lr of muon', options.lr ?? 0.02, { above: 0 })
  const momentum = checkFinite('momentum of muon', options.momentum ?? 0.95, { min: 0, below: 1 })
  const iterations = checkInteger('iterations of muon', options.iterations ?? 5, { min: 1, max: 100 })
  const nesterov = checkOneOf('nesterov of muon', options.nesterov ?? true, [true, false])
  const excluded = options.exclude === undefined ? () => false : matcher(options.exclude)
  const adamRate = checkFinite('lr of adam of muon', options.adam?.lr ?? 3e-4, { min: 0 })
  const numbers = adamNumbers('adam of muon', { beta2: 0.95, eps: 1e-10, ...options.adam })

  const update =
    (clipValue: number): Alone['update'] =>
    (weight, slots, gradient, { rate, decay, l1, l2 }, step) => {
      const m = slots[0] as Variable
      let g = clamped(mul(gradient, stepValue('clipScale', step)), clipValue)
      if (l2 !== 0) g = add(g, scale(weight, l2))
      if (l1 !== 0) g = add(g, scale(sign(weight), l1))
      const mean = weightedSum(m, g, momentum, 1 - momentum)
      const ahead = nesterov ? weightedSum(g, mean, 1 - momentum, momentum) : mean
      const units = weight.shape.at(-1) as number
      const matrix = reshape(ahead, [weight.size / units, units])
      const direction = scale(orthogonal(matrix, iterations), Math.sqrt(Math.max(1, (units * units) / weight.size)))
      const whole = add(reshape(direction, weight.shape), scale(weight, decay))
      const moved = sub(weight, mul(whole, scale(stepValue('rate', step), rate)))
      const skip = stepValue('skip', step)
      assign(m, select(skip, m, mean))
      assign(weight, select(skip, weight, moved))
    }
  return optimizer(
    {
      kind: 'muon',
      lr,
      slots: ['m', 'v'],
      alone: (clipValue) => ({
        chosen: ({ rank, name }) => rank >= 2 && !excluded(name),
        update: update(clipValue),
        othersRate: adamRate / lr,
      }),
      update: (clipValue) => (param, slots, gradient, step) => {
        const [m, v] = slots as [Variable, Variable]
        adamUpdate(param, m, v, gradient, step, numbers, clipValue)
      },
    },
    options,
  )
}

// Newton-Schulz iteration with the published coefficients, on the side where X X^T is smaller. x [rows, columns].
function orthogonal(x: Tensor, iterations: number): Tensor {
  const [a, b, c] = [3.4445, -4.775, 2.0315]
  const [rows, columns] = x.shape as [number, number]
  const wide = rows <= columns
  let at = div(x, add(sqrt(sum(square(x))), 1e-7))
  for (let i = 0; i < iterations; i++) {
    const gram = wide ? matmul(at, at, { transposeB: true }) : matmul(at, at, { transposeA: true })
    const mixed = weightedSum(gram, matmul(gram, gram), b, c)
    at = add(scale(at, a), wide ? matmul(mixed, at) : matmul(at, mixed))
  }
  return at
}
