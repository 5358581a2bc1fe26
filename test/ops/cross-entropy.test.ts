// Softmax and cross-entropy: stable far out, with the gradient (p - t) / N, and the same for integer and one-hot labels.
import { describe, expect, it } from 'vitest'
import { grad, ops, record, type Tensor, tensor } from '../../src/index.js'
import { fill, indices, normal, probabilities } from './data.js'
import { compute, everyDevice } from './harness.js'

/** Mean loss and its gradient by the logits. */
function meanLoss(logits: Tensor, labels: Tensor): Tensor[] {
  const loss = ops.mean(ops.softmaxCrossEntropy(logits, labels).loss)
  return [loss, ...grad(loss, [logits])]
}

describe.each(everyDevice())('on $name', ({ on }) => {
  const options = { device: on }

  it('is exact for logits of +-1e4', () => {
    const logits = tensor([
      [1e4, -1e4, 0],
      [1e4, -1e4, 0],
      [-1e4, -1e4, -1e4],
    ])
    const labels = tensor(Int32Array.of(0, 1, 2))
    const [loss, p, gradient] = compute(
      (x, t) => {
        const { loss: each, probabilities } = ops.softmaxCrossEntropy(x, t)
        return [each, probabilities, ...grad(ops.sum(each), [x])]
      },
      [logits, labels],
      options,
    )
    expect(loss![0]).toBe(0)
    expect(loss![1]).toBe(2e4)
    expect(loss![2]).toBeCloseTo(Math.log(3), 6)
    const third = expect.closeTo(1 / 3, 6)
    expect(Array.from(p!)).toEqual([1, 0, 0, 1, 0, 0, third, third, third])
    expect(Array.from(gradient!)).toEqual([0, 0, 0, 1, -1, 0, third, third, expect.closeTo(-2 / 3, 6)])
  })

  it('softmax rows add up to 1 and do not move with a shift', () => {
    const x = fill(normal([33, 10]), 1)
    const [p, shifted] = compute(
      (a) => [ops.softmax(a), ops.softmax(ops.scale(a, 1, 64))],
      [tensor(x, { shape: [33, 10] })],
      options,
    )
    for (let r = 0; r < 33; r++) {
      const sum = Array.from(p!.slice(10 * r, 10 * r + 10)).reduce((a, b) => a + b, 0)
      expect(Math.abs(sum - 1)).toBeLessThan(1e-6)
    }
    p!.forEach((v, i) => {
      expect(Math.abs(shifted![i]! - v)).toBeLessThan(1e-5)
    })
  })

  it('has the gradient (p - t) / N', () => {
    const [n, k] = [7, 11]
    const t = fill(probabilities([n, k]), 2)
    const x = tensor(fill(normal([n, k]), 1), { shape: [n, k] })
    const [, gradient] = compute(meanLoss, [x, tensor(t, { shape: [n, k] })], options)
    const [p] = compute((a) => ops.softmax(a), [x], options)
    gradient!.forEach((g, i) => {
      expect(Math.abs(g - (p![i]! - t[i]!) / n)).toBeLessThan(1e-7)
    })
  })

  it('gives integer labels the loss and gradient of one-hot labels', () => {
    const [n, k] = [33, 10]
    const labels = fill(indices([n], k), 5)
    const hot = new Float32Array(n * k)
    labels.forEach((label, r) => {
      hot[r * k + label] = 1
    })
    const x = tensor(fill(normal([n, k]), 6), { shape: [n, k] })
    const byInteger = compute(meanLoss, [x, tensor(labels, { dtype: 'int32' })], options)
    const byWeight = compute(meanLoss, [x, tensor(hot, { shape: [n, k] })], options)
    byInteger.forEach((values, which) => {
      values.forEach((v, i) => {
        expect(Math.abs(v - byWeight[which]![i]!)).toBeLessThan(2e-7 * Math.max(1, Math.abs(v)))
      })
    })
  })

  it('a class of weight 0 adds nothing, even where its probability is 0', () => {
    const [loss] = compute(
      (x, t) => ops.softmaxCrossEntropy(x, t).loss,
      [tensor([[1e4, -1e4]]), tensor([[1, 0]])],
      options,
    )
    expect(loss![0]).toBe(0)
  })

  it.each([-1, 3, 2147483647])('a label of %i fails the step with its row, and the next step runs', (label) => {
    const program = record(
      ({ x, t }) => ops.softmaxCrossEntropy(x, t).loss,
      { x: [4, 3], t: { shape: [4], dtype: 'int32' } },
      options,
    )
    const x = new Float32Array(12)
    expect(() => program.runSync({ x, t: [0, 1, label, 0] })).toThrow(new RegExp(`${label}`))
    expect(program.runSync({ x, t: [0, 1, 2, 0] }).data[0]).toBeCloseTo(Math.log(3), 6)
  })

  it('accuracy is the share of rows whose largest score is at the label', () => {
    const scores = tensor([
      [1, 3, 2],
      [5, 5, 1],
      [0, 0, 1],
      [9, 8, 7],
    ])
    const [byInteger, byWeight] = compute(
      (x, t, w) => [ops.accuracy(x, t), ops.accuracy(x, w)],
      [
        scores,
        tensor(Int32Array.of(1, 0, 2, 1)),
        tensor([
          [0, 1, 0],
          [1, 0, 0],
          [0, 0, 1],
          [0, 1, 0],
        ]),
      ],
      options,
    )
    expect([byInteger![0], byWeight![0]]).toEqual([0.75, 0.75])
  })
})
