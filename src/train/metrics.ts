// What a run measures: its loss and metrics, recorded into each step and joined over the steps of an epoch.

import type { Device } from '../device.js'
import { expected } from '../errors.js'
import type { Loss } from '../losses/loss.js'
import { accuracy } from '../metrics/accuracy.js'
import { averaged, type Measurement, type Metric } from '../metrics/metric.js'
import type { Outputs, Results } from '../program.js'
import type { Tensor } from '../tensor.js'
import type { Measures } from './events.js'

/** 'accuracy', one of `metrics`, or any loss or other function of prediction and target to a scalar, which is averaged. */
export type MetricChoice = 'accuracy' | Metric | Loss

/** What a step returns: the loss, and what each metric asked for. */
export type StepOutputs = { [measure: string]: Outputs } & { loss: Tensor }

/** The metrics asked for, each under a name of its own. */
export function metricsOf(used: Loss, choices: readonly MetricChoice[] = []): Metric[] {
  if (!Array.isArray(choices)) throw expected("a list such as ['accuracy']", 'metrics', choices)
  const metrics = choices.map((choice) => {
    if (choice === 'accuracy') return accuracy()
    if (typeof choice === 'function' && typeof choice.kind === 'string') return averaged(choice.kind, choice)
    if (typeof choice?.start === 'function') return choice
    throw expected("'accuracy' or a metric such as metrics.f1() or mse()", 'metrics', choice, {
      fix:
        typeof choice === 'function'
          ? "Call it if it makes a metric, as metrics.f1() does; a function of your own is named by loss('name', fn)"
          : undefined,
    })
  })
  const names = metrics.map(({ kind }) => kind)
  const repeated = names.find((name, i) => name === 'loss' || names.indexOf(name) !== i)
  if (repeated !== undefined) throw expected(`metrics with names of their own beside ${used.kind}`, 'metrics', names)
  return metrics
}

/** Loss and metrics at work in one training run or one evaluation. */
export class Measuring {
  /** Samples since the last reset. */
  samples = 0
  readonly #loss: Loss
  readonly #parts: readonly { readonly metric: Metric; readonly measurement: Measurement }[]

  constructor(used: Loss, metrics: readonly Metric[]) {
    this.#loss = used
    const loss = averaged('loss', used)
    this.#parts = [loss, ...metrics].map((metric) => ({ metric, measurement: metric.start() }))
  }

  /** Records what a step contributes. */
  record(prediction: Tensor, target: Tensor): StepOutputs {
    const [, ...metrics] = this.#parts
    const loss = this.#loss(prediction, target)
    const others = metrics.map(({ metric, measurement }) => [metric.kind, measurement.measure(prediction, target)])
    return { loss, ...Object.fromEntries(others) }
  }

  add(results: Results<StepOutputs>, batch: number): void {
    this.samples += batch * results.steps
    for (const { metric, measurement } of this.#parts) {
      measurement.add({
        steps: results.steps,
        batch,
        series: (name) => results.series(name === '' ? metric.kind : `${metric.kind}.${name}`),
        at: (step) => results.at(step)[metric.kind] as Outputs,
      })
    }
  }

  /** Everything but what is only computed for a whole epoch. */
  soFar(): Measures {
    return this.#values(({ onlyWhole }) => !onlyWhole)
  }

  result(): Measures {
    return this.#values(() => true)
  }

  /** Forgets what was measured, before an epoch. */
  reset(on: Device): void {
    this.samples = 0
    for (const { measurement } of this.#parts) measurement.reset(on)
  }

  #values(wanted: (metric: Metric) => boolean): Measures {
    const parts = this.#parts.filter(({ metric }) => wanted(metric))
    return Object.fromEntries(
      parts.map(({ metric, measurement }) => [metric.kind, measurement.result()]),
    ) as unknown as Measures
  }
}
