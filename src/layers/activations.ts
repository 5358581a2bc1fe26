// Activations as layers; the formulas stand with the ops of the same names.

import { checkFinite } from '../errors.js'
import * as ops from '../ops/elementwise.js'
import { softmax as softmaxOf } from '../ops/norm.js'
import { type Layer, layer } from './layer.js'

/** max(x, 0) */
export function relu(): Layer {
  return layer('relu', (x) => ops.relu(x))
}
/** x where x > 0, else slope * x. Default slope 0.01. */
export function leakyRelu(slope = 0.01): Layer {
  checkFinite('slope of leakyRelu', slope, { min: 0 })
  return layer('leakyRelu', (x) => ops.leakyRelu(x, slope))
}
/** x where x > 0, else alpha * (e^x - 1). Default alpha 1. */
export function elu(alpha = 1): Layer {
  checkFinite('alpha of elu', alpha, { min: 0 })
  return layer('elu', (x) => ops.elu(x, alpha))
}
/** 1 / (1 + e^-x) */
export function sigmoid(): Layer {
  return layer('sigmoid', (x) => ops.sigmoid(x))
}
/** Hyperbolic tangent. */
export function tanh(): Layer {
  return layer('tanh', (x) => ops.tanh(x))
}
/** Probabilities over the last axis. Not before crossEntropy(), which takes the scores themselves. */
export function softmax(): Layer {
  return layer('softmax', (x) => softmaxOf(x))
}
