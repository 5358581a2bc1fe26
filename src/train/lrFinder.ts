// The learning-rate range test (Smith 2017, "Cyclical Learning Rates"): a short run whose rate grows from step to step shows
// where learning begins and where it diverges. The model and the optimizer come out of it as they went in.

import type { Dataset } from '../data/dataset.js'
import { checkFinite, checkInteger, checkOptions, expected } from '../errors.js'
import { grad } from '../grad.js'
import type { Loss } from '../losses/loss.js'
import { type Optimizer, Updater } from '../optimizers/optimizer.js'
import { schedule } from '../schedules/schedule.js'
import type { Tensor } from '../tensor.js'
import { drawBatch } from './batches.js'
import { Model } from './model.js'

export interface LrFinderOptions {
  loss: Loss
  /** Its rule and settings; lr and schedule are replaced, and the lr of groups goes with it. Its moments begin at zero. */
  optimizer: Optimizer
  /** First rate. Default 1e-7. */
  from?: number
  /** Last rate. Default 10. */
  to?: number
  /** Updates. Default 100. */
  steps?: number
  /** Default 32, at most the size of the data. */
  batchSize?: number
  /** Ends when the smoothed loss exceeds the best one this many times. Default 4. */
  divergence?: number
}

export interface LrFinderResult {
  /** Of each step until the loss diverged. */
  readonly rates: number[]
  /** Loss of each step's batch before its update. */
  readonly losses: number[]
  /**
   * The rate at which the smoothed loss falls most steeply over the logarithm of the rate; undefined where it never falls.
   * A point to begin from, not an optimum.
   */
  readonly suggestion: number | undefined
}

const chunk = 10 // steps between two looks at the loss
const memory = 0.9 // of the smoothed loss for its past

/**
 * Trains `net` for `steps` updates with rates that rise from `from` to `to` by a constant factor, then gives it back the
 * weights and state it had. Data are drawn in an order of its own.
 *
 * PyTorch: none (LRFinder of the package torch-lr-finder); Keras: none
 */
export async function lrFinder(net: Model, data: Dataset, options: LrFinderOptions): Promise<LrFinderResult> {
  checkOptions('lrFinder', options, ['loss', 'optimizer', 'from', 'to', 'steps', 'batchSize', 'divergence'])
  if (!(net instanceof Model)) throw expected('a model made by model()', 'lrFinder', net)
  const { loss, optimizer } = options ?? {}
  if (typeof loss !== 'function') throw expected('a loss such as crossEntropy()', 'loss', loss)
  if (typeof optimizer?.update !== 'function') throw expected('an optimizer such as adam()', 'optimizer', optimizer)
  const from = checkFinite('from of lrFinder', options.from ?? 1e-7, { above: 0 })
  const to = checkFinite('to of lrFinder', options.to ?? 10, { above: from })
  const steps = checkInteger('steps of lrFinder', options.steps ?? 100, { min: 2 })
  const divergence = checkFinite('divergence of lrFinder', options.divergence ?? 4, { above: 1 })
  net.checkData('data', data, loss)
  const batch = checkInteger('batchSize of lrFinder', options.batchSize ?? Math.min(32, data.length), {
    min: 1,
    max: data.length,
  })
  const rising = schedule('lrFinder', 'step', steps, (lr) => ({
    kind: 'exponential',
    base: lr,
    a: steps - 1,
    b: to / from,
  }))
  // Rates of groups stand in the ratio to lr that they had.
  const groups = optimizer.groups.map((group) =>
    group.lr ? { ...group, lr: (group.lr / optimizer.lr) * from } : group,
  )
  const updater = new Updater({ ...optimizer, lr: from, groups, schedule: rising }, { seed: net.seed })
  const before = await net.snapshot()
  const program = net.program(
    'lrFinder',
    () => {
      const { inputs, labels } = drawBatch(data, batch, 'epoch', net.device, updater.step)
      const value = loss(net.apply(inputs, 'train'), labels as Tensor)
      updater.apply(net.trainable, grad(value, net.trainable))
      return value
    },
    updater.step,
  )
  const losses: number[] = []
  const smoothed: number[] = []
  try {
    let mean = 0
    while (losses.length < steps && !diverged(smoothed, divergence)) {
      const { series } = await program.runMany(Math.min(chunk, steps - losses.length))
      for (const value of series('')) {
        mean = memory * mean + (1 - memory) * value
        losses.push(value)
        smoothed.push(mean / (1 - memory ** losses.length))
        if (diverged(smoothed, divergence)) break
      }
    }
  } finally {
    program.close()
    await net.restore(before)
  }
  if (!Number.isFinite(losses.at(-1) ?? 0)) {
    losses.pop()
    smoothed.pop()
  }
  const rates = losses.map((_, i) => from * (to / from) ** (i / (steps - 1)))
  return { rates, losses, suggestion: steepest(rates, smoothed) }
}

const diverged = (smoothed: readonly number[], times: number): boolean => {
  const last = smoothed.at(-1) ?? 0
  const best = Math.min(...smoothed)
  return !Number.isFinite(last) || last > best + (times - 1) * Math.abs(best)
}

// Rates are evenly spaced in their logarithm, so the steepest fall is the largest central difference.
function steepest(rates: readonly number[], smoothed: readonly number[]): number | undefined {
  let found: number | undefined
  let largest = 0
  for (let i = 1; i + 1 < smoothed.length; i++) {
    const fall = (smoothed[i - 1] as number) - (smoothed[i + 1] as number)
    if (fall > largest) {
      largest = fall
      found = rates[i]
    }
  }
  return found
}
