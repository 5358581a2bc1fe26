// Adam (Kingma & Ba 2015, algorithm 1), and the options that all of its kin share.

import { checkFinite, checkOptions } from '../errors.js'
import { adamUpdate } from '../ops/update.js'
import type { Variable } from '../tensor.js'
import { type CommonOptions, commonOptions, type Optimizer, optimizer } from './optimizer.js'

/** `lr` defaults to 0.001. */
export interface AdamOptions extends CommonOptions {
  /** Decay of the mean of gradients. Default 0.9. */
  beta1?: number
  /** Decay of the mean of squared gradients. Default 0.999. */
  beta2?: number
  /** Added to the root of the corrected second moment. Default 1e-8. */
  eps?: number
}

export const adamOptions = [...commonOptions, 'beta1', 'beta2', 'eps'] as const

/** Checks the three numbers that all of Adam's kin have. */
export function adamNumbers(kind: string, options: AdamOptions): { beta1: number; beta2: number; eps: number } {
  return {
    beta1: checkFinite(`beta1 of ${kind}`, options.beta1 ?? 0.9, { min: 0, below: 1 }),
    beta2: checkFinite(`beta2 of ${kind}`, options.beta2 ?? 0.999, { min: 0, below: 1 }),
    eps: checkFinite(`eps of ${kind}`, options.eps ?? 1e-8, { min: 0 }),
  }
}

/** Adam under the name `kind`, with its default decay. */
export function adamLike(kind: string, decay: number, options: AdamOptions): Optimizer {
  checkOptions(kind, options, adamOptions)
  const numbers = adamNumbers(kind, options)
  return optimizer(
    {
      kind,
      lr: 0.001,
      decay,
      slots: ['m', 'v'],
      update: (clipValue) => (param, slots, gradient, step) => {
        const [m, v] = slots as [Variable, Variable]
        adamUpdate(param, m, v, gradient, step, numbers, clipValue)
      },
    },
    options,
  )
}

/**
 * m, v decaying means of g and g^2, corrected by 1 - beta^t; theta -= lr m^ / (sqrt(v^) + eps) (Kingma & Ba 2015).
 *
 * PyTorch: torch.optim.Adam; Keras: keras.optimizers.Adam
 */
export function adam(options: AdamOptions = {}): Optimizer {
  return adamLike('adam', 0, options)
}
