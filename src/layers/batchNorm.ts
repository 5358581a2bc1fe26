// Batch normalization (Ioffe & Szegedy 2015): normalizes by the batch while training, by running statistics afterwards.

import { checkFinite, checkOptions } from '../errors.js'
import { constant } from '../initializers/initializer.js'
import { weightedSum } from '../ops/elementwise.js'
import { assign } from '../ops/move.js'
import { batchNormInference, batchNorm as normalize } from '../ops/norm.js'
import type { Tensor, Variable } from '../tensor.js'
import { type Layer, layer } from './layer.js'

export interface BatchNormOptions {
  /** Weight of the OLD running value, default 0.9 (PyTorch counts the new value: its 0.1 is 0.9 here; Keras: 0.99). */
  momentum?: number
  /** Added to the variance under the root. Default 1e-5. */
  eps?: number
  name?: string
}

/**
 * [..., c] gives the same shape. Parameters: gamma [c] (ones), beta [c] (zeros). State: mean [c] (zeros), variance [c]
 * (ones), running averages; the batch is normalized by the biased variance, the running one averages the unbiased (Keras
 * keeps the biased).
 * PyTorch: torch.nn.BatchNorm1d, torch.nn.BatchNorm2d; Keras: keras.layers.BatchNormalization
 */
export function batchNorm(options: BatchNormOptions = {}): Layer {
  checkOptions('batchNorm', options, ['momentum', 'eps', 'name'])
  const momentum = checkFinite('momentum of batchNorm', options.momentum ?? 0.9, { min: 0, max: 1 })
  const eps = checkFinite('eps of batchNorm', options.eps ?? 1e-5, { above: 0 })
  const track = (running: Variable, now: Tensor, factor: number): void =>
    assign(running, weightedSum(running, now, momentum, (1 - momentum) * factor))
  return layer(
    'batchNorm',
    (x, scope) => {
      const channels = x.shape.slice(-1)
      const gamma = scope.param('gamma', channels, constant(1))
      const beta = scope.param('beta', channels, constant(0))
      const mean = scope.state('mean', channels, constant(0))
      const variance = scope.state('variance', channels, constant(1))
      if (scope.mode === 'predict') return batchNormInference(x, gamma, beta, mean, variance, eps)
      const now = normalize(x, gamma, beta, eps)
      const rows = x.size / (channels[0] as number)
      track(mean, now.mean, 1)
      track(variance, now.variance, rows / Math.max(1, rows - 1))
      return now.y
    },
    options.name,
  )
}
