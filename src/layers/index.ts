// All layers.

export {
  elu,
  gelu,
  glu,
  hardSigmoid,
  hardTanh,
  leakyRelu,
  logSoftmax,
  mish,
  relu,
  relu6,
  selu,
  sigmoid,
  silu,
  softmax,
  softplus,
  softsign,
  tanh,
} from './activations.js'
export { type BatchNormOptions, batchNorm } from './batchNorm.js'
export { type Conv2dOptions, conv2d } from './conv2d.js'
export { type DenseOptions, dense } from './dense.js'
export { dropout } from './dropout.js'
export { flatten } from './flatten.js'
export { type Layer, layer, type Mode, type Scope, sequential } from './layer.js'
export { avgPool2d, globalAvgPool2d, maxPool2d } from './pooling.js'
export { type PreluOptions, prelu } from './prelu.js'
export { type RreluOptions, rrelu } from './rrelu.js'
