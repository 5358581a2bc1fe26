// Numerics classes 'tf32' and 'bf16' where nothing rounds: how they are asked for, and that the cpu and ref compute them as
// fp32. What a card makes of them is asked by test/cuda.

import { describe, expect, it } from 'vitest'
import {
  batchNorm,
  conv2d,
  crossEntropy,
  dataset,
  dense,
  flatten,
  model,
  momentum,
  ops,
  record,
  relu,
} from '../../src/index.js'
import type { ProgramOptions } from '../../src/program.js'
import { fingerprintOf, numbers } from '../api/help.js'

const products = (options: ProgramOptions) =>
  record(
    ({ x, w, v }) => ops.matmul(ops.reshape(ops.conv2d(x, w, { padding: 'same' }), [-1, 20]), v),
    { x: [2, 9, 8, 18], w: [3, 3, 18, 20], v: [20, 7] },
    options,
  )
const data = { x: numbers(2 * 9 * 8 * 18), w: numbers(9 * 18 * 20), v: numbers(140) }

describe.each(['tf32', 'bf16'] as const)("numerics '%s'", (numerics) => {
  it('is asked for by name, of a program and of a model', () => {
    expect(products({ numerics }).print()).toMatch(new RegExp(`^program {2}${numerics} `))
    expect(products({ numerics }).print()).not.toContain('winograd')
    expect(model([2], [dense(1)], { numerics }).numerics).toBe(numerics)
    expect(model([2], [dense(1)], { numerics: 'portable' }).numerics).toBe('fp32')
  })

  it.each(['cpu', 'ref'] as const)('is fp32 on %s', (device) => {
    expect(products({ device, numerics }).runSync(data).data).toEqual(products({ device }).runSync(data).data)
  })

  it('trains as fp32 does on the cpu', async () => {
    const images = dataset(
      Float32Array.from(numbers(16 * 72)),
      Int32Array.from({ length: 16 }, (_, i) => i % 3),
      {
        shape: [16, 6, 6, 2],
      },
    )
    const bits = async (options: object) => {
      const net = model([6, 6, 2], [conv2d(5, 3), batchNorm(), relu(), flatten(), dense(3)], { seed: 3, ...options })
      await net.fit(images, { loss: crossEntropy(), optimizer: momentum({ lr: 0.05 }), batchSize: 8, epochs: 2 })
      return fingerprintOf(net)
    }
    expect(await bits({ numerics })).toBe(await bits({}))
  })
})
