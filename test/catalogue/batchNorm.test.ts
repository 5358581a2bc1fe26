// Two conventions of batch norm that other libraries have otherwise, and that no loss curve would betray: what momentum
// weighs, and which variance is kept; and that running statistics are no parameters.
import { describe, expect, it } from 'vitest'
import { adam, batchNorm, dataset, model, mse, sgd } from '../../src/index.js'
import { numbers } from '../api/help.js'

const rows = 5
const x = Float32Array.from(numbers(rows * 2, 3), (v) => 3 * v + 1)
const data = dataset(x, Float32Array.from(numbers(rows * 2, 4)), { shape: [rows, 2] })
const column = (c: number): number[] => Array.from({ length: rows }, (_, r) => x[2 * r + c]!)
const mean = (v: number[]): number => v.reduce((a, b) => a + b, 0) / v.length
const squares = (v: number[]): number => v.reduce((a, b) => a + (b - mean(v)) ** 2, 0)

async function afterOneStep(options: { momentum?: number }, lr = 0): Promise<Map<string, Float32Array>> {
  const net = model([2], [batchNorm(options)])
  await net.fit(data, { loss: mse(), optimizer: sgd({ lr }), batchSize: rows, shuffle: 'none' })
  const weights = await net.weights()
  net.close()
  return new Map([...weights].map(([path, { data: values }]) => [path, values]))
}

const near = (got: Float32Array | undefined, wanted: number[]): void => {
  wanted.forEach((value, i) => {
    expect(got?.[i]).toBeCloseTo(value, 5)
  })
}

describe('batch norm', () => {
  it('takes momentum as the weight of the OLD running value: 0.9 old + 0.1 new by default', async () => {
    for (const momentum of [undefined, 0.9, 0.25]) {
      const old = momentum ?? 0.9
      const { mean: m } = Object.fromEntries(
        [...(await afterOneStep(momentum === undefined ? {} : { momentum }))].map(([path, v]) => [
          path.split('.')[1],
          v,
        ]),
      )
      const right = [0, 1].map((c) => old * 0 + (1 - old) * mean(column(c)))
      const swapped = [0, 1].map((c) => (1 - old) * 0 + old * mean(column(c)))
      near(m, right)
      expect(Math.abs(m![0]! - swapped[0]!)).toBeGreaterThan(0.05)
    }
  })

  it('keeps the unbiased variance m / (m - 1), and normalizes the batch by the biased one', async () => {
    const variance = (await afterOneStep({})).get('batchNorm1.variance')
    near(
      variance,
      [0, 1].map((c) => 0.9 * 1 + (0.1 * squares(column(c))) / (rows - 1)),
    )
    const biased = 0.9 * 1 + (0.1 * squares(column(0))) / rows
    expect(Math.abs(variance![0]! - biased)).toBeGreaterThan(0.01)
    // With momentum 0 the stored values are those of the batch: predicting then divides by the unbiased variance.
    const net = model([2], [batchNorm({ momentum: 0 })])
    await net.fit(data, { loss: mse(), optimizer: sgd({ lr: 0 }), batchSize: rows, shuffle: 'none' })
    const y = (await net.predict(data)).data
    const first = Array.from({ length: rows }, (_, r) => y[2 * r] as number)
    expect(squares(first) / rows).toBeCloseTo((rows - 1) / rows, 3)
  })

  it('has running statistics that no gradient and no optimizer touches', async () => {
    const net = model([2], [batchNorm({ momentum: 1 })])
    expect(net.params.map(({ name }) => name)).toEqual(['batchNorm1.gamma', 'batchNorm1.beta'])
    await net.fit(data, { loss: mse(), optimizer: adam({ lr: 0.1 }), epochs: 5, batchSize: rows })
    const weights = await net.weights()
    // All weight on the old value: whatever still changed would be an update.
    expect(Array.from(weights.get('batchNorm1.mean')!.data)).toEqual([0, 0])
    expect(Array.from(weights.get('batchNorm1.variance')!.data)).toEqual([1, 1])
    expect(weights.get('batchNorm1.gamma')!.data[0]).not.toBe(1)
    expect(weights.get('batchNorm1.beta')!.data[0]).not.toBe(0)
  })
})
