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
export { adaptiveAvgPool2d, adaptiveMaxPool2d } from './adaptivePooling.js'
export { alphaDropout } from './alphaDropout.js'
export { type BatchNormOptions, batchNorm } from './batchNorm.js'
export { type ConcatenateOptions, concatenate } from './concatenate.js'
export { type Conv1dOptions, conv1d } from './conv1d.js'
export { type Conv2dOptions, conv2d } from './conv2d.js'
export { type ConvTranspose2dOptions, convTranspose2d } from './convTranspose2d.js'
export { type DenseOptions, dense } from './dense.js'
export { type DepthwiseConv2dOptions, depthwiseConv2d } from './depthwiseConv2d.js'
export { dropout } from './dropout.js'
export { type EmbeddingOptions, embedding } from './embedding.js'
export { flatten } from './flatten.js'
export { gaussianNoise } from './gaussianNoise.js'
export { type GroupNormOptions, groupNorm } from './groupNorm.js'
export { type Layer, layer, type Mode, type Scope, sequential } from './layer.js'
export { type LayerNormOptions, layerNorm } from './layerNorm.js'
export { type LocalResponseNormOptions, localResponseNorm } from './localResponseNorm.js'
export { type MaxoutOptions, maxout } from './maxout.js'
export { avgPool2d, globalAvgPool2d, maxPool2d } from './pooling.js'
export { type PreluOptions, prelu } from './prelu.js'
export { type RandomCropOptions, type RandomFlipOptions, randomCrop, randomFlip } from './randomImages.js'
export { reshape } from './reshape.js'
export { type ResidualOptions, residual } from './residual.js'
export { type RmsNormOptions, rmsNorm } from './rmsNorm.js'
export { type RreluOptions, rrelu } from './rrelu.js'
export { type SeparableConv2dOptions, separableConv2d } from './separableConv2d.js'
export { spatialDropout2d } from './spatialDropout2d.js'
export { upsample2d } from './upsample2d.js'
export { type Sides, zeroPad2d } from './zeroPad2d.js'
