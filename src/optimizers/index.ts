// All optimizers.

export { type AdamOptions, adam } from './adam.js'
export { type MomentumOptions, momentum, nesterov } from './momentum.js'
export { type Optimizer, Updater } from './optimizer.js'
export { type SgdOptions, sgd } from './sgd.js'
