// What an optimizer can do, all at once: groups, frozen layers, accumulation, clipping and averages must not get into each
// other's way. Each of them alone is asked about in test/catalogue/optimizers.test.ts.
import { describe, expect, it } from 'vitest'
import {
  adam,
  crossEntropy,
  dense,
  earlyStopping,
  type History,
  lrFinder,
  maxNorm,
  model,
  muon,
  type Optimizer,
  restoreOptimizer,
  sgd,
  snapshotOptimizer,
  tanh,
} from '../../src/index.js'
import { classes, expectError } from '../api/help.js'

const data = classes(23, 5, 3)
const loss = crossEntropy()
const build = () =>
  model(
    [5],
    [dense(4, { name: 'base', constraint: maxNorm(1) }), tanh(), dense(4, { name: 'mid' }), tanh(), dense(3)],
    {
      seed: 3,
    },
  )
type Weights = ReadonlyMap<string, { readonly data: Float32Array }>

function farthest(a: Weights, b: Weights): number {
  const apart = [...a].map(([path, { data }]) => data.map((value, i) => Math.abs(value - b.get(path)!.data[i]!)))
  return Math.max(...apart.flatMap((values) => [...values]))
}

const rules: Record<string, () => Optimizer> = {
  'adam with groups, decay, clipping and average': () =>
    adam({
      lr: 0.02,
      decay: 0.1,
      clipNorm: 0.2,
      ema: { decay: 0.9 },
      groups: [{ match: 'mid*', lr: 0.005, decay: 0.3 }],
    }),
  'adam clipped by tensor': () => adam({ lr: 0.02, clipTensorNorm: 0.1, clipNorm: 0.2, ema: { decay: 0.5 } }),
  'muon clipped': () => muon({ clipNorm: 0.1, ema: { decay: 0.9 } }),
}

describe.each(Object.entries(rules))('%s', (_, rule) => {
  it('gives with groups of micro-batches what it gives with their batches, also when layers are frozen on the way', async () => {
    const train = async (batchSize: number, accumulate: number) => {
      const [net, optimizer] = [build(), rule()]
      const more = () => net.fit(data, { loss, optimizer, batchSize, accumulate, shuffle: 'none' })
      await more()
      net.freeze('base')
      const frozen = (await net.weights()).get('base.weight')!.data
      await more()
      expect((await net.weights()).get('base.weight')!.data).toEqual(frozen)
      return { weights: await net.weights(), average: net.averagedWeights(optimizer) }
    }
    const [few, one] = [await train(2, 2), await train(4, 1)]
    expect(farthest(few.weights, one.weights)).toBeLessThan(2e-5)
    expect(farthest(few.average, one.average)).toBeLessThan(2e-5)
  })
})

describe('groups', () => {
  it('may name layers that are frozen for now', async () => {
    const net = build()
    const optimizer = adam({ groups: [{ match: 'base.*', lr: 1e-4 }] })
    net.freeze('base')
    await net.fit(data, { loss, optimizer, batchSize: 5 })
    net.unfreeze()
    await net.fit(data, { loss, optimizer, batchSize: 5 })
    await expectError('argument', ['No parameter matches', 'bass'], () =>
      net.fit(data, { loss, optimizer: adam({ groups: [{ match: 'bass.*', lr: 1 }] }), batchSize: 5 }),
    )
  })

  it('keep the ratio of their rates in a search for the rate', async () => {
    const search = (optimizer: Optimizer) => lrFinder(build(), data, { loss, optimizer, batchSize: 23, steps: 20 })
    const plain = await search(sgd({ lr: 0.1 }))
    const equal = await search(sgd({ lr: 0.1, groups: [{ match: 'mid*', lr: 0.1 }] }))
    expect(equal.losses).toEqual(plain.losses)
  })
})

describe('what is monitored', () => {
  it.each([
    ['mae', 1],
    ['accuracy', 4],
  ])('%s is better in its own direction', async (monitor, best) => {
    const control = { stop: () => {}, model: build(), updater: {} } as never
    const stopping = earlyStopping({ monitor, restoreBest: true })
    stopping.onStart?.({} as never, control)
    // Worse as an error from epoch to epoch, better as a share of hits.
    for (const epoch of [1, 2, 3, 4]) {
      await stopping.onEpoch?.({ epoch, validation: { loss: 1, [monitor]: epoch / 10 } } as never, control)
    }
    const history: History = { epochs: [], seconds: 0 }
    await stopping.onEnd?.(history, control)
    expect(history.bestEpoch).toBe(best)
  })
})

describe('the state of an optimizer', () => {
  it('holds the average of the weights', async () => {
    const [net, optimizer] = [build(), adam({ lr: 0.5, ema: { decay: 0.5 } })]
    const averages: Float32Array[] = []
    const history = await net.fit(data, {
      loss,
      optimizer,
      epochs: 20,
      batchSize: 8,
      validation: classes(23, 5, 3, 8),
      callbacks: [
        { onEpoch: () => void averages.push(net.averagedWeights(optimizer).get('mid.weight')!.data) },
        earlyStopping({ patience: 2, restoreBest: true, restoreOptimizer: true }),
      ],
    })
    expect(history.epochs.length).toBeGreaterThan(history.bestEpoch!)
    expect(net.averagedWeights(optimizer).get('mid.weight')!.data).toEqual(averages[history.bestEpoch! - 1])
  })

  it('of another optimizer is refused, and so is what is none', async () => {
    const [net, optimizer] = [build(), adam()]
    await net.fit(data, { loss, optimizer, batchSize: 8 })
    const updater = net.updaterOf(optimizer)
    const { slots, step } = snapshotOptimizer(updater)
    for (const wrong of [{ slots: slots.slice(1), step }, undefined as never]) {
      await expectError('shape', ['snapshot of adam'], () => restoreOptimizer(updater, wrong, net.device))
    }
    await expectError('argument', ['an optimizer at work'], () => snapshotOptimizer({} as never))
  })
})
