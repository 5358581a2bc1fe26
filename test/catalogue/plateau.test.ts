// What steers the rate or ends a run from between the epochs: reduceOnPlateau against PyTorch's, the range finder, and
// early stopping that gives the optimizer back too.
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  adam,
  batchNorm,
  type Callback,
  cosine,
  crossEntropy,
  dense,
  type EpochEvent,
  earlyStopping,
  GradlineError,
  lrFinder,
  model,
  type Optimizer,
  type OptimizerSnapshot,
  type ReduceOnPlateauOptions,
  type RunControl,
  readStep,
  reduceOnPlateau,
  relu,
  sgd,
  snapshotOptimizer,
  Updater,
  writeStep,
} from '../../src/index.js'
import { classes, expectError, fingerprintOf } from '../api/help.js'

const fixture = JSON.parse(readFileSync(new URL('../fixtures/schedules.json', import.meta.url), 'utf8')) as {
  losses: number[]
  plateaus: { options: ReduceOnPlateauOptions; rates: number[] }[]
}

const train = classes(60, 6, 3, 1)
const validation = classes(40, 6, 3, 2)
const net = () => model([6], [dense(24), batchNorm(), relu(), dense(3)], { seed: 2 })

/** The rate after each epoch when the callback is shown these losses. */
async function shown(callback: Callback, losses: readonly number[], rateAt = (_: number): number => 0.1) {
  const updater = new Updater(sgd({ lr: 0.1 }))
  const run = { model: net(), updater, stop() {} } as RunControl
  await callback.onStart?.({} as never, run)
  const rates: number[] = []
  for (const [i, loss] of losses.entries()) {
    writeStep(updater.step, { rate: rateAt(i) })
    await callback.onEpoch?.({ epoch: i + 1, train: { loss: 9 }, validation: { loss } } as EpochEvent, run)
    const { rate, rateFactor } = readStep(updater.step)
    rates.push(rate * rateFactor)
  }
  return rates
}

describe('reduceOnPlateau', () => {
  it.each(fixture.plateaus.map(({ options, rates }) => [JSON.stringify(options), options, rates] as const))(
    'falls in the epochs and to the rates of PyTorch: %s',
    async (_, options, wanted) => {
      const rates = await shown(reduceOnPlateau(options), fixture.losses)
      rates.forEach((rate, i) => {
        expect(Math.abs(rate / wanted[i]! - 1)).toBeLessThan(1e-12)
      })
    },
  )

  it('falls after patience + 1 epochs without improvement, not before', async () => {
    const losses = [1, 0.5, 0.5, 0.5, 0.5, 0.4, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]
    const rates = await shown(reduceOnPlateau({ factor: 0.5, patience: 2 }), losses)
    expect(rates).toEqual([0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025, 0.0125, 0.0125])
    const cooled = await shown(reduceOnPlateau({ factor: 0.5, patience: 2, cooldown: 3 }), losses)
    expect(cooled).toEqual([0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.025, 0.025, 0.025])
  })

  it('multiplies what a schedule gives', async () => {
    const rates = await shown(reduceOnPlateau({ factor: 0.5, patience: 0 }), [1, 1, 1, 1], (i) => 1 / (i + 1))
    expect(rates).toEqual([1, 1 / 4, 1 / 12, 1 / 32])
  })

  it('works in a run, on the training data too, and begins anew with each', async () => {
    const trained = net()
    const optimizer = adam({ lr: 0.02, schedule: cosine({ steps: 1000 }) })
    const seen: { loss: number; factor: number }[] = []
    const watch: Callback = {
      onEpoch: (event, run) =>
        void seen.push({ loss: event.train.loss, factor: readStep(run.updater.step).rateFactor }),
    }
    const plateau = reduceOnPlateau({ factor: 0.5, patience: 0, threshold: 0.05 })
    const options = { loss: crossEntropy(), optimizer, batchSize: 20, epochs: 12, callbacks: [plateau, watch] }
    await trained.fit(train, options)
    let [best, factor] = [Number.POSITIVE_INFINITY, 1]
    for (const row of seen) {
      if (row.loss < best * 0.95) best = row.loss
      else factor *= 0.5
      expect(row.factor).toBe(factor)
    }
    expect(factor).toBeLessThan(1)
    await expectError('argument', ["metric 'accuracy'"], () =>
      trained.fit(train, { ...options, callbacks: [reduceOnPlateau({ monitor: 'accuracy' })] }),
    )
  })

  it.each<[string, ReduceOnPlateauOptions]>([
    ['factor', { factor: 1 }],
    ['patience', { patience: -1 }],
    ['thresholdMode', { thresholdMode: 'relative' as never }],
    ['Did you mean "cooldown"', { coldown: 1 } as never],
    ['floor', { floor: -1 }],
    ['mode', { mode: 'auto' as never }],
  ])('refuses a wrong %s', (text, options) => {
    expect(() => reduceOnPlateau(options)).toThrow(GradlineError)
    expect(() => reduceOnPlateau(options)).toThrow(text)
  })
})

describe('lrFinder', () => {
  it('gives rates and losses, suggests one, and leaves weights and optimizer bit for bit', async () => {
    const trained = net()
    const optimizer = adam({ lr: 0.01 })
    await trained.fit(train, { loss: crossEntropy(), optimizer, epochs: 3, batchSize: 20 })
    const before = { weights: await fingerprintOf(trained), state: snapshotOptimizer(trained.updaterOf(optimizer)) }
    const found = await lrFinder(trained, train, { loss: crossEntropy(), optimizer, to: 1, batchSize: 20, steps: 80 })
    expect(await fingerprintOf(trained)).toBe(before.weights)
    expect(snapshotOptimizer(trained.updaterOf(optimizer))).toEqual(before.state)
    expect(found.losses).toHaveLength(found.rates.length)
    found.rates.forEach((rate, i) => {
      expect(Math.abs(rate / (1e-7 * 1e7 ** (i / 79)) - 1)).toBeLessThan(1e-12)
    })
    expect(found.suggestion).toBeGreaterThan(1e-7)
    expect(found.rates).toContain(found.suggestion)
    const again = await lrFinder(trained, train, { loss: crossEntropy(), optimizer, to: 1, batchSize: 20, steps: 80 })
    expect(again).toEqual(found)
  })

  it('uses the rates it tells: its losses are those of a run with these rates', async () => {
    const [trained, twin] = [net(), net()]
    const { rates, losses } = await lrFinder(trained, train, {
      loss: crossEntropy(),
      optimizer: sgd(),
      from: 1e-3,
      to: 0.5,
      steps: 12,
      batchSize: 20,
    })
    // The same by hand: an epoch is 3 batches of the order of the seed.
    const seen: number[] = []
    const optimizer: Optimizer = sgd({ lr: 1e-3 })
    const step = twin.updaterOf(optimizer).step
    const { drawBatch } = await import('../../src/train/batches.js')
    const { grad } = await import('../../src/index.js')
    await twin.initialize()
    const program = twin.program(
      'by hand',
      () => {
        const { inputs, labels } = drawBatch(train, 20, 'epoch', twin.device, step)
        const loss = crossEntropy()(twin.apply(inputs, 'train'), labels!)
        twin.updaterOf(optimizer).apply(twin.params, grad(loss, twin.params))
        return loss
      },
      step,
    )
    for (const rate of rates) {
      writeStep(step, { rate })
      seen.push(program.runSync().item())
    }
    seen.forEach((loss, i) => {
      expect(Math.abs(losses[i]! / loss - 1)).toBeLessThan(1e-6)
    })
  })

  it('ends where the loss diverges, also to what is not finite', async () => {
    const wild = model([6], [dense(24), relu(), dense(24), relu(), dense(3)], { seed: 2 })
    const before = await fingerprintOf(wild)
    const options = { loss: crossEntropy(), optimizer: sgd(), from: 1e-4, to: 1e8, steps: 100, batchSize: 20 }
    const found = await lrFinder(wild, train, options)
    expect(found.rates.length).toBeLessThan(90)
    expect(found.rates.at(-1)).toBeGreaterThan(0.1)
    expect(found.losses.every(Number.isFinite)).toBe(true)
    expect(await fingerprintOf(wild)).toBe(before)
  })

  it('refuses wrong options', async () => {
    const options = { loss: crossEntropy(), optimizer: sgd() }
    await expectError('argument', ['to of lrFinder'], () => lrFinder(net(), train, { ...options, from: 1, to: 1 }))
    await expectError('argument', ['batchSize of lrFinder'], () =>
      lrFinder(net(), train, { ...options, batchSize: 61 }),
    )
    await expectError('argument', ['"steps"'], () => lrFinder(net(), train, { ...options, step: 3 } as never))
    await expectError('argument', ['optimizer'], () =>
      lrFinder(net(), train, { ...options, optimizer: 'sgd' as never }),
    )
  })
})

describe('early stopping', () => {
  const watched = async (options: Parameters<typeof earlyStopping>[0], epochs = 60) => {
    const trained = net()
    const optimizer = adam({ lr: 0.05 })
    const states: OptimizerSnapshot[] = []
    const watch: Callback = { onEpoch: (_, run) => void states.push(snapshotOptimizer(run.updater)) }
    const history = await trained.fit(train, {
      loss: crossEntropy(),
      optimizer,
      batchSize: 16,
      epochs,
      validation,
      callbacks: [watch, earlyStopping(options)],
    })
    return { history, states, state: snapshotOptimizer(trained.updaterOf(optimizer)) }
  }

  it('gives the optimizer the state of the best epoch, bit for bit, when asked', async () => {
    for (const epochs of [60, 5]) {
      const asked = await watched({ patience: 4, restoreBest: true, restoreOptimizer: true }, epochs)
      expect(asked.state).toEqual(asked.states[asked.history.bestEpoch! - 1])
      expect(asked.state.slots).toHaveLength(2)
    }
    const not = await watched({ patience: 4, restoreBest: true })
    expect(not.state).toEqual(not.states.at(-1))
    expect(not.state).not.toEqual(not.states[not.history.bestEpoch! - 1])
  })

  it('counts its patience in steps when asked', async () => {
    // An epoch is 4 steps: 9 steps are reached after the third epoch.
    const bySteps = await watched({ patience: 9, unit: 'step', restoreBest: true })
    expect(bySteps.history.epochs).toHaveLength(bySteps.history.bestEpoch! + 3)
    expect(bySteps.history.stopped).toContain('12 steps')
  })

  it('refuses what cannot be', () => {
    expect(() => earlyStopping({ restoreOptimizer: true })).toThrow('restoreBest')
    expect(() => earlyStopping({ unit: 'batch' as never })).toThrow('unit of earlyStopping')
  })
})
