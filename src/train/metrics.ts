// What is measured on a batch, and its mean over the samples of many batches.

import { expected } from '../errors.js'
import { type Loss, loss } from '../losses/loss.js'
import { accuracy } from '../ops/loss.js'
import type { Results } from '../program.js'
import type { Tensor } from '../tensor.js'
import type { Measures } from './events.js'

/** A scalar of prediction and target, averaged over batches by their size; any loss is one. */
export type Metric = Loss
export type MetricChoice = 'accuracy' | Metric

/** The metrics asked for, each under a name of its own. */
export function metricsOf(used: Loss, choices: readonly MetricChoice[] = []): Metric[] {
  if (!Array.isArray(choices)) throw expected("a list such as ['accuracy']", 'metrics', choices)
  const metrics = choices.map((choice) => {
    if (choice === 'accuracy') return loss('accuracy', accuracy)
    if (typeof choice !== 'function') throw expected("'accuracy' or a metric such as mse()", 'metrics', choice)
    return choice
  })
  const names = metrics.map(({ kind }) => kind)
  const repeated = names.find((name, i) => name === 'loss' || names.indexOf(name) !== i)
  if (repeated !== undefined) throw expected(`metrics with names of their own beside ${used.kind}`, 'metrics', names)
  return metrics
}

/** Records loss and metrics of a batch. */
export function measure(
  used: Loss,
  metrics: readonly Metric[],
  prediction: Tensor,
  target: Tensor,
): { [measure: string]: Tensor } {
  return {
    loss: used(prediction, target),
    ...Object.fromEntries(metrics.map((metric) => [metric.kind, metric(prediction, target)])),
  }
}

/** Means over samples of what batches of equal size measured. */
export class Means {
  /** Samples so far. */
  samples = 0
  readonly #names: readonly string[]
  readonly #sums = new Map<string, number>()

  constructor(metrics: readonly Metric[]) {
    this.#names = ['loss', ...metrics.map(({ kind }) => kind)]
  }

  add(results: Results<{ [measure: string]: Tensor }>, batch: number): void {
    this.samples += batch * results.steps
    for (const name of this.#names) {
      let sum = this.#sums.get(name) ?? 0
      for (const value of results.series(name)) sum += value * batch
      this.#sums.set(name, sum)
    }
  }

  result(): Measures {
    return Object.fromEntries([...this.#sums].map(([name, sum]) => [name, sum / this.samples])) as Measures
  }
}
