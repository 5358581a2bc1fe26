// Linear warm-up.

import { checkFinite, checkOptions } from '../errors.js'
import { type Schedule, schedule, type UnitOptions, unitOf } from './schedule.js'

export interface WarmupOptions extends UnitOptions {
  /** Units of t until the optimizer's lr is reached. */
  steps: number
  /** Share of lr at t = 0; at the default 0 the first update changes nothing. */
  from?: number
}

/**
 * lr * (from + (1 - from) * t / steps) up to t = steps, then lr. What comes after a warm-up is put behind it by chain().
 *
 * PyTorch: torch.optim.lr_scheduler.LinearLR(start_factor=from, total_iters=steps); Keras: warmup_target of CosineDecay
 */
export function warmup(options: WarmupOptions): Schedule {
  checkOptions('warmup', options, ['steps', 'from', 'unit'])
  const steps = checkFinite('steps of warmup', options?.steps, { above: 0 })
  const from = checkFinite('from of warmup', options.from ?? 0, { min: 0 })
  return schedule('warmup', unitOf('warmup', options), steps, (lr) => ({
    kind: 'polynomial',
    base: from * lr,
    a: steps,
    b: 1,
    c: lr,
  }))
}
