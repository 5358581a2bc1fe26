// Metrics against counts made sample by sample in float64: over batches and the smaller last one, in evaluate and in fit.
import { describe, expect, it } from 'vitest'
import {
  adam,
  crossEntropy,
  type Dataset,
  dataset,
  dense,
  flatten,
  layer,
  loss,
  type Metric,
  metrics,
  model,
  mse,
  ops,
  type ProgressEvent,
  sgd,
} from '../../src/index.js'
import { classes, expectError, numbers } from '../api/help.js'

// The model hands its inputs on, so that the samples are the predictions.
const identity = (shape: number[]) => model(shape, [layer('identity', (x) => ops.scale(x, 1))])

const value = async (metric: Metric, data: Dataset, batchSize = 4): Promise<number> => {
  const measured = await identity([...data.sampleShape]).evaluate(data, { loss: any, metrics: [metric], batchSize })
  return measured[metric.kind]!
}
const any = loss('any', (prediction) => ops.mean(prediction))

const samples = 23
const k = 5
const scores = Float32Array.from(numbers(samples * k, 4), (v) => Math.round(v * 8) / 8)
const labels = Int32Array.from({ length: samples }, (_, i) => (i * i) % 4)
const multi = dataset(scores, labels, { shape: [samples, k], classes: k })
const row = (i: number) => Array.from(scores.subarray(i * k, (i + 1) * k))
const best = (r: number[]) => r.indexOf(Math.max(...r))

const binaryScores = Float32Array.from(numbers(samples, 9), (v) => Math.round((v + 1) * 8) / 16)
const binaryLabels = Int32Array.from({ length: samples }, (_, i) => ((i * 7) % 5 < 2 ? 1 : 0))
const binary = dataset(binaryScores, binaryLabels, { shape: [samples, 1] })

const ratio = (a: number, b: number) => (b === 0 ? 0 : a / b)
const count = (n: number, of: (i: number) => boolean) => Array.from({ length: n }, (_, i) => i).filter(of).length

describe('accuracy and topK', () => {
  it.each([1, 4, 7, 23])('count the samples, in batches of %i', async (batchSize) => {
    const hits = count(samples, (i) => best(row(i)) === labels[i])
    expect(await value(metrics.accuracy(), multi, batchSize)).toBe(hits / samples)
    for (const top of [1, 2, 5]) {
      const within = count(samples, (i) => {
        const order = row(i).map((score, j) => ({ score, j }))
        order.sort((a, b) => b.score - a.score || a.j - b.j)
        return order.slice(0, top).some(({ j }) => j === labels[i])
      })
      expect(await value(metrics.topK(top), multi, batchSize)).toBe(within / samples)
    }
    expect(await value(metrics.topK(1), multi, batchSize)).toBe(hits / samples)
  })
  it('take one-hot targets, and a threshold for a single output', async () => {
    const hot = Float32Array.from({ length: samples * k }, (_, i) => (labels[Math.floor(i / k)] === i % k ? 1 : 0))
    const data = dataset(scores, hot, { shape: [samples, k], labelShape: [samples, k] })
    for (const metric of [metrics.accuracy(), metrics.topK(2), metrics.f1()]) {
      expect(await value(metric, data)).toBe(await value(metric, multi))
    }
    for (const threshold of [0.5, 0.25]) {
      const right = count(samples, (i) => (binaryScores[i]! > threshold ? 1 : 0) === binaryLabels[i])
      expect(await value(metrics.accuracy({ threshold }), binary)).toBe(right / samples)
    }
  })
  it('never count a score that is not a number as a hit', async () => {
    // Puts NaN in the place of each 0.
    const spoil = model([3], [layer('spoil', (x) => ops.div(x, ops.mul(x, ops.div(1, x))))])
    const data = dataset(Float32Array.of(0, 1, 2, 3, 0, 1, 5, 1, 2), new Int32Array(3), { shape: [3, 3], classes: 3 })
    const measured = await spoil.evaluate(data, { loss: any, metrics: [metrics.topK(1), metrics.topK(2)] })
    expect([measured.top1, measured.top2]).toEqual([1 / 3, 2 / 3])
  })
})

describe('precision, recall, f1', () => {
  const perClass = (c: number) => {
    const hits = count(samples, (i) => labels[i] === c && best(row(i)) === c)
    return {
      hits,
      predicted: count(samples, (i) => best(row(i)) === c),
      actual: count(samples, (i) => labels[i] === c),
    }
  }
  const all = Array.from({ length: k }, (_, c) => perClass(c))
  const present = all.filter(({ predicted, actual }) => predicted + actual > 0)
  const formulas = {
    precision: ({ hits, predicted }: (typeof all)[number]) => ratio(hits, predicted),
    recall: ({ hits, actual }: (typeof all)[number]) => ratio(hits, actual),
    f1: ({ hits, predicted, actual }: (typeof all)[number]) => ratio(2 * hits, predicted + actual),
  }
  describe.each(['precision', 'recall', 'f1'] as const)('%s', (name) => {
    it.each([1, 4, 23])('macro and micro of many classes, in batches of %i', async (batchSize) => {
      const macro = present.reduce((sum, c) => sum + formulas[name](c), 0) / present.length
      const micro = formulas[name](
        all.reduce((a, b) => ({
          hits: a.hits + b.hits,
          predicted: a.predicted + b.predicted,
          actual: a.actual + b.actual,
        })),
      )
      expect(await value(metrics[name](), multi, batchSize)).toBeCloseTo(macro, 14)
      expect(await value(metrics[name]({ average: 'micro' }), multi, batchSize)).toBeCloseTo(micro, 14)
      expect(await value(metrics[name]({ average: 'micro' }), multi)).toBe(await value(metrics.accuracy(), multi))
    })
    it('binary, of a single output and of two', async () => {
      const two = dataset(
        Float32Array.from({ length: 2 * samples }, (_, i) => (i % 2 ? binaryScores[(i - 1) / 2]! : 0.375)),
        binaryLabels,
        { shape: [samples, 2] },
      )
      const positive = (i: number) => binaryScores[i]! > 0.375
      const counts = {
        hits: count(samples, (i) => positive(i) && binaryLabels[i] === 1),
        predicted: count(samples, positive),
        actual: count(samples, (i) => binaryLabels[i] === 1),
      }
      expect(counts.hits).toBeGreaterThan(0)
      expect(await value(metrics[name]({ threshold: 0.375 }), binary)).toBe(formulas[name](counts))
      expect(await value(metrics[name](), two)).toBe(formulas[name](counts))
    })
  })
  it('are 0, not NaN, where a class is never predicted', async () => {
    expect(await value(metrics.precision({ threshold: 2 }), binary)).toBe(0)
    expect(await value(metrics.f1({ threshold: 2 }), binary)).toBe(0)
  })
})

describe('auc', () => {
  // Every pair of a positive and a negative sample, ties counting half.
  let [pairs, wins] = [0, 0]
  for (let i = 0; i < samples; i++) {
    for (let j = 0; j < samples; j++) {
      if (binaryLabels[i] !== 1 || binaryLabels[j] !== 0) continue
      pairs++
      wins += binaryScores[i]! > binaryScores[j]! ? 1 : binaryScores[i] === binaryScores[j] ? 0.5 : 0
    }
  }
  it.each([1, 4, 23])('is exact over the whole data set, ties included, in batches of %i', async (batchSize) => {
    expect(await value(metrics.auc(), binary, batchSize)).toBe(wins / pairs)
  })
  it('of two scores orders by their difference, and is NaN with one class', async () => {
    const two = dataset(
      Float32Array.from({ length: 2 * samples }, (_, i) => (i % 2 ? binaryScores[(i - 1) / 2]! + 3 : 3)),
      binaryLabels,
      { shape: [samples, 2] },
    )
    expect(await value(metrics.auc(), two)).toBe(wins / pairs)
    expect(
      await value(metrics.auc(), dataset(binaryScores, new Int32Array(samples), { shape: [samples, 1] })),
    ).toBeNaN()
  })
})

describe('confusionMatrix', () => {
  it.each([1, 4, 23])('counts pairs of actual and predicted class, in batches of %i', async (batchSize) => {
    const counts = Array.from({ length: k }, (_, a) =>
      Array.from({ length: k }, (_, p) => count(samples, (i) => labels[i] === a && best(row(i)) === p)),
    )
    const net = identity([k])
    expect(await metrics.confusionMatrix(net, multi, { batchSize })).toEqual({ classes: k, samples, counts })
    const right = (p: number, a: number) =>
      count(samples, (i) => (binaryScores[i]! > 0.5 ? 1 : 0) === p && binaryLabels[i] === a)
    expect((await metrics.confusionMatrix(identity([1]), binary, { batchSize })).counts).toEqual([
      [right(0, 0), right(1, 0)],
      [right(0, 1), right(1, 1)],
    ])
  })
})

describe('mse and r2', () => {
  const outputs = 2
  const predictions = Float32Array.from(numbers(samples * outputs, 6), (v) => 1000 + v)
  const targets = Float32Array.from(numbers(samples * outputs, 7), (v, i) => predictions[i]! + 0.3 * v)
  const data = dataset(predictions, targets, { shape: [samples, outputs], labelShape: [samples, outputs] })
  it.each([1, 4, 23])('are those of the whole data set, in batches of %i', async (batchSize) => {
    const errors = targets.map((t, i) => t - predictions[i]!)
    const wanted = errors.reduce((sum, e) => sum + e * e, 0) / errors.length
    const each = Array.from({ length: outputs }, (_, c) => {
      const column = Array.from({ length: samples }, (_, i) => i * outputs + c)
      const mean = column.reduce((sum, i) => sum + targets[i]!, 0) / samples
      const spread = column.reduce((sum, i) => sum + (targets[i]! - mean) ** 2, 0)
      return 1 - column.reduce((sum, i) => sum + errors[i]! ** 2, 0) / spread
    })
    const measured = await identity([outputs]).evaluate(data, { loss: mse(), metrics: [metrics.r2()], batchSize })
    expect(measured.loss).toBeCloseTo(wanted, 6)
    // The mean of 1000 takes three digits of float32.
    expect(measured.r2).toBeCloseTo(each.reduce((a, b) => a + b, 0) / outputs, 4)
  })
  it('r2 is 1 for a perfect fit and 0 for the mean', async () => {
    const perfect = dataset(targets, targets, { shape: [samples, 2], labelShape: [samples, 2] })
    expect(await value(metrics.r2(), perfect)).toBe(1)
    const half = dataset(Float32Array.of(2, 2, 2, 2), Float32Array.of(1, 2, 3, 2), {
      shape: [4, 1],
      labelShape: [4, 1],
    })
    expect(await value(metrics.r2(), half, 3)).toBeCloseTo(0, 6)
  })
})

describe('metrics of a run', () => {
  const data = classes(50, 6, 3)
  const every = () => [
    'accuracy' as const,
    metrics.topK(2),
    metrics.precision(),
    metrics.recall(),
    metrics.f1({ average: 'micro' }),
  ]
  it('of an epoch that changes nothing are those of evaluate, in every epoch anew', async () => {
    const net = model([6], [flatten(), dense(8), dense(3)], { seed: 2 })
    const seen: ProgressEvent[] = []
    const { epochs } = await net.fit(data, {
      loss: crossEntropy(),
      optimizer: sgd({ lr: 0 }),
      metrics: every(),
      epochs: 3,
      batchSize: 16,
      validation: data.take(20),
      callbacks: [{ onProgress: (event) => void seen.push(event) }],
    })
    const { loss: wanted, ...measured } = await net.evaluate(data, { loss: crossEntropy(), metrics: every() })
    const held = await net.evaluate(data.take(20), { loss: crossEntropy(), metrics: every() })
    for (const { train, validation } of epochs) {
      const { loss: trained, ...others } = train
      expect(others).toEqual(measured)
      expect(trained).toBeCloseTo(wanted, 5)
      expect(validation!.f1).toBe(held.f1)
    }
    expect(Object.keys(seen.at(-1)!.train)).toEqual(['loss', 'accuracy', 'top2', 'precision', 'recall', 'f1'])
    expect(seen.at(-1)!.train.f1).toBe(measured.f1)
  })
  it('auc stands in epochs, not in progress', async () => {
    const seen: ProgressEvent[] = []
    const pair = classes(40, 4, 2)
    const { epochs } = await model([4], [dense(2)]).fit(pair, {
      loss: crossEntropy(),
      optimizer: adam({ lr: 0.05 }),
      metrics: [metrics.auc()],
      epochs: 20,
      validation: pair,
      callbacks: [{ onProgress: (event) => void seen.push(event) }],
    })
    expect(epochs.at(-1)!.validation!.auc).toBeGreaterThan(0.95)
    expect(Object.keys(seen[0]!.train)).toEqual(['loss'])
  })
  it('add up counts that a float could not hold', async () => {
    // 2^24 + 1 is no float: 40 steps that count a million each, and an odd one in every step.
    const big = metrics.summed(
      'big',
      (prediction) => ({
        counts: ops.add(ops.fill([2], 1_000_001), ops.scale(ops.slice(ops.reshape(prediction, [1]), [0], [1]), 0)),
      }),
      ({ counts }) => counts![0]!,
    )
    const data = dataset(new Float32Array(40), new Int32Array(40), { shape: [40, 1] })
    expect(await value(big, data, 1)).toBe(40 * 1_000_001)
  })
  it('refuse options and shapes that make no sense', async () => {
    await expectError('argument', ['"treshold"', 'threshold'], () => metrics.accuracy({ treshold: 1 } as object))
    await expectError('argument', ['average of f1', '"macro"'], () => metrics.f1({ average: 'makro' as 'macro' }))
    await expectError('argument', ['k of topK'], () => metrics.topK(0))
    await expectError('shape', ['topK(9)'], () => value(metrics.topK(9), multi))
    await expectError('shape', ['auc'], () => value(metrics.auc(), multi))
    await expectError('argument', ['names of their own'], () =>
      identity([k]).evaluate(multi, { loss: any, metrics: [metrics.f1(), metrics.f1()] }),
    )
  })
})
