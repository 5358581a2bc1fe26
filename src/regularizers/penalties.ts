// Penalties on the weights of a layer. They are descriptions: their gradient is added inside the flat update, after
// clipping, so the loss that is reported is that of the data alone.

import { checkFinite, checkOptions, expected } from '../errors.js'

/** l1 * sum |w| + l2 / 2 * sum w^2. */
export interface Regularizer {
  readonly l1: number
  readonly l2: number
}

const lambda = (name: string, value: number): number => checkFinite(`lambda of ${name}`, value, { min: 0 })

/**
 * lambda * sum |w|, gradient lambda * sign(w), 0 at 0: drives weights without use to 0. Default 0.01 (Tibshirani 1996).
 *
 * PyTorch: none; Keras: keras.regularizers.L1
 */
export function l1(amount = 0.01): Regularizer {
  return { l1: lambda('l1', amount), l2: 0 }
}

/**
 * lambda / 2 * sum w^2, gradient lambda * w. Default 0.01. For adaptive optimizers it is not weight decay: see the option
 * decay. Keras has lambda * sum w^2, without the half.
 *
 * PyTorch: weight_decay of torch.optim.SGD and Adam; Keras: keras.regularizers.L2 of lambda / 2
 */
export function l2(amount = 0.01): Regularizer {
  return { l1: 0, l2: lambda('l2', amount) }
}

/**
 * Both, each with a lambda of its own, default 0.01 (elastic net; Zou & Hastie 2005).
 *
 * PyTorch: none; Keras: keras.regularizers.L1L2
 */
export function l1l2(options: { l1?: number; l2?: number } = {}): Regularizer {
  checkOptions('l1l2', options, ['l1', 'l2'])
  return { l1: lambda('l1 in l1l2', options.l1 ?? 0.01), l2: lambda('l2 in l1l2', options.l2 ?? 0.01) }
}

/** Returns a regularizer that was given as an option. */
export function checkRegularizer(what: string, value: Regularizer | undefined): Partial<Regularizer> {
  if (value === undefined) return {}
  if (typeof value !== 'object' || value === null || typeof value.l1 !== 'number' || typeof value.l2 !== 'number') {
    throw expected('l1(), l2() or l1l2()', what, value)
  }
  return {
    l1: checkFinite(`l1 of ${what}`, value.l1, { min: 0 }),
    l2: checkFinite(`l2 of ${what}`, value.l2, { min: 0 }),
  }
}
