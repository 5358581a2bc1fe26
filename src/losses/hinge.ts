// Hinge loss for two classes, as of a support vector machine (Cortes & Vapnik 1995).

import { checkOptions } from '../errors.js'
import { greater, mul, relu, scale, select } from '../ops/elementwise.js'
import { elementLoss, type Loss, type LossOptions } from './loss.js'

/**
 * max(0, 1 - s * score) of each element, with s = 1 for targets above 0 and s = -1 for all others: targets may so be -1
 * and 1, or 0 and 1 (integer labels are 0 and 1). Targets have the shape of the scores ([n] stands for [n, 1]); 'mean' is
 * over all elements.
 * PyTorch: none (torch.nn.SoftMarginLoss is its smooth form); Keras: keras.losses.Hinge
 */
export function hinge(options: LossOptions = {}): Loss {
  checkOptions('hinge', options, ['reduction'])
  return elementLoss(
    'hinge',
    options,
    (scores, target) => relu(scale(mul(select(greater(target, 0), 1, -1), scores), -1, 1)),
    { labels: 'binary' },
  )
}
