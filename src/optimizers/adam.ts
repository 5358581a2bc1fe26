// Adam (Kingma & Ba 2015, algorithm 1).

import { checkFinite, checkOptions } from '../errors.js'
import { adamUpdate } from '../ops/update.js'
import { type ClipOptions, type Optimizer, optimizer } from './optimizer.js'

export interface AdamOptions extends ClipOptions {
  /** Learning rate. Default 0.001. */
  lr?: number
  /** Decay of the mean of gradients. Default 0.9. */
  beta1?: number
  /** Decay of the mean of squared gradients. Default 0.999. */
  beta2?: number
  /** Added to the root of the corrected second moment. Default 1e-8. */
  eps?: number
}

/** m, v decaying means of g and g^2, corrected by 1 - beta^t; theta -= lr m^ / (sqrt(v^) + eps). */
export function adam(options: AdamOptions = {}): Optimizer {
  checkOptions('adam', options, ['lr', 'beta1', 'beta2', 'eps', 'schedule', 'clipNorm', 'clipValue'])
  const attrs = {
    beta1: checkFinite('beta1 of adam', options.beta1 ?? 0.9, { min: 0, below: 1 }),
    beta2: checkFinite('beta2 of adam', options.beta2 ?? 0.999, { min: 0, below: 1 }),
    eps: checkFinite('eps of adam', options.eps ?? 1e-8, { min: 0 }),
  }
  return optimizer('adam', options.lr ?? 0.001, options, ['m', 'v'], (clipValue) => (param, [m, v], gradient, step) => {
    adamUpdate(param, m as typeof param, v as typeof param, gradient, step, attrs, clipValue)
  })
}
