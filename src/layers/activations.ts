// Activations without parameters as layers; the formulas stand with the ops of the same names. The kind of each decides
// the first weights of the layer before it (autoInitializer).

import { checkFinite } from '../errors.js'
import * as formulas from '../ops/activations.js'
import * as ops from '../ops/elementwise.js'
import { softmax as softmaxOf } from '../ops/norm.js'
import { type Layer, layer } from './layer.js'

/**
 * max(x, 0); the derivative at 0 is 0. Nair & Hinton 2010.
 * PyTorch: torch.nn.ReLU; Keras: keras.layers.ReLU
 */
export function relu(): Layer {
  return layer('relu', (x) => ops.relu(x))
}
/**
 * min(max(x, 0), 6). Krizhevsky 2010.
 * PyTorch: torch.nn.ReLU6; Keras: keras.layers.ReLU(max_value=6)
 */
export function relu6(): Layer {
  return layer('relu6', (x) => formulas.relu6(x))
}
/**
 * x where x > 0, else slope * x, also for slopes above 1. Default slope 0.01 (Keras: 0.3). Maas et al. 2013.
 * PyTorch: torch.nn.LeakyReLU; Keras: keras.layers.LeakyReLU
 */
export function leakyRelu(slope = 0.01): Layer {
  checkFinite('slope of leakyRelu', slope, { min: 0 })
  return layer('leakyRelu', (x) => ops.leakyRelu(x, slope))
}
/**
 * x where x > 0, else alpha * (e^x - 1). Default alpha 1, with which the derivative is continuous. Clevert et al. 2016.
 * PyTorch: torch.nn.ELU; Keras: keras.layers.ELU
 */
export function elu(alpha = 1): Layer {
  checkFinite('alpha of elu', alpha, { min: 0 })
  return layer('elu', (x) => ops.elu(x, alpha))
}
/**
 * 1.0507 * elu(x, 1.6733): keeps mean 0 and variance 1 through dense layers with LeCun-normal weights, which 'auto'
 * chooses. Klambauer et al. 2017.
 * PyTorch: torch.nn.SELU; Keras: keras.layers.Activation('selu')
 */
export function selu(): Layer {
  return layer('selu', (x) => formulas.selu(x))
}
/**
 * x * Phi(x), exact by default, by tanh with { form: 'tanh' }. Hendrycks & Gimpel 2016.
 * PyTorch: torch.nn.GELU; Keras: keras.layers.Activation('gelu')
 */
export function gelu(options: formulas.GeluOptions = {}): Layer {
  const form = formulas.checkGelu(options)
  return layer('gelu', (x) => formulas.gelu(x, { form }))
}
/**
 * x * sigmoid(x), also called swish. Elfwing et al. 2018.
 * PyTorch: torch.nn.SiLU; Keras: keras.layers.Activation('silu')
 */
export function silu(): Layer {
  return layer('silu', (x) => formulas.silu(x))
}
/**
 * x * tanh(softplus(x)). Misra 2019.
 * PyTorch: torch.nn.Mish; Keras: keras.layers.Activation('mish')
 */
export function mish(): Layer {
  return layer('mish', (x) => formulas.mish(x))
}
/**
 * log(1 + e^x). Dugas et al. 2001.
 * PyTorch: torch.nn.Softplus; Keras: keras.layers.Activation('softplus')
 */
export function softplus(): Layer {
  return layer('softplus', (x) => formulas.softplus(x))
}
/**
 * x / (1 + |x|). Turian et al. 2009.
 * PyTorch: torch.nn.Softsign; Keras: keras.layers.Activation('softsign')
 */
export function softsign(): Layer {
  return layer('softsign', (x) => formulas.softsign(x))
}
/**
 * 1 / (1 + e^-x); its slope is at most 1/4.
 * PyTorch: torch.nn.Sigmoid; Keras: keras.layers.Activation('sigmoid')
 */
export function sigmoid(): Layer {
  return layer('sigmoid', (x) => ops.sigmoid(x))
}
/**
 * min(max(x / 6 + 1/2, 0), 1). Slope 1/6 as in PyTorch and Keras 3; Keras 2 had 0.2 x + 0.5.
 * PyTorch: torch.nn.Hardsigmoid; Keras: keras.layers.Activation('hard_sigmoid')
 */
export function hardSigmoid(): Layer {
  return layer('hardSigmoid', (x) => formulas.hardSigmoid(x))
}
/**
 * Hyperbolic tangent.
 * PyTorch: torch.nn.Tanh; Keras: keras.layers.Activation('tanh')
 */
export function tanh(): Layer {
  return layer('tanh', (x) => ops.tanh(x))
}
/**
 * min(max(x, min), max), default -1 and 1. Collobert 2004.
 * PyTorch: torch.nn.Hardtanh; Keras: keras.layers.Activation('hard_tanh')
 */
export function hardTanh(min = -1, max = 1): Layer {
  formulas.checkHardTanh(min, max)
  return layer('hardTanh', (x) => formulas.hardTanh(x, min, max))
}
/**
 * Probabilities e^x / sum e^x over the last axis. Not before crossEntropy(), which takes the scores themselves.
 * PyTorch: torch.nn.Softmax(-1); Keras: keras.layers.Softmax
 */
export function softmax(): Layer {
  return layer('softmax', (x) => softmaxOf(x))
}
/**
 * log(softmax(x)) over the last axis, for nll() and klDivergence().
 * PyTorch: torch.nn.LogSoftmax(-1); Keras: keras.layers.Activation('log_softmax')
 */
export function logSoftmax(): Layer {
  return layer('logSoftmax', (x) => formulas.logSoftmax(x))
}
/**
 * [..., 2c] gives [..., c]: the first half times the sigmoid of the second. Dauphin et al. 2017.
 * PyTorch: torch.nn.GLU; Keras: keras.layers.Activation('glu')
 */
export function glu(): Layer {
  return layer('glu', (x) => formulas.glu(x))
}
