// Batch norm as its paper has it: normalized output, its gradients, running statistics as state, and inference that does
// not depend on the batch.
import { describe, expect, it } from 'vitest'
import { device } from '../../src/device.js'
import { assign, grad, ops, read, record, type Tensor, tensor, variable } from '../../src/index.js'
import { passNames } from '../../src/passes/index.js'
import type { ProgramOptions } from '../../src/program.js'
import { fill, normal, positive } from './data.js'
import { bitsDiffer, compute, everyDevice } from './harness.js'

const columns = (data: ArrayLike<number>, c: number): number[][] =>
  Array.from({ length: c }, (_, j) => Array.from({ length: data.length / c }, (_, r) => data[r * c + j]!))
const mean = (list: number[]): number => list.reduce((a, b) => a + b, 0) / list.length
const variance = (list: number[]): number => mean(list.map((v) => (v - mean(list)) ** 2))

describe.each(everyDevice())('on $name', ({ on }) => {
  const options = { device: on }

  it.each([0, 1, 1000])(
    'normalizes each channel to mean 0 and variance 1, with an offset of %i in the data',
    (offset) => {
      const [rows, c] = [203, 7]
      const data = fill(normal([rows, c]), 3).map((v, i) => Math.fround(v * (1 + (i % c)) + offset))
      const x = tensor(data, { shape: [rows, c] })
      const [y, m, v] = compute(
        (input) => {
          const normed = ops.batchNorm(input, ops.fill([c], 1), ops.fill([c], 0), 1e-5)
          return [normed.y, normed.mean, normed.variance]
        },
        [x],
        options,
      )
      for (const [j, column] of columns(y!, c).entries()) {
        expect(Math.abs(mean(column))).toBeLessThan(1e-5 * (1 + offset / 20))
        expect(Math.abs(variance(column) - 1)).toBeLessThan(3e-5)
        const given = columns(data, c)[j]!
        expect(Math.abs(m![j]! / mean(given) - 1)).toBeLessThan(1e-4)
        // Biased: divided by the number of rows.
        expect(Math.abs(v![j]! / variance(given) - 1)).toBeLessThan(1e-4)
      }
    },
  )

  it('has the gradients of the closed form', () => {
    const [rows, c] = [33, 5]
    const [x, w] = [fill(normal([rows, c]), 1), fill(normal([rows, c]), 2)]
    const [gamma, beta] = [fill(positive([c]), 3), fill(normal([c]), 4)]
    const shape = [rows, c]
    const [dx, dgamma, dbeta] = compute(
      (a, g, b, weights) => grad(ops.sum(ops.mul(ops.batchNorm(a, g, b).y, weights)), [a, g, b]),
      [tensor(x, { shape }), tensor(gamma), tensor(beta), tensor(w, { shape })],
      options,
    )
    for (let j = 0; j < c; j++) {
      const [xs, ws] = [columns(x, c)[j]!, columns(w, c)[j]!]
      const deviation = Math.sqrt(variance(xs) + 1e-5)
      const z = xs.map((v) => (v - mean(xs)) / deviation)
      const weighted = ws.map((v, r) => v * z[r]!)
      expect(dbeta![j]).toBeCloseTo(mean(ws) * rows, 4)
      expect(dgamma![j]).toBeCloseTo(mean(weighted) * rows, 4)
      z.forEach((zr, r) => {
        const wanted = (gamma[j]! / deviation) * (ws[r]! - mean(ws) - zr * mean(weighted))
        expect(dx![r * c + j]).toBeCloseTo(wanted, 4)
      })
    }
  })

  it('keeps running statistics with the weight of the OLD value, and the unbiased variance', () => {
    const [rows, c, keep] = [10, 3, 0.9]
    const running = {
      mean: variable([c], { name: 'mean' }),
      variance: variable([c], { name: 'variance', value: 1 }),
    }
    const program = record(
      ({ x }) => {
        const { y, mean, variance } = ops.batchNorm(x, ops.fill([c], 1), ops.fill([c], 0))
        const blend = (old: typeof running.mean, now: typeof mean, factor: number): void =>
          assign(old, ops.add(ops.scale(old, keep), ops.scale(now, (1 - keep) * factor)))
        blend(running.mean, mean, 1)
        blend(running.variance, variance, rows / (rows - 1))
        return y
      },
      { x: [rows, c] },
      options,
    )
    const wanted = { mean: [0, 0, 0], variance: [1, 1, 1] }
    for (let step = 0; step < 5; step++) {
      const x = fill(normal([rows, c]), 10 + step)
      program.runSync({ x })
      columns(x, c).forEach((column, j) => {
        wanted.mean[j] = 0.9 * wanted.mean[j]! + 0.1 * mean(column)
        wanted.variance[j] = 0.9 * wanted.variance[j]! + (0.1 * variance(column) * rows) / (rows - 1)
      })
    }
    expect(Array.from(read(running.mean))).toEqual(wanted.mean.map((v) => expect.closeTo(v, 6)))
    expect(Array.from(read(running.variance))).toEqual(wanted.variance.map((v) => expect.closeTo(v, 6)))
  })

  it('infers each row as if it were alone, bit for bit', () => {
    const [rows, c] = [9, 21]
    const [x, statistics] = [fill(normal([rows, c]), 1), [normal, positive].map((f, i) => fill(f([c]), 5 + i))]
    const operands = [positive, normal].map((f, i) => tensor(fill(f([c]), 8 + i)))
    const infer = (data: ArrayLike<number>, n: number): Float32Array =>
      compute(
        (a, g, b, m, v) => ops.batchNormInference(a, g, b, m, v),
        [tensor(data, { shape: [n, c] }), ...operands, ...statistics.map((s) => tensor(s))],
        options,
      )[0] as Float32Array
    const together = infer(x, rows)
    for (let r = 0; r < rows; r++) {
      expect(infer(x.slice(r * c, r * c + c), 1)).toEqual(together.slice(r * c, r * c + c))
    }
    const [gamma, beta] = operands.map((t) => t.data)
    const [m, v] = statistics
    together.forEach((y, i) => {
      const j = i % c
      const wanted = (gamma![j]! * (x[i]! - m![j]!)) / Math.sqrt(v![j]! + 1e-5) + beta![j]!
      expect(y).toBeCloseTo(wanted, 4)
    })
  })
})

describe('the passes around batch norm', () => {
  const [rows, c] = [600, 260]
  const train = (x: Tensor, gamma: Tensor, beta: Tensor, dy: Tensor): Tensor[] => {
    const y = ops.relu(ops.batchNorm(x, gamma, beta).y)
    return [y, ...grad(ops.sum(ops.mul(y, dy)), [x, gamma, beta])]
  }
  const specs = { x: [rows, c], gamma: [c], beta: [c], dy: [rows, c] }
  const recorded = (options: ProgramOptions) =>
    record(({ x, gamma, beta, dy }) => train(x, gamma, beta, dy), specs, options)
  const lines = (options: ProgramOptions): string[] => {
    const program = recorded(options)
    const text = program.print()
    program.close()
    return text.split('\n')
  }

  it('leave one op forward and one backward', () => {
    const printed = lines({ device: device('cpu') })
    expect(printed.find((line) => line.includes('= batchNorm('))).toContain('| relu')
    // dy, x, gamma, mean, variance and beta.
    expect(printed.find((line) => line.includes('= batchNormGrad('))?.match(/[%$][\w.]+/g)?.length).toBe(3 + 6)
    expect(printed.some((line) => line.includes('reluGrad'))).toBe(false)
  })

  it('give the bits of single ops where wide rows are read in several tiles', () => {
    const data = {
      x: fill(normal([rows, c]), 1),
      gamma: fill(normal([c]), 2),
      beta: fill(normal([c]), 3),
      dy: fill(normal([rows, c]), 4),
    }
    const results = [{}, { without: passNames }].map((options) => {
      const program = recorded({ device: device('cpu'), ...options })
      const values = program.runSync(data).map((t) => t.data)
      program.close()
      return values
    })
    expect(bitsDiffer('result', results[0]!, results[1]!)).toBe(undefined)
    const [y, dx] = results[0]!
    for (const j of [0, 255, 256, 259]) {
      const [column, weights] = [columns(data.x, c)[j]!, columns(data.dy, c)[j]!]
      const deviation = Math.sqrt(variance(column) + 1e-5)
      const z = column.map((v) => (v - mean(column)) / deviation)
      const g = weights.map((v, r) => (data.gamma[j]! * z[r]! + data.beta[j]! > 0 ? v : 0))
      const weighted = mean(g.map((v, r) => v * z[r]!))
      z.forEach((zr, r) => {
        expect(Math.abs(y![r * c + j]! - Math.max(0, data.gamma[j]! * zr + data.beta[j]!))).toBeLessThan(1e-5)
        const wanted = (data.gamma[j]! / deviation) * (g[r]! - mean(g) - zr * weighted)
        // A sign may be decided by the last bit.
        if (Math.abs(data.gamma[j]! * zr + data.beta[j]!) > 1e-5)
          expect(Math.abs(dx![r * c + j]! - wanted)).toBeLessThan(1e-5)
      })
    }
  })
})

// The oracle adds up one number after the other in the precision of the program.
describe.each(everyDevice().filter(({ name }) => name !== 'ref'))('statistics on $name', ({ on }) => {
  it.each([
    [64, 40],
    [3000, 5],
    [70000, 3],
  ])('keep their digits with mean 1e4 and deviation 1e-2, [%i, %i]', (rows, c) => {
    const data = fill(normal([rows, c]), 3).map((v) => Math.fround(1e4 + 1e-2 * v))
    const [m, v] = compute(
      (x) => {
        const normed = ops.batchNorm(x, ops.fill([c], 1), ops.fill([c], 0), 1e-5)
        return [normed.mean, normed.variance]
      },
      [tensor(data, { shape: [rows, c] })],
      { device: on },
    )
    for (const [j, column] of columns(data, c).entries()) {
      expect(Math.abs(m![j]! / mean(column) - 1)).toBeLessThan(1e-7)
      expect(Math.abs(v![j]! / variance(column) - 1)).toBeLessThan(1e-5)
    }
  })
})
