// All regularizers and constraints.

export { type Constraint, maxNorm } from './constraints.js'
export { l1, l1l2, l2, type Regularizer } from './penalties.js'
export type { WeightOptions } from './weights.js'
