// Numerics class 'fast': which programs get it, what it computes otherwise, and where its errors end. The rows of the table of
// cases that carry it are asked everything else (test/ops/cases.ts).

import { describe, expect, it } from 'vitest'
import {
  batchNorm,
  conv2d,
  crossEntropy,
  dataset,
  dense,
  device,
  foldBatchNorm,
  globalAvgPool2d,
  type ModelOptions,
  model,
  momentum,
  ops,
  record,
  relu,
} from '../../src/index.js'
import type { Program, ProgramOptions } from '../../src/program.js'
import { Random } from '../ops/data.js'
import { forwardTerms } from '../ops/fast.js'
import { unit } from '../ops/harness.js'

const shape = { x: [2, 16, 16, 32], w: [3, 3, 32, 32] }
const convolution = (options: ProgramOptions) =>
  record(({ x, w }) => ({ y: ops.conv2d(x, w, { padding: 'same' }) }), shape, options)
const random = new Random(3)
const data = {
  x: Float32Array.from({ length: 2 * 16 * 16 * 32 }, () => random.uniform() - 0.5),
  w: Float32Array.from({ length: 9 * 32 * 32 }, () => random.uniform() - 0.5),
}
const resultOf = (options: ProgramOptions, inputs = data): Float32Array =>
  convolution(options).runSync(inputs).y.data as Float32Array

describe("numerics 'fast'", () => {
  it('is asked for by name', () => {
    expect(convolution({ numerics: 'fast' }).print()).toMatch(/^program {2}fast/)
    expect(convolution({ numerics: 'fast' }).print()).toContain('conv2d winograd')
    expect(convolution({}).print()).toMatch(/^program {2}fp32/)
    expect(convolution({}).print()).not.toContain('winograd')
    expect(() => convolution({ numerics: 'quick' as 'fast' })).toThrow(
      'one of "fp32", "fast", "tf32", "bf16", "fp64" for numerics but received "quick"',
    )
    expect(() => model([2], [dense(1)], { numerics: 'fp64' as 'fast' })).toThrow(
      'one of "fp32", "fast", "tf32", "bf16", "native", "portable" for numerics but received "fp64"',
    )
  })

  it('is fp32 on ref', () => {
    expect(resultOf({ device: 'ref', numerics: 'fast' })).toEqual(resultOf({ device: 'ref' }))
  })

  it('goes together with portable kernels, whose bits are then equal for every instruction set and number of threads', () => {
    const portable = (options: object) => device('cpu', { ...options, numerics: 'portable' })
    const on = portable({ threads: 1 })
    expect(convolution({ device: on, numerics: 'fast' }).print()).toContain('conv2d winograd portable')
    const wanted = resultOf({ device: on, numerics: 'fast' })
    for (const options of [{ threads: 2 }, { threads: 3 }, { isa: 'base' }])
      expect(resultOf({ device: portable(options), numerics: 'fast' })).toEqual(wanted)
  })

  // A filter of one tap copies pixels from 1e-6 to 1: the error of each is that of the largest beside it.
  it('keeps the bound by tile where the bound by element is beyond any algorithm with fewer multiplications', () => {
    const w = new Float32Array(data.w.length)
    for (let c = 0; c < 32; c++) w[(4 * 32 + c) * 32 + c] = 1
    const x = data.x.map((v, i) => v * 10 ** (-6 * ((Math.floor(i / 32) * 7919) % 2)))
    const copied = resultOf({ numerics: 'fast' }, { x, w })
    const terms = forwardTerms({ shape: shape.x, data: x }, { shape: shape.w, data: w }, shape.x, [1, 1])
    const factor = 8 * unit * Math.sqrt(9 * 32)
    const worst = (bound: (i: number) => number): number =>
      copied.reduce((most, y, i) => Math.max(most, Math.abs(y - x[i]!) / bound(i)), 0)
    expect(worst((i) => factor * terms[i]!)).toBeLessThan(1)
    expect(worst((i) => factor * Math.abs(x[i]!))).toBeGreaterThan(1)
    expect(resultOf({}, { x, w })).toEqual(x)
  })
})

describe("a model of numerics 'fast'", () => {
  const net = (options: ModelOptions) =>
    model(
      [12, 12, 3],
      [
        conv2d(24, 3, { padding: 'same' }),
        batchNorm(),
        relu(),
        conv2d(20, 3, { padding: 'same' }),
        relu(),
        globalAvgPool2d(),
        dense(4),
      ],
      { numerics: 'fast', seed: 2, ...options },
    )
  const samples = () => {
    const random = new Random(7)
    const pixels = Float32Array.from({ length: 32 * 12 * 12 * 3 }, () => random.uniform() - 0.5)
    return dataset(
      pixels,
      Int32Array.from({ length: 32 }, (_, i) => i % 4),
      { shape: [32, 12, 12, 3] },
    )
  }
  const texts = async (made: ReturnType<typeof net>): Promise<string> => {
    await made.initialize()
    const program: Program = made.program('all', () => {
      const y = made.apply(ops.fill([8, 12, 12, 3], 0.5), 'predict')
      return { y }
    }) as unknown as Program
    const text = program.print()
    program.close()
    return text
  }

  it('has programs of that class, folded too', async () => {
    expect(await texts(net({}))).toContain('conv2d winograd')
    expect(await texts(net({ numerics: 'fp32' }))).not.toContain('winograd')
    expect(await texts(await foldBatchNorm(net({})))).toContain('conv2d winograd')
    const both = net({ device: device('cpu', { numerics: 'portable' }) })
    expect(await texts(both)).toContain('conv2d winograd portable')
  })

  it('has equal weights after training on one, two and three threads', async () => {
    const weights = await Promise.all(
      [1, 2, 3].map(async (threads) => {
        const made = net({ threads })
        await made.fit(samples(), { loss: crossEntropy(), optimizer: momentum({ lr: 0.05 }), epochs: 3, batchSize: 8 })
        return (await made.snapshot()).params
      }),
    )
    expect(weights[1]).toEqual(weights[0])
    expect(weights[2]).toEqual(weights[0])
    const plain = net({ numerics: 'fp32' })
    await plain.fit(samples(), { loss: crossEntropy(), optimizer: momentum({ lr: 0.05 }), epochs: 3, batchSize: 8 })
    const { params } = await plain.snapshot()
    expect(weights[0]).not.toEqual(params)
    params.forEach((value, i) => {
      expect(Math.abs(weights[0]![i]! - value)).toBeLessThan(1e-4)
    })
  })
})
