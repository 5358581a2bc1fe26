// Focal loss (Lin et al. 2017): binary cross-entropy in which targets already met count little.

import { checkFinite, checkOptions } from '../errors.js'
import { softplus } from '../ops/activations.js'
import { exp, mul, neg, scale } from '../ops/elementwise.js'
import { oneHot } from '../ops/loss.js'
import { binaryTarget, checkReduction, type Loss, type LossOptions, loss, reduced } from './loss.js'

export interface FocalOptions extends LossOptions {
  /** Exponent of 1 - p, at least 0; with 0 the loss is binary cross-entropy. Default 2. */
  gamma?: number
  /** Weight of the positive targets, from 0 to 1; the negative ones get 1 - alpha. Default: no weights. */
  alpha?: number
}

/**
 * -alpha_t (1 - p_t)^gamma log p_t of each element, where p = sigmoid(score) and p_t = p for target 1 and 1 - p for
 * target 0: scores [n, k] against targets 0 and 1 of that shape, or against integer labels [n], which with k > 1 stand for
 * their one-hot rows. 'mean' is over all elements.
 * PyTorch: torchvision.ops.sigmoid_focal_loss; Keras: keras.losses.BinaryFocalCrossentropy(from_logits=True)
 */
export function focal(options: FocalOptions = {}): Loss {
  checkOptions('focal', options, ['gamma', 'alpha', 'reduction'])
  const gamma = checkFinite('gamma of focal', options.gamma ?? 2, { min: 0 })
  const { alpha } = options
  if (alpha !== undefined) checkFinite('alpha of focal', alpha, { min: 0, max: 1 })
  const reduction = checkReduction('focal', options)
  return loss(
    'focal',
    (scores, labels) => {
      const classes = scores.shape.at(-1) ?? 1
      const perClass = labels.dtype === 'int32' && labels.rank === scores.rank - 1 && classes > 1
      const target = binaryTarget('focal', scores, perClass ? oneHot(labels, classes) : labels)
      // u is the score of what is true: p_t = sigmoid(u), so 1 - p_t = e^-softplus(u) and -log p_t = softplus(-u).
      const u = mul(scores, scale(target, 2, -1))
      const each = mul(exp(scale(softplus(u), -gamma)), softplus(neg(u)))
      return reduced(alpha === undefined ? each : mul(each, scale(target, 2 * alpha - 1, 1 - alpha)), reduction)
    },
    { labels: 'binary', reduction },
  )
}
