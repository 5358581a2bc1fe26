// What may look at a training run and steer it between epochs.

import { checkFinite, checkInteger, checkOneOf, checkOptions, expected } from '../errors.js'
import type { EpochEvent, History, ProgressEvent, StartEvent } from './events.js'
import type { Model } from './model.js'

/** The run as a callback sees it. */
export interface RunControl {
  readonly model: Model
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

export interface EarlyStoppingOptions {
  /** 'loss', 'accuracy' or another metric of the validation data. Default 'loss'. */
  monitor?: string
  /** Epochs without improvement before the run ends. Default 3. */
  patience?: number
  /** An improvement must be larger than this. Default 0. */
  minDelta?: number
  /** Which direction is better. Default 'min' for 'loss', else 'max'. */
  mode?: 'min' | 'max'
  /** Give the model the weights of its best epoch when the run ends, early or not. Default false. */
  restoreBest?: boolean
}

/** Ends the run when the validation data see no improvement any more. */
export function earlyStopping(options: EarlyStoppingOptions = {}): Callback {
  checkOptions('earlyStopping', options, ['monitor', 'patience', 'minDelta', 'mode', 'restoreBest'])
  const monitor = options.monitor ?? 'loss'
  const patience = checkInteger('patience', options.patience ?? 3, { min: 1 })
  const minDelta = checkFinite('minDelta', options.minDelta ?? 0, { min: 0 })
  const mode = checkOneOf('mode', options.mode ?? (monitor === 'loss' ? 'min' : 'max'), ['min', 'max'])
  const sign = mode === 'min' ? 1 : -1
  let best = Number.POSITIVE_INFINITY
  let bestEpoch = 0
  let snapshot: Awaited<ReturnType<Model['snapshot']>> | undefined
  return {
    onStart(): void {
      best = Number.POSITIVE_INFINITY
      bestEpoch = 0
      snapshot = undefined
    },
    async onEpoch(event, run): Promise<void> {
      const value = event.validation?.[monitor]
      if (value === undefined) {
        throw expected('a validation set that is measured', `earlyStopping on '${monitor}'`, event.validation, {
          fix: `Give fit() the option validation${monitor === 'loss' ? '' : ` and the metric '${monitor}'`}`,
        })
      }
      if (sign * value < best - minDelta) {
        best = sign * value
        bestEpoch = event.epoch
        if (options.restoreBest) snapshot = await run.model.snapshot()
      } else if (event.epoch - bestEpoch >= patience) {
        run.stop(`no better ${monitor} than ${sign * best} of epoch ${bestEpoch} for ${patience} epochs`)
      }
    },
    async onEnd(history, run): Promise<void> {
      if (!snapshot) return
      await run.model.restore(snapshot)
      history.bestEpoch = bestEpoch
    },
  }
}
