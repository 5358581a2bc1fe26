// The coefficient of determination.

import { GradlineError } from '../errors.js'
import { square, sub } from '../ops/elementwise.js'
import { reshape } from '../ops/move.js'
import { mean, sum } from '../ops/reduce.js'
import type { Outputs } from '../program.js'
import type { Tensor } from '../tensor.js'
import type { MeasuredSteps, Measurement, Metric } from './metric.js'

/**
 * 1 - sum (t - y)^2 / sum (t - mean t)^2 over the whole data set, averaged over outputs where a sample has several. 1 is
 * perfect, 0 no better than the mean of the targets; -Infinity (1 where also every error is 0) for a target that never
 * changes. PyTorch: none (torchmetrics.R2Score); Keras: keras.metrics.R2Score
 */
export function r2(): Metric {
  return { kind: 'r2', start: () => new R2() }
}

// Batches are joined by their means and squared distances (Chan, Golub, LeVeque 1979): a difference of large sums would
// lose what is asked for.
class R2 implements Measurement {
  #outputs: { samples: number; mean: number; spread: number; errors: number }[] = []

  measure(prediction: Tensor, target: Tensor): Outputs {
    if (target.dtype !== 'float32' || target.size !== prediction.size) {
      throw new GradlineError('shape', `Expected float targets like ${prediction} for r2 but received ${target}`)
    }
    const rows = prediction.shape[0] as number
    const [y, t] = [reshape(prediction, [rows, -1]), reshape(target, [rows, -1])]
    const centre = mean(t, { axes: 0, keepAxes: true })
    return {
      centre,
      spread: sum(square(sub(t, centre)), { axes: 0 }),
      errors: sum(square(sub(t, y)), { axes: 0 }),
    }
  }

  add({ steps, batch, at }: MeasuredSteps): void {
    for (let step = 0; step < steps; step++) {
      const { centre, spread, errors } = at(step) as { centre: Tensor; spread: Tensor; errors: Tensor }
      spread.data.forEach((squares, i) => {
        const before = this.#outputs[i] ?? { samples: 0, mean: 0, spread: 0, errors: 0 }
        const samples = before.samples + batch
        const apart = (centre.data[i] as number) - before.mean
        this.#outputs[i] = {
          samples,
          mean: before.mean + (apart * batch) / samples,
          spread: before.spread + squares + (apart * apart * before.samples * batch) / samples,
          errors: before.errors + (errors.data[i] as number),
        }
      })
    }
  }

  result(): number {
    const each = this.#outputs.map(({ errors, spread }) => (errors === 0 ? 1 : 1 - errors / spread))
    return each.reduce((total, value) => total + value, 0) / each.length
  }

  reset(): void {
    this.#outputs = []
  }
}
