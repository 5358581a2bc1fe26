// The matrix product of two matrices, either read transposed.

import { checkOptions, GradlineError } from '../errors.js'
import { apply1 } from '../graph.js'
import { checkFloat, checkRank, defineOp } from '../op.js'
import { showShape } from '../shape.js'
import type { Tensor } from '../tensor.js'

const matmulOp = defineOp({
  name: 'matmul',
  attrs: ['transposeA', 'transposeB'],
  shape: ([a, b], { transposeA, transposeB }) => {
    const [left, right] = [a as Tensor, b as Tensor]
    checkFloat('matmul', left, right)
    checkRank('matmul', left, 2, '[rows, inner]')
    checkRank('matmul', right, 2, '[inner, columns]')
    const [m, k] = transposeA ? [left.shape[1], left.shape[0]] : left.shape
    const [inner, n] = transposeB ? [right.shape[1], right.shape[0]] : right.shape
    if (k !== inner) {
      throw new GradlineError(
        'shape',
        `Expected equal inner sizes for matmul but received ${showShape(left.shape)}${transposeA ? ' transposed' : ''} ` +
          `and ${showShape(right.shape)}${transposeB ? ' transposed' : ''} (${k} and ${inner})`,
      )
    }
    return [{ shape: [m as number, n as number], dtype: 'float32' }]
  },
  backward: ([grad], { inputs: [a, b], attrs }) => {
    const [g, left, right] = [grad as Tensor, a as Tensor, b as Tensor]
    const transposeA = attrs.transposeA === 1
    const transposeB = attrs.transposeB === 1
    return [
      transposeA
        ? matmul(right, g, { transposeA: transposeB, transposeB: true })
        : matmul(g, right, { transposeB: !transposeB }),
      transposeB
        ? matmul(g, left, { transposeA: true, transposeB: transposeA })
        : matmul(left, g, { transposeA: !transposeA }),
    ]
  },
})

export interface MatmulOptions {
  /** Read a as [inner, rows]. Default false. */
  transposeA?: boolean
  /** Read b as [columns, inner]. Default false. */
  transposeB?: boolean
}

/** a [m, k] times b [k, n] gives [m, n]. */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  checkOptions('matmul', options, ['transposeA', 'transposeB'])
  return apply1(matmulOp, [a, b], {
    transposeA: options.transposeA ? 1 : 0,
    transposeB: options.transposeB ? 1 : 0,
  })
}
