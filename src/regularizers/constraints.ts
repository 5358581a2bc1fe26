// Bounds that the weights of a layer keep after every step.

import { checkFinite, expected } from '../errors.js'

/** The incoming weights of each unit have an L2 norm of at most `maxNorm`. */
export interface Constraint {
  readonly maxNorm: number
}

/**
 * After each step the incoming weights w of a unit (all axes but the last) become w * min(1, limit / |w|_2): only those of
 * units that exceed the limit change. Default limit 3 (Srebro & Shraibman 2005; Srivastava et al. 2014).
 *
 * PyTorch: none; Keras: keras.constraints.MaxNorm(axis=[0, 1, 2] for convolutions)
 */
export function maxNorm(limit = 3): Constraint {
  return { maxNorm: checkFinite('limit of maxNorm', limit, { above: 0 }) }
}

/** Returns a constraint that was given as an option. */
export function checkConstraint(what: string, value: Constraint | undefined): Partial<Constraint> {
  if (value === undefined) return {}
  if (typeof value !== 'object' || value === null) throw expected('maxNorm()', what, value)
  return { maxNorm: checkFinite(`maxNorm of ${what}`, value.maxNorm, { above: 0 }) }
}
