// What layers of a weight and a bias share: the options of both, their checks, and the bias itself. No layer stands here.

import { checkOneOf, expected } from '../errors.js'
import { autoInitializer, constant, type Initializer, type InitializerChoice } from '../initializers/initializer.js'
import { add } from '../ops/elementwise.js'
import type { Tensor } from '../tensor.js'
import type { Scope } from './layer.js'

export interface AffineOptions {
  /** 'auto' leaves the bias out before batch norm, which has its own. Default 'auto'. */
  bias?: boolean | 'auto'
  /** First weight. Default 'auto': by the activation that follows. */
  init?: InitializerChoice
  /** First bias. Default zeros. */
  biasInit?: Initializer
  name?: string
}

export const affineOptions = ['bias', 'init', 'biasInit', 'name']

export function chooseInit(choice: InitializerChoice = 'auto', scope: Scope): Initializer {
  return choice === 'auto' ? autoInitializer(scope.following) : choice
}

/** Checks the options of first weights, and whether there is a bias. */
export function checkAffine(kind: string, { bias = 'auto', init, biasInit }: AffineOptions): void {
  checkOneOf(`bias of ${kind}`, bias, [true, false, 'auto'])
  if (init !== 'auto') checkInit(`init of ${kind}`, init)
  checkInit(`biasInit of ${kind}`, biasInit)
}

/** Checks an initializer that may be left out. */
export function checkInit(name: string, init: unknown): void {
  if (init !== undefined && typeof init !== 'function') throw expected('an initializer such as heNormal()', name, init)
}

/** y [..., c] plus a parameter bias [c], if there is to be one. */
export function addBias(y: Tensor, scope: Scope, { bias = 'auto', biasInit = constant(0) }: AffineOptions): Tensor {
  const wanted = bias === 'auto' ? scope.next[0] !== 'batchNorm' : bias
  return wanted ? add(y, scope.param('bias', y.shape.slice(-1), biasInit)) : y
}
