// Group normalization (Wu & He 2018): the channels of a sample are normalized in groups, over all positions. One group is
// layer normalization over everything but the batch, as many groups as channels is instance normalization.

import { checkFinite, checkInteger, checkOptions, GradlineError } from '../errors.js'
import { constant } from '../initializers/initializer.js'
import { add, div, mul, scale, sqrt, square, sub } from '../ops/elementwise.js'
import { broadcast, reshape } from '../ops/move.js'
import { sum } from '../ops/reduce.js'
import type { Tensor } from '../tensor.js'
import { checkAxes, type Layer, layer } from './layer.js'

export interface GroupNormOptions {
  /** Added to the variance under the root. Default 1e-5 (Keras: 1e-3). */
  eps?: number
  name?: string
}

/**
 * [n, ..., c] keeps its shape: gamma (x - mean) / sqrt(variance + eps) + beta with mean and biased variance of each sample
 * over all positions and the c / groups channels of a group. Parameters: gamma [c] (ones), beta [c] (zeros).
 * PyTorch: torch.nn.GroupNorm, torch.nn.InstanceNorm2d; Keras: keras.layers.GroupNormalization
 */
export function groupNorm(groups: number, options: GroupNormOptions = {}): Layer {
  checkOptions('groupNorm', options, ['eps', 'name'])
  checkInteger('groups of groupNorm', groups, { min: 1 })
  const eps = checkFinite('eps of groupNorm', options.eps ?? 1e-5, { above: 0 })
  return layer(
    'groupNorm',
    (x, scope) => {
      const [channels] = checkAxes('groupNorm', x, 1) as [number]
      if (channels % groups !== 0) {
        throw new GradlineError(
          'shape',
          `Expected channels divisible by ${groups} groups for groupNorm but received ${x}`,
        )
      }
      const gamma = scope.param('gamma', [channels], constant(1))
      const beta = scope.param('beta', [channels], constant(0))
      const n = x.shape[0] as number
      const rows = reshape(x, [n, -1, channels])
      const members = ((rows.shape[1] as number) * channels) / groups
      // Means per group, written behind each channel [n, 1, c]: positions first, then the channels of the group.
      const groupMean = (t: Tensor): Tensor => {
        const perGroup = reshape(sum(t, { axes: 1 }), [n, groups, channels / groups])
        const average = scale(sum(perGroup, { axes: 2, keepAxes: true }), 1 / members)
        return reshape(broadcast(average, perGroup.shape), [n, 1, channels])
      }
      const centred = sub(rows, groupMean(rows))
      const deviation = sqrt(scale(groupMean(square(centred)), 1, eps))
      return reshape(add(mul(div(centred, deviation), gamma), beta), x.shape)
    },
    options.name,
  )
}
