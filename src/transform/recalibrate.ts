// Batch norm's running statistics are a moving average over the last batches of training; this replaces them by those of a
// whole data set.

import type { Dataset } from '../data/dataset.js'
import { checkInteger, checkOptions, GradlineError } from '../errors.js'
import { square, sub } from '../ops/elementwise.js'
import { fill } from '../ops/move.js'
import { mean, sum } from '../ops/reduce.js'
import type { InputSpecs, Program } from '../program.js'
import type { Tensor } from '../tensor.js'
import { checkLayered, type Model } from '../train/model.js'

/**
 * Sets the running statistics of every batch norm of `net` to mean and unbiased variance of its inputs over the whole data
 * set, batches joined exactly (Chan, Golub, LeVeque 1979). Layer after layer, each in prediction behind those already set,
 * so it takes one pass over the data per batch norm. Weights stay as they are. Gives the paths of the layers.
 * PyTorch: torch.optim.swa_utils.update_bn; Keras: none
 */
export async function recalibrate(net: Model, data: Dataset, options: { batchSize?: number } = {}): Promise<string[]> {
  checkOptions('recalibrate', options, ['batchSize'])
  checkLayered('recalibrate', net)
  const batchSize = checkInteger('batchSize', options.batchSize ?? 256, { min: 1 })
  const paths = await normsOf(net)
  for (const path of paths) {
    const programs = new Map<number, StatisticsProgram>()
    let total: Statistics | undefined
    try {
      for (const { inputs, count } of net.batches(data, batchSize)) {
        const program = programs.get(count) ?? statisticsOf(net, path, count)
        programs.set(count, program)
        const { centre, squares, rows } = await program.run(inputs)
        total = join(total, {
          rows: rows.item(),
          mean: Float64Array.from(centre.data),
          squares: Float64Array.from(squares.data),
        })
      }
    } finally {
      for (const program of programs.values()) program.close()
    }
    if (!total || total.rows < 2) {
      throw new GradlineError('data', `Expected at least 2 values per channel of ${path} but ${data.name} has one`, {
        where: net.name,
      })
    }
    const { mean: centre, squares, rows } = total
    await net.setWeights(
      new Map([
        [`${path}.mean`, { data: centre }],
        [`${path}.variance`, { data: squares.map((s) => s / (rows - 1)) }],
      ]),
    )
  }
  return paths
}

type StatisticsProgram = Program<InputSpecs, { centre: Tensor; squares: Tensor; rows: Tensor }>

interface Statistics {
  readonly rows: number
  readonly mean: Float64Array
  /** Sums of squared distances from the mean. */
  readonly squares: Float64Array
}

async function normsOf(net: Model): Promise<string[]> {
  await net.initialize()
  const paths: string[] = []
  net.batchProgram('batch norms', 1, (x) =>
    net.apply(x, 'predict', ({ path, kind }) => void (kind === 'batchNorm' && paths.push(path))),
  )
  return paths
}

function statisticsOf(net: Model, wanted: string, count: number): StatisticsProgram {
  return net.batchProgram(`statistics of ${wanted}`, count, (x) => {
    let found: { centre: Tensor; squares: Tensor; rows: Tensor } | undefined
    net.apply(x, 'predict', ({ path, input }) => {
      if (path !== wanted) return
      const axes = input.shape.slice(0, -1).map((_, axis) => axis)
      const centre = mean(input, { axes })
      const rows = fill([], input.size / centre.size)
      found = { centre, squares: sum(square(sub(input, centre)), { axes }), rows }
    })
    return found as { centre: Tensor; squares: Tensor; rows: Tensor }
  })
}

function join(a: Statistics | undefined, b: Statistics): Statistics {
  if (!a) return b
  const rows = a.rows + b.rows
  const apart = b.mean.map((mean, i) => mean - (a.mean[i] as number))
  return {
    rows,
    mean: a.mean.map((mean, i) => mean + ((apart[i] as number) * b.rows) / rows),
    squares: a.squares.map((squares, i) => {
      const d = apart[i] as number
      return squares + (b.squares[i] as number) + (d * d * a.rows * b.rows) / rows
    }),
  }
}
