// Kullback-Leibler divergence between two distributions.

import { checkOptions } from '../errors.js'
import { greater, log, mul, scale, select, sub } from '../ops/elementwise.js'
import { sum } from '../ops/reduce.js'
import { checkReduction, type Loss, type LossOptions, loss, numberTarget } from './loss.js'

/**
 * target * (log target - prediction) of each element, 0 where the target is 0: the prediction [n, k] holds
 * log-probabilities, as logSoftmax() gives, the target [n, k] probabilities. 'mean' is the divergence averaged over the
 * batch, i.e. the sum divided by n and not by all elements (PyTorch's 'batchmean').
 * PyTorch: torch.nn.KLDivLoss(reduction='batchmean'); Keras: keras.losses.KLDivergence (of probabilities)
 */
export function klDivergence(options: LossOptions = {}): Loss {
  checkOptions('klDivergence', options, ['reduction'])
  const reduction = checkReduction('klDivergence', options)
  return loss(
    'klDivergence',
    (prediction, probabilities) => {
      const target = numberTarget('klDivergence', prediction, probabilities)
      const present = greater(target, 0)
      // Chosen before and after: log(0) and 0 * Infinity are never formed, in the derivative neither.
      const each = mul(target, sub(log(select(present, target, 1)), select(present, prediction, 0)))
      if (reduction === 'none') return each
      return reduction === 'sum' ? sum(each) : scale(sum(each), 1 / (prediction.shape[0] ?? 1))
    },
    { reduction },
  )
}
