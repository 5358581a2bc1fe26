// What may look at a training run and steer it between epochs.

import { checkFinite, checkInteger, checkOneOf, checkOptions, checkText, expected } from '../errors.js'
import { readStep } from '../memory.js'
import type { Updater } from '../optimizers/optimizer.js'
import type { EpochEvent, History, ProgressEvent, StartEvent } from './events.js'
import type { Model } from './model.js'
import { type OptimizerSnapshot, restoreOptimizer, snapshotOptimizer } from './optimizerState.js'

/** The run as a callback sees it. */
export interface RunControl {
  readonly model: Model
  /** The optimizer at work: its moments and its step state, to be read and changed between epochs. */
  readonly updater: Updater
  /** Ends the run after this epoch; it then resolves normally. */
  stop(reason: string): void
}

/** All methods are optional; a rejected promise or a thrown error ends the run with that error. */
export interface Callback {
  onStart?(event: StartEvent, run: RunControl): void | Promise<void>
  /** A few times a second while steps run. Must be quick. */
  onProgress?(event: ProgressEvent, run: RunControl): void
  onEpoch?(event: EpochEvent, run: RunControl): void | Promise<void>
  onEnd?(history: History, run: RunControl): void | Promise<void>
  /** Instead of onEnd, when the run fails or its signal stops it. */
  onError?(error: unknown, run: RunControl): void
}

const callbackMethods = ['onStart', 'onProgress', 'onEpoch', 'onEnd', 'onError'] as const

/** Refuses methods that would never be called. Other properties are the callback's own business. */
export function checkCallback(callback: Callback): void {
  for (const name in callback) {
    if (/^on[A-Z]/.test(name)) checkOptions('a callback', { [name]: true }, callbackMethods)
  }
  for (const name of callbackMethods) {
    const method: unknown = callback[name]
    if (method !== undefined && typeof method !== 'function')
      throw expected('a function', `${name} of a callback`, method)
  }
}

export interface EarlyStoppingOptions {
  /** 'loss', 'accuracy' or another metric of the validation data. Default 'loss'. */
  monitor?: string
  /** Epochs, or steps, without improvement before the run ends. Default 3. */
  patience?: number
  /** What patience counts. Data are measured after each epoch, so steps end a run at the end of an epoch too. Default 'epoch'. */
  unit?: 'epoch' | 'step'
  /** An improvement must be larger than this. Default 0. */
  minDelta?: number
  /** Which direction is better. Default 'max' for accuracy, topK, precision, recall, f1, auc and r2, else 'min'. */
  mode?: 'min' | 'max'
  /** Give the model the weights of its best epoch when the run ends, early or not. Default false. */
  restoreBest?: boolean
  /** With restoreBest, give the optimizer the moments, counters and rate of that epoch too. Default false. */
  restoreOptimizer?: boolean
}

/** The direction that is better: metrics of hits rise, everything else (losses, your own measures) falls. */
export function directionOf(monitor: string): 'min' | 'max' {
  return /^(accuracy|top\d+|precision|recall|f1|auc|r2)$/.test(monitor) ? 'max' : 'min'
}

/**
 * Ends the run when the validation data see no improvement any more.
 *
 * PyTorch: none; Keras: keras.callbacks.EarlyStopping
 */
export function earlyStopping(options: EarlyStoppingOptions = {}): Callback {
  checkOptions('earlyStopping', options, [
    'monitor',
    'patience',
    'unit',
    'minDelta',
    'mode',
    'restoreBest',
    'restoreOptimizer',
  ])
  const monitor = checkText('monitor of earlyStopping', options.monitor ?? 'loss')
  const patience = checkInteger('patience', options.patience ?? 3, { min: 1 })
  const unit = checkOneOf('unit of earlyStopping', options.unit ?? 'epoch', ['epoch', 'step'])
  const minDelta = checkFinite('minDelta', options.minDelta ?? 0, { min: 0 })
  const mode = checkOneOf('mode', options.mode ?? directionOf(monitor), ['min', 'max'])
  for (const name of ['restoreBest', 'restoreOptimizer'] as const) {
    checkOneOf(`${name} of earlyStopping`, options[name] ?? false, [true, false])
  }
  const sign = mode === 'min' ? 1 : -1
  if (options.restoreOptimizer && !options.restoreBest) {
    throw expected('restoreBest: true beside it', 'restoreOptimizer of earlyStopping', options)
  }
  let best = Number.POSITIVE_INFINITY
  let bestEpoch = 0
  let bestAt = 0
  let snapshot: Awaited<ReturnType<Model['snapshot']>> | undefined
  let optimizer: OptimizerSnapshot | undefined
  return {
    onStart({ validationSamples }, run): void {
      if (validationSamples === 0) throw unmeasured(monitor, undefined)
      best = Number.POSITIVE_INFINITY
      bestEpoch = 0
      bestAt = unit === 'epoch' ? 0 : readStep(run.updater.step).step
      snapshot = undefined
      optimizer = undefined
    },
    async onEpoch(event, run): Promise<void> {
      const value = event.validation?.[monitor]
      if (value === undefined) throw unmeasured(monitor, event.validation)
      const now = unit === 'epoch' ? event.epoch : readStep(run.updater.step).step
      if (sign * value < best - minDelta) {
        best = sign * value
        bestEpoch = event.epoch
        bestAt = now
        if (options.restoreBest) snapshot = await run.model.snapshot()
        if (options.restoreOptimizer) optimizer = snapshotOptimizer(run.updater)
      } else if (now - bestAt >= patience) {
        run.stop(`no better ${monitor} than ${sign * best} of epoch ${bestEpoch} for ${now - bestAt} ${unit}s`)
      }
    },
    async onEnd(history, run): Promise<void> {
      if (!snapshot) return
      await run.model.restore(snapshot)
      if (optimizer) restoreOptimizer(run.updater, optimizer, run.model.device)
      history.bestEpoch = bestEpoch
    },
  }
}

function unmeasured(monitor: string, received: unknown): Error {
  return expected('a validation set that is measured', `earlyStopping on '${monitor}'`, received, {
    fix: `Give fit() the option validation${monitor === 'loss' ? '' : ` and the metric '${monitor}'`}`,
  })
}
