// The fully connected layer: y = x W + b.

import { checkInteger, checkOneOf, checkOptions, expected } from '../errors.js'
import { autoInitializer, constant, type Initializer, type InitializerChoice } from '../initializers/initializer.js'
import { add } from '../ops/elementwise.js'
import { matmul } from '../ops/matmul.js'
import { readWeight, rulesOf, type WeightOptions, weightOptions } from '../regularizers/weights.js'
import { checkRows, type Layer, layer, type Scope } from './layer.js'

export interface DenseOptions extends WeightOptions {
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
  checkOptions('dense', options, ['bias', 'init', 'biasInit', ...weightOptions, 'name'])
  const rules = rulesOf('dense', options)
  checkBias('dense', options)
  return layer(
    'dense',
    (x, scope) => {
      const shape = [checkRows('dense', x), units]
      const weight = scope.param('weight', shape, chooseInit(options.init, scope), undefined, rules)
      const y = matmul(x, readWeight(weight, scope, options))
      return wantsBias(options.bias, scope) ? add(y, scope.param('bias', [units], options.biasInit ?? constant(0))) : y
    },
    options.name,
    { units, ...options },
  )
}

export function chooseInit(choice: InitializerChoice = 'auto', scope: Scope): Initializer {
  return choice === 'auto' ? autoInitializer(scope.following) : choice
}

/** Checks the options of first weights, and whether there is a bias. */
export function checkBias(
  kind: string,
  { bias = 'auto', init, biasInit }: { bias?: boolean | 'auto'; init?: InitializerChoice; biasInit?: Initializer },
): void {
  checkOneOf(`bias of ${kind}`, bias, [true, false, 'auto'])
  if (init !== 'auto') checkInit(`init of ${kind}`, init)
  checkInit(`biasInit of ${kind}`, biasInit)
}

/** Checks an initializer that may be left out. */
export function checkInit(name: string, init: unknown): void {
  if (init !== undefined && typeof init !== 'function') throw expected('an initializer such as heNormal()', name, init)
}

export function wantsBias(choice: boolean | 'auto' = 'auto', scope: Scope): boolean {
  return choice === 'auto' ? scope.next[0] !== 'batchNorm' : choice
}
