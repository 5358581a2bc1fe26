// All initializers.

export { identity } from './identity.js'
export * from './initializer.js'
export { type GainOptions, orthogonal } from './orthogonal.js'
export { type TruncatedNormalOptions, truncatedNormal } from './truncatedNormal.js'
export { type VarianceScalingOptions, varianceScaling } from './varianceScaling.js'
