// Lowers the learning rate when a measure stops improving. It changes the rate factor of the step state between epochs, so
// it works together with any schedule.

import { checkFinite, checkInteger, checkOneOf, checkOptions, checkText, expected } from '../errors.js'
import { readStep, writeStep } from '../memory.js'
import { type Callback, directionOf } from './callbacks.js'

export interface ReduceOnPlateauOptions {
  /**
   * 'loss', 'accuracy' or another metric, of the validation data where fit() has them, else of the training data. Default
   * 'loss'.
   */
  monitor?: string
  /** Which direction is better. Default 'max' for accuracy, topK, precision, recall, f1, auc and r2, else 'min'. */
  mode?: 'min' | 'max'
  /** On the rate, in (0, 1). Default 0.1. */
  factor?: number
  /** Epochs without improvement that are put up with: the rate falls after one more. Default 10. */
  patience?: number
  /** An improvement must be larger than this. Default 1e-4. */
  threshold?: number
  /** 'rel': share of the best value so far; 'abs': in its units. Default 'rel'. */
  thresholdMode?: 'rel' | 'abs'
  /** Epochs after a fall that do not count as bad. Default 0. */
  cooldown?: number
  /** The rate does not fall below this. Default 0. */
  floor?: number
}

/** A fall smaller than this is left out, as in PyTorch. */
const least = 1e-8

/**
 * Multiplies the learning rate by `factor` when more than `patience` epochs in a row saw no improvement.
 *
 * PyTorch: torch.optim.lr_scheduler.ReduceLROnPlateau, whose rule and defaults these are; Keras:
 * keras.callbacks.ReduceLROnPlateau (which falls one epoch earlier)
 */
export function reduceOnPlateau(options: ReduceOnPlateauOptions = {}): Callback {
  const where = 'reduceOnPlateau'
  checkOptions(where, options, [
    'monitor',
    'mode',
    'factor',
    'patience',
    'threshold',
    'thresholdMode',
    'cooldown',
    'floor',
  ])
  const monitor = checkText(`monitor of ${where}`, options.monitor ?? 'loss')
  const mode = checkOneOf(`mode of ${where}`, options.mode ?? directionOf(monitor), ['min', 'max'])
  const factor = checkFinite(`factor of ${where}`, options.factor ?? 0.1, { above: 0, below: 1 })
  const patience = checkInteger(`patience of ${where}`, options.patience ?? 10, { min: 0 })
  const threshold = checkFinite(`threshold of ${where}`, options.threshold ?? 1e-4, { min: 0 })
  const relative = checkOneOf(`thresholdMode of ${where}`, options.thresholdMode ?? 'rel', ['rel', 'abs']) === 'rel'
  const cooldown = checkInteger(`cooldown of ${where}`, options.cooldown ?? 0, { min: 0 })
  const floor = checkFinite(`floor of ${where}`, options.floor ?? 0, { min: 0 })
  const sign = mode === 'min' ? -1 : 1
  const improves = (value: number, best: number | undefined): boolean => {
    if (best === undefined) return true
    return sign * value > sign * (relative ? best * (1 + sign * threshold) : best + sign * threshold)
  }
  let best: number | undefined
  let bad = 0
  let cooling = 0
  return {
    onStart(): void {
      best = undefined
      bad = 0
      cooling = 0
    },
    onEpoch(event, { model, updater }): void {
      const value = (event.validation ?? event.train)[monitor]
      if (value === undefined) {
        throw expected('a metric that is measured', `monitor of ${where}`, monitor, {
          fix: `Give fit() the metric '${monitor}'`,
        })
      }
      if (improves(value, best)) {
        best = value
        bad = 0
      } else bad++
      if (cooling > 0) {
        cooling--
        bad = 0
      }
      if (bad <= patience) return
      cooling = cooldown
      bad = 0
      const { rate, rateFactor } = readStep(updater.step)
      const lowered = Math.max(rate * rateFactor * factor, floor)
      if (rate * rateFactor - lowered > least) writeStep(updater.step, { rateFactor: lowered / rate }, model.device)
    },
  }
}
