// A schedule given by its numbers.

import { checkFinite, checkOptions, expected } from '../errors.js'
import { type Schedule, schedule, type UnitOptions, unitOf } from './schedule.js'

/**
 * values[t], and the last value from the end on: for any curve that has no name here. Values are rates and replace the
 * optimizer's lr; they are kept with 24 bits.
 *
 * PyTorch: torch.optim.lr_scheduler.LambdaLR; Keras: a subclass of LearningRateSchedule
 */
export function table(values: ArrayLike<number>, options: UnitOptions = {}): Schedule {
  checkOptions('table', options, ['unit'])
  if (typeof values !== 'object' || values === null || !(values.length >= 1)) {
    throw expected('at least one rate', 'values of table', values)
  }
  const rates = Array.from(values, (value, i) => checkFinite(`values[${i}] of table`, value, { min: 0 }))
  return schedule('table', unitOf('table', options), rates.length, () => ({ kind: 'table', base: 1, table: rates }))
}
