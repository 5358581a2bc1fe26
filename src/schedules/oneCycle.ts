// The one-cycle policy (Smith & Topin 2018, "Super-convergence"): up, then far down.

import { checkFinite, checkInteger, checkOptions, expected } from '../errors.js'
import type { TablePiece } from './schedule.js'
import { type Schedule, type UnitOptions, unitOf } from './schedule.js'

export interface OneCycleOptions extends UnitOptions {
  /** Length of the cycle: t = 0 .. steps - 1. */
  steps: number
  /** Largest rate. Default: the optimizer's lr. */
  max?: number
  /** Share of the steps in which the rate rises, in (0, 1). Default 0.3. */
  pctStart?: number
  /** The rate begins at max / divFactor. Default 25. */
  divFactor?: number
  /** The rate ends at max / divFactor / finalDivFactor. Default 10,000. */
  finalDivFactor?: number
}

/**
 * Along half a cosine from max / divFactor up to max at t = pctStart * steps - 1, along another down to the end at
 * t = steps - 1, where it stays. Changes the learning rate only: momentum stays as it is.
 *
 * PyTorch: torch.optim.lr_scheduler.OneCycleLR (anneal_strategy='cos', cycle_momentum=False); Keras: none
 */
export function oneCycle(options: OneCycleOptions): Schedule {
  checkOptions('oneCycle', options, ['steps', 'max', 'pctStart', 'divFactor', 'finalDivFactor', 'unit'])
  const steps = checkInteger('steps of oneCycle', options?.steps, { min: 2 })
  const max = options.max === undefined ? undefined : checkFinite('max of oneCycle', options.max, { min: 0 })
  const pctStart = checkFinite('pctStart of oneCycle', options.pctStart ?? 0.3, { above: 0, below: 1 })
  const divFactor = checkFinite('divFactor of oneCycle', options.divFactor ?? 25, { above: 0 })
  const finalDivFactor = checkFinite('finalDivFactor of oneCycle', options.finalDivFactor ?? 1e4, { above: 0 })
  const peak = pctStart * steps - 1
  if (peak <= 0) {
    throw expected(`more than 1 / steps = ${1 / steps}`, 'pctStart of oneCycle', pctStart, {
      fix: 'Make the cycle longer',
    })
  }
  return {
    kind: 'oneCycle',
    unit: unitOf('oneCycle', options),
    length: steps,
    pieces: (lr): TablePiece[] => {
      const top = max ?? lr
      const start = top / divFactor
      return [
        { kind: 'cosine', begin: 0, end: peak, base: start, a: peak, b: top },
        { kind: 'cosine', begin: peak, base: top, a: steps - 1 - peak, b: start / finalDivFactor },
      ]
    },
  }
}
