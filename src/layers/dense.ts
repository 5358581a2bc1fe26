// The fully connected layer: y = x W + b.

import { checkInteger, checkOneOf, checkOptions, GradlineError } from '../errors.js'
import { autoInitializer, constant, type Initializer, type InitializerChoice } from '../initializers/initializer.js'
import { add } from '../ops/elementwise.js'
import { matmul } from '../ops/matmul.js'
import { showShape } from '../shape.js'
import { type Layer, layer, type Scope } from './layer.js'

export interface DenseOptions {
  /** 'auto' leaves the bias out before batch norm, which has its own. Default 'auto'. */
  bias?: boolean | 'auto'
  /** Weight [in, units]. Default 'auto': by the activation that follows. */
  init?: InitializerChoice
  /** Bias [units]. Default zeros. */
  biasInit?: Initializer
  name?: string
}

/** [n, in] gives [n, units]. Parameters: weight [in, units], bias [units]. */
export function dense(units: number, options: DenseOptions = {}): Layer {
  checkInteger('units of dense', units, { min: 1 })
  checkOptions('dense', options, ['bias', 'init', 'biasInit', 'name'])
  checkBias('dense', options.bias)
  return layer(
    'dense',
    (x, scope) => {
      if (x.rank !== 2) {
        throw new GradlineError(
          'shape',
          `Expected an input [n, features] for dense but received ${showShape(x.shape)}`,
          {
            fix: 'Put flatten() before it',
          },
        )
      }
      const weight = scope.param('weight', [x.shape[1] as number, units], chooseInit(options.init, scope))
      const y = matmul(x, weight)
      return wantsBias(options.bias, scope) ? add(y, scope.param('bias', [units], options.biasInit ?? constant(0))) : y
    },
    options.name,
    { units, ...options },
  )
}

export function chooseInit(choice: InitializerChoice = 'auto', scope: Scope): Initializer {
  return choice === 'auto' ? autoInitializer(scope.following) : choice
}

/** Checks the option `bias`. */
export function checkBias(kind: string, choice: boolean | 'auto' = 'auto'): void {
  checkOneOf(`bias of ${kind}`, choice, [true, false, 'auto'])
}

export function wantsBias(choice: boolean | 'auto' = 'auto', scope: Scope): boolean {
  return choice === 'auto' ? scope.next[0] !== 'batchNorm' : choice
}
