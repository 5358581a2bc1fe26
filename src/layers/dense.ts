// The fully connected layer: y = x W + b.

import { checkInteger, checkOneOf, checkOptions } from '../errors.js'
import { autoInitializer, constant, type Initializer, type InitializerChoice } from '../initializers/initializer.js'
import { add } from '../ops/elementwise.js'
import { matmul } from '../ops/matmul.js'
import { checkRows, type Layer, layer, type Scope } from './layer.js'

export interface DenseOptions {
  /** 'auto' leaves the bias out before batch norm, which has its own. Default 'auto'. */
  bias?: boolean | 'auto'
  /** Weight [in, units]. Default 'auto': by the activation that follows. */
  init?: InitializerChoice
  /** Bias [units]. Default zeros. */
  biasInit?: Initializer
  name?: string
}

/**
 * [n, in] gives [n, units]: x W + b. Parameters: weight [in, units] (PyTorch's transposed), bias [units].
 * PyTorch: torch.nn.Linear; Keras: keras.layers.Dense
 */
export function dense(units: number, options: DenseOptions = {}): Layer {
  checkInteger('units of dense', units, { min: 1 })
  checkOptions('dense', options, ['bias', 'init', 'biasInit', 'name'])
  checkBias('dense', options.bias)
  return layer(
    'dense',
    (x, scope) => {
      const features = checkRows('dense', x)
      const weight = scope.param('weight', [features, units], chooseInit(options.init, scope))
      const y = matmul(x, weight)
      return wantsBias(options.bias, scope) ? add(y, scope.param('bias', [units], options.biasInit ?? constant(0))) : y
    },
    options.name,
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
