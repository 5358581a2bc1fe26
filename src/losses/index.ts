// All losses.

export { crossEntropy } from './crossEntropy.js'
export { type Loss, loss } from './loss.js'
export { mse } from './mse.js'
