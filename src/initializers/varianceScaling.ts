// The family that He, Glorot and LeCun belong to, with all of its knobs.

import { checkFinite, checkOneOf, checkOptions } from '../errors.js'
import { randomNormal, randomUniform } from '../ops/random.js'
import type { Initializer } from './initializer.js'
import { drawTruncatedNormal, truncatedStd } from './truncatedNormal.js'

export interface VarianceScalingOptions {
  /** The variance is scale / n. Default 1. */
  scale?: number
  /** n: the fan in, the fan out, or their mean. Default 'fanIn'. */
  mode?: 'fanIn' | 'fanOut' | 'fanAvg'
  /** All three have the same variance. Default 'truncatedNormal'. */
  distribution?: 'truncatedNormal' | 'normal' | 'uniform'
}

/**
 * Variance scale / n. He normal is { scale: 2, distribution: 'normal' }, Glorot uniform { mode: 'fanAvg', distribution:
 * 'uniform' }, LeCun normal { distribution: 'normal' }.
 *
 * PyTorch: torch.nn.init.kaiming_normal_ and xavier_uniform_ are cases; Keras: keras.initializers.VarianceScaling
 */
export function varianceScaling(options: VarianceScalingOptions = {}): Initializer {
  checkOptions('varianceScaling', options, ['scale', 'mode', 'distribution'])
  const scale = checkFinite('scale of varianceScaling', options.scale ?? 1, { above: 0 })
  const mode = checkOneOf('mode of varianceScaling', options.mode ?? 'fanIn', ['fanIn', 'fanOut', 'fanAvg'])
  const distribution = checkOneOf('distribution of varianceScaling', options.distribution ?? 'truncatedNormal', [
    'truncatedNormal',
    'normal',
    'uniform',
  ])
  return (shape, fans) => {
    const n = mode === 'fanIn' ? fans.in : mode === 'fanOut' ? fans.out : (fans.in + fans.out) / 2
    const std = Math.sqrt(scale / n)
    if (distribution === 'normal') return randomNormal(shape, 0, std)
    if (distribution === 'truncatedNormal') return drawTruncatedNormal(shape, std / truncatedStd)
    const limit = Math.sqrt(3) * std
    return randomUniform(shape, -limit, limit)
  }
}
