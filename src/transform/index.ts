// All transforms: models made of models.

export { foldBatchNorm } from './foldBatchNorm.js'
export { fuseLinear } from './fuseLinear.js'
export { recalibrate } from './recalibrate.js'
export { replaceHead } from './replaceHead.js'
