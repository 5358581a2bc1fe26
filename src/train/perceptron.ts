// The perceptron (Rosenblatt 1958): one layer of weighted sums with a step at the threshold, and the learning rule that came
// with it. No loss and no gradient: the rule is assigned to the weights inside the program.

import { Dataset } from '../data/dataset.js'
import { type Device, device } from '../device.js'
import { checkFinite, checkInteger, checkOptions, expected } from '../errors.js'
import { read } from '../memory.js'
import { abs, add, greater, scale, sub } from '../ops/elementwise.js'
import { matmul } from '../ops/matmul.js'
import { assign, cast, reshape } from '../ops/move.js'
import { randomNormal } from '../ops/random.js'
import { sum } from '../ops/reduce.js'
import { record } from '../program.js'
import { sizeOf } from '../shape.js'
import { stepState } from '../step.js'
import { Region, type Tensor, type Variable } from '../tensor.js'
import { drawBatch } from './batches.js'

export interface PerceptronOptions {
  /** Size of a correction. Default 1. */
  lr?: number
  /** Decides first weights and the order of samples. Default 0. */
  seed?: number
  /** Default 'cpu'. */
  device?: string | Device
}

export interface PerceptronFit {
  /** Passes over the data that were made. */
  readonly passes: number
  /** Wrong predictions in each pass, each before its correction. */
  readonly errors: readonly number[]
  /** True when the last pass made no error: the data are separated, and nothing would change any more. */
  readonly separated: boolean
}

/**
 * y = 1 where x w + bias > 0, else 0. Learning, one sample at a time in a new order each pass:
 * w += lr (target - y) x, bias += lr (target - y). It ends with no error on every data set that a plane separates
 * (Novikoff 1962), and never on any other, such as XOR. PyTorch: none; Keras: none
 */
export class Perceptron {
  readonly inputs: number
  readonly #weight: Variable
  readonly #bias: Variable
  readonly #lr: number
  readonly #device: Device
  readonly #step: Variable
  readonly #ready: Promise<unknown>

  constructor(inputs: number, options: PerceptronOptions = {}) {
    checkOptions('Perceptron', options, ['lr', 'seed', 'device'])
    this.inputs = checkInteger('inputs of Perceptron', inputs, { min: 1 })
    this.#lr = checkFinite('lr of Perceptron', options.lr ?? 1, { above: 0 })
    const seed = checkInteger('seed', options.seed ?? 0, { min: 0 })
    this.#device = device(options.device)
    const region = new Region('param', 'perceptron')
    this.#weight = region.add('weight', [this.inputs, 1], 'float32')
    this.#bias = region.add('bias', [1], 'float32')
    this.#step = stepState('perceptron', { seed })
    const first = record(
      () => {
        for (const variable of [this.#weight, this.#bias]) assign(variable, randomNormal(variable.shape, 0, 1))
        return {}
      },
      {},
      { device: this.#device, seed, name: 'perceptron init' },
    )
    this.#ready = first.run().finally(() => first.close())
    // A failure is told by the first call that needs the weights.
    this.#ready.catch(() => {})
  }

  /** Makes passes over the data, with labels 0 and 1, until one makes no error or `passes` (default 100) are made. */
  async fit(data: Dataset, options: { passes?: number } = {}): Promise<PerceptronFit> {
    checkOptions('fit', options, ['passes'])
    const passes = checkInteger('passes', options.passes ?? 100, { min: 1 })
    if (!(data instanceof Dataset) || !data.labels) throw expected('a data set with labels', 'fit of Perceptron', data)
    if (sizeOf(data.sampleShape) !== this.inputs) {
      throw expected(`samples of ${this.inputs} numbers`, 'fit of Perceptron', data.sampleShape, { code: 'shape' })
    }
    if (data.labels.data.length !== data.length || data.labels.data.some((label) => label !== 0 && label !== 1)) {
      throw expected('one label 0 or 1 per sample', 'fit of Perceptron', data.labels.data, { code: 'data' })
    }
    await this.#ready
    const program = record(
      () => {
        const { inputs, labels } = drawBatch(data, 1, 'epoch', this.#device, this.#step)
        const x = reshape(inputs, [1, this.inputs])
        const error = sub(cast(reshape(labels as Tensor, [1, 1]), 'float32'), this.#output(x))
        const correction = scale(error, this.#lr)
        assign(this.#weight, add(this.#weight, matmul(x, correction, { transposeA: true })))
        assign(this.#bias, add(this.#bias, reshape(correction, [1])))
        return sum(abs(error))
      },
      {},
      { device: this.#device, step: this.#step, name: 'perceptron' },
    )
    const errors: number[] = []
    try {
      while (errors.length < passes && errors.at(-1) !== 0) {
        const results = await program.runMany(data.length)
        errors.push(results.series('').reduce((total, error) => total + error, 0))
      }
    } finally {
      program.close()
    }
    return { passes: errors.length, errors, separated: errors.at(-1) === 0 }
  }

  /** 0 or 1 for each sample, given row by row. */
  async predict(samples: ArrayLike<number>): Promise<Uint8Array> {
    const rows = samples?.length / this.inputs
    if (!Number.isInteger(rows) || rows === 0) {
      throw expected(`a multiple of ${this.inputs} numbers`, 'predict of Perceptron', samples)
    }
    await this.#ready
    const program = record(({ x }) => this.#output(x), { x: [rows, this.inputs] }, { device: this.#device })
    try {
      return Uint8Array.from((await program.run({ x: samples })).data)
    } finally {
      program.close()
    }
  }

  /** Copies of the weights [inputs] and the bias. */
  async weights(): Promise<{ weight: Float32Array; bias: number }> {
    await this.#ready
    return { weight: read(this.#weight) as Float32Array, bias: read(this.#bias)[0] as number }
  }

  #output(x: Tensor): Tensor {
    return greater(add(matmul(x, this.#weight), this.#bias), 0)
  }
}
