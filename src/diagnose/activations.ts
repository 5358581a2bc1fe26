// What the layers of a model put out for given samples, as numbers to look at: histograms, means, spreads, dead units. It
// draws nothing and judges nothing.

import type { Dataset } from '../data/dataset.js'
import { checkFinite, checkInteger, checkOptions, expected } from '../errors.js'
import type { InputSpecs, Program } from '../program.js'
import type { Shape } from '../shape.js'
import type { Tensor } from '../tensor.js'
import { checkLayered, type Model } from '../train/model.js'

export interface HistogramOptions {
  /** Default 30. */
  bins?: number
  /** Lowest and highest value of the bins; values beyond are counted as outside. Default: those of each layer. */
  range?: readonly [number, number]
  /** Samples at a time. Default 256. */
  batchSize?: number
}

export interface ActivationHistogram {
  /** Path of the layer. */
  readonly layer: string
  readonly kind: string
  /** Values per bin; bins are of equal width, the last one includes the upper end of the range. */
  readonly counts: readonly number[]
  readonly range: readonly [number, number]
  /** Share of values below or above the range, or not a number. */
  readonly outside: number
  readonly mean: number
  /** Standard deviation over all values (divisor n). */
  readonly std: number
  readonly min: number
  readonly max: number
  /** Share of units that put out 0 for every sample: for ReLU, units that learn nothing any more. */
  readonly dead: number
}

/**
 * For every layer, inner ones included, the distribution of its outputs over `samples` (as predict() takes them), computed
 * as in prediction. With 30 bins over [0, 1] it is the usual experiment on first weights (Glorot & Bengio 2010).
 * PyTorch: none; Keras: the histograms of keras.callbacks.TensorBoard
 */
export async function activationHistograms(
  net: Model,
  samples: Dataset | Tensor | ArrayLike<number>,
  options: HistogramOptions = {},
): Promise<ActivationHistogram[]> {
  checkOptions('activationHistograms', options, ['bins', 'range', 'batchSize'])
  checkLayered('activationHistograms', net)
  const bins = checkInteger('bins', options.bins ?? 30, { min: 1, max: 1e6 })
  const range = options.range === undefined ? undefined : checkRange(options.range)
  const tallies: Tally[] = []
  const first = range ? [] : await visit(net, samples, options, () => new Extent())
  await visit(net, samples, options, (_, i) => {
    const tally = new Tally(bins, range ?? (first[i] as Extent).range)
    tallies.push(tally)
    return tally
  })
  const layers = layersOf(net)
  return tallies.map((tally, i) => ({ ...(layers[i] as { layer: string; kind: string }), ...tally.result() }))
}

function checkRange(range: readonly [number, number]): readonly [number, number] {
  if (!Array.isArray(range) || range.length !== 2) throw expected('[lowest, highest]', 'range', range)
  const low = checkFinite('range[0]', range[0])
  return [low, checkFinite('range[1]', range[1], { above: low })]
}

interface Visitor {
  add(values: Float32Array, units: number): void
}

// Runs all samples through the model and shows each layer's outputs to its visitor.
async function visit<V extends Visitor>(
  net: Model,
  samples: Dataset | Tensor | ArrayLike<number>,
  { batchSize }: HistogramOptions,
  visitorOf: (shape: Shape, i: number) => V,
): Promise<V[]> {
  await net.initialize()
  const programs = new Map<number, Program<InputSpecs, Tensor[]>>()
  const visitors: V[] = []
  try {
    for (const { inputs, count } of net.batches(samples, batchSize)) {
      const program = programs.get(count) ?? watching(net, count)
      programs.set(count, program)
      const outputs = await program.run(inputs)
      outputs.forEach((output, i) => {
        visitors[i] ??= visitorOf(output.shape.slice(1), i)
        visitors[i]?.add(output.data as Float32Array, output.size / count)
      })
    }
  } finally {
    for (const program of programs.values()) program.close()
  }
  return visitors
}

function watching(net: Model, count: number): Program<InputSpecs, Tensor[]> {
  return net.batchProgram(`activations ${count}`, count, (x) => {
    const outputs: Tensor[] = []
    net.apply(x, 'predict', ({ output }) => void outputs.push(output))
    return outputs
  })
}

function layersOf(net: Model): { layer: string; kind: string }[] {
  const layers: { layer: string; kind: string }[] = []
  net.batchProgram('layers', 1, (x) =>
    net.apply(x, 'predict', ({ path, kind }) => void layers.push({ layer: path, kind })),
  )
  return layers
}

class Extent implements Visitor {
  #low = Number.POSITIVE_INFINITY
  #high = Number.NEGATIVE_INFINITY

  add(values: Float32Array): void {
    for (const value of values) {
      if (!Number.isFinite(value)) continue
      if (value < this.#low) this.#low = value
      if (value > this.#high) this.#high = value
    }
  }

  /** Of some width, also for values that are all equal. */
  get range(): readonly [number, number] {
    if (this.#low > this.#high) return [0, 1]
    return this.#low === this.#high ? [this.#low - 0.5, this.#high + 0.5] : [this.#low, this.#high]
  }
}

class Tally implements Visitor {
  readonly #counts: number[]
  readonly #range: readonly [number, number]
  #active = new Uint8Array()
  #n = 0
  #inside = 0
  #mean = 0
  #squares = 0
  #min = Number.POSITIVE_INFINITY
  #max = Number.NEGATIVE_INFINITY

  constructor(bins: number, range: readonly [number, number]) {
    this.#counts = new Array<number>(bins).fill(0)
    this.#range = range
  }

  add(values: Float32Array, units: number): void {
    if (this.#active.length === 0) this.#active = new Uint8Array(units)
    const [low, high] = this.#range
    const bins = this.#counts.length
    values.forEach((value, i) => {
      if (value !== 0) this.#active[i % units] = 1
      if (value >= low && value <= high) {
        const bin = Math.min(bins - 1, Math.floor(((value - low) / (high - low)) * bins))
        this.#counts[bin] = (this.#counts[bin] as number) + 1
        this.#inside++
      }
      if (value < this.#min) this.#min = value
      if (value > this.#max) this.#max = value
      // Welford 1962
      this.#n++
      const step = value - this.#mean
      this.#mean += step / this.#n
      this.#squares += step * (value - this.#mean)
    })
  }

  result(): Omit<ActivationHistogram, 'layer' | 'kind'> {
    return {
      counts: this.#counts,
      range: this.#range,
      outside: 1 - this.#inside / this.#n,
      mean: this.#mean,
      std: Math.sqrt(this.#squares / this.#n),
      min: this.#min,
      max: this.#max,
      dead: this.#active.reduce((count, active) => count + (active ? 0 : 1), 0) / this.#active.length,
    }
  }
}
