// All learning-rate schedules.

export { type ChainLink, chain } from './chain.js'
export { type CosineOptions, type CosineRestartsOptions, cosine, cosineRestarts } from './cosine.js'
export { type ExponentialOptions, exponential } from './exponential.js'
export { type OneCycleOptions, oneCycle } from './oneCycle.js'
export { type PiecewiseOptions, piecewise } from './piecewise.js'
export { type PolynomialOptions, polynomial } from './polynomial.js'
export { type PowerOptions, power } from './power.js'
export type { Schedule, UnitOptions } from './schedule.js'
export { type MultiStepOptions, multiStep, type StepDecayOptions, stepDecay } from './stepDecay.js'
export { table } from './table.js'
export { type WarmupOptions, warmup } from './warmup.js'
