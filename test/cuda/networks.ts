// What the tests of the device `cuda` train: ten steps of an MLP with batch norm and of a CNN, and how close two trainings
// of them have to be.
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import type { Device } from '../../src/device.js'
import {
  batchNorm,
  conv2d,
  crossEntropy,
  dataset,
  dense,
  flatten,
  type Layer,
  type Model,
  type ModelNumerics,
  maxPool2d,
  model,
  momentum,
  relu,
} from '../../src/index.js'
import { numbers } from '../api/help.js'

/** The backend on the emulated card; `npm run build -- emulated` makes it. */
export const library: string = fileURLToPath(new URL('../../build-cuda/libgradline_cuda_emulated.so', import.meta.url))

export interface Network {
  shape: number[]
  layers: () => Layer[]
  /** Default 8. */
  batch?: number
}
const steps = 10
export const networks: Record<string, Network> = {
  'an MLP with batch norm': {
    shape: [7],
    layers: () => [dense(19), batchNorm(), relu(), dense(9), relu(), dense(3)],
  },
  'a CNN': {
    shape: [6, 6, 2],
    layers: () => [conv2d(5, 3), batchNorm(), relu(), maxPool2d(2), conv2d(4, 2), relu(), flatten(), dense(3)],
  },
}

/** Those, and others large enough, or of enough channels, for every tile that rounds operands. */
export const roundingNetworks: Record<string, Network> = {
  ...networks,
  'a wide MLP with batch norm': { shape: [512], layers: () => [dense(516), batchNorm(), relu(), dense(3)], batch: 64 },
  'a CNN of four channels and more': {
    shape: [6, 6, 4],
    layers: () => [conv2d(8, 3), batchNorm(), relu(), conv2d(12, 2), relu(), flatten(), dense(3)],
  },
}

/** Rows of numbers with labels 0, 1, 2. */
export function data(shape: number[], rows = 16) {
  const size = shape.reduce((a, b) => a * b)
  const labels = Int32Array.from({ length: rows }, (_, i) => i % 3)
  return dataset(Float32Array.from(numbers(rows * size)), labels, { shape: [rows, ...shape] })
}

export async function trained(
  { shape, layers, batch = 8 }: Network,
  on: Device | undefined,
  numerics: ModelNumerics = 'fp32',
): Promise<{ net: Model; losses: number[] }> {
  const net = model(shape, layers(), { seed: 3, numerics, ...(on ? { device: on } : {}) })
  const { epochs } = await net.fit(data(shape, 2 * batch), {
    loss: crossEntropy(),
    optimizer: momentum({ lr: 0.05 }),
    epochs: steps / 2,
    batchSize: batch,
  })
  return { net, losses: epochs.map(({ train }) => train.loss) }
}

/** A network that has learned, and its loss in each epoch. */
export type Trained = Awaited<ReturnType<typeof trained>>

// By class, what rounding an operand does to it.
const roundings = { fp32: 0, tf32: 2 ** -11, bf16: 2 ** -8 }
type Rounding = keyof typeof roundings

// (2 * rounding + 8 * 2^-24 * sqrt(K)) * magnitude, for each of the steps; K: the longest sum, over the batch and all places
// of an image (in the wide network 512, which is little beside its rounding). Steps of momentum take at most
// lr / (1 - 0.9) = 1/2 of what a gradient is off.
const allowed = (values: Float32Array, numerics: Rounding): number =>
  (2 * roundings[numerics] + 8 * 2 ** -24 * Math.sqrt(8 * 16)) *
  steps *
  values.reduce((most, value) => Math.max(most, Math.abs(value)), 1)

/** The same weights and losses, but for the order of sums and the rounding of operands in this class. */
export async function expectAgreement(got: Trained, expected: Trained, numerics: Rounding = 'fp32'): Promise<void> {
  const weights = await got.net.weights()
  for (const [name, { data: wanted }] of await expected.net.weights()) {
    const values = weights.get(name)?.data ?? new Float32Array()
    expect(values.length, name).toBe(wanted.length)
    const worst = wanted.reduce((most, value, i) => Math.max(most, Math.abs(value - (values[i] ?? Number.NaN))), 0)
    expect(worst, name).toBeLessThanOrEqual(allowed(wanted, numerics))
  }
  const digits = numerics === 'fp32' ? 4 : numerics === 'tf32' ? 2 : 1
  for (const [i, loss] of expected.losses.entries()) expect(got.losses[i]).toBeCloseTo(loss, digits)
}
