// Early stopping and other ways a run ends before its time, and the weights it then leaves.
import { describe, expect, it } from 'vitest'
import {
  adam,
  batchNorm,
  type Callback,
  crossEntropy,
  dense,
  type EpochEvent,
  earlyStopping,
  type FitOptions,
  type History,
  type Model,
  model,
  relu,
  type Snapshot,
  sgd,
} from '../../src/index.js'
import { classes, expectError, fingerprint, fingerprintOf } from '../api/help.js'

const train = classes(60, 6, 3, 1)
const validation = classes(40, 6, 3, 2)
const net = (): Model => model([6], [dense(24), batchNorm(), relu(), dense(3)], { seed: 2 })

async function watched(options: Partial<FitOptions>, callbacks: Callback[]) {
  const trained = net()
  const snapshots: Snapshot[] = []
  const watch: Callback = {
    async onEpoch(_, run) {
      snapshots.push(await run.model.snapshot())
    },
  }
  const history = await trained.fit(train, {
    loss: crossEntropy(),
    optimizer: adam({ lr: 0.05 }),
    metrics: ['accuracy'],
    batchSize: 16,
    epochs: 60,
    validation,
    ...options,
    callbacks: [watch, ...callbacks],
  })
  return { trained, history, snapshots }
}

const best = (history: History, value: (event: EpochEvent) => number): number => {
  const values = history.epochs.map(value)
  return values.indexOf(Math.min(...values)) + 1
}

describe('early stopping', () => {
  it('ends the run after its patience and restores the best weights bit for bit', async () => {
    const { trained, history, snapshots } = await watched({}, [earlyStopping({ patience: 4, restoreBest: true })])
    const bestEpoch = best(history, (event) => event.validation!.loss)
    expect(history.epochs.length).toBe(bestEpoch + 4)
    expect(history.epochs.length).toBeLessThan(60)
    expect(history.bestEpoch).toBe(bestEpoch)
    expect(history.stopped).toContain(`epoch ${bestEpoch}`)
    expect(await fingerprintOf(trained)).toBe(fingerprint(snapshots[bestEpoch - 1]!))
    const again = await trained.evaluate(validation, { loss: crossEntropy(), batchSize: 16 })
    expect(again.loss).toBe(history.epochs[bestEpoch - 1]!.validation!.loss)
  })

  it('restores them after a run of full length too', async () => {
    const { trained, history, snapshots } = await watched({ epochs: 12 }, [
      earlyStopping({ patience: 100, restoreBest: true }),
    ])
    expect(history.stopped).toBeUndefined()
    expect(history.epochs).toHaveLength(12)
    const bestEpoch = best(history, (event) => event.validation!.loss)
    expect(history.bestEpoch).toBe(bestEpoch)
    expect(await fingerprintOf(trained)).toBe(fingerprint(snapshots[bestEpoch - 1]!))
  })

  it('keeps the last weights unless asked', async () => {
    const { trained, history, snapshots } = await watched({}, [earlyStopping({ patience: 2 })])
    expect(history.stopped).toBeDefined()
    expect(history.bestEpoch).toBeUndefined()
    expect(await fingerprintOf(trained)).toBe(fingerprint(snapshots.at(-1)!))
  })

  it('watches other metrics, upwards, with a least improvement', async () => {
    const { history } = await watched({}, [earlyStopping({ monitor: 'accuracy', patience: 3, restoreBest: true })])
    const bestEpoch = best(history, (event) => -event.validation!.accuracy!)
    expect(history.bestEpoch).toBe(bestEpoch)
    expect(history.epochs.length).toBe(Math.min(60, bestEpoch + 3))
    const strict = await watched({}, [earlyStopping({ minDelta: 100, patience: 5 })])
    // Nothing improves by 100 but the first epoch on infinity.
    expect(strict.history.epochs).toHaveLength(6)
  })
})

describe('a callback', () => {
  it('sees the run from start to end, in order, and may end it', async () => {
    const calls: string[] = []
    const spy: Callback = {
      onStart: ({ samples, epochs }) => void calls.push(`start ${samples} ${epochs}`),
      onEpoch: async ({ epoch }, run) => {
        await new Promise((resolve) => setTimeout(resolve, 1))
        calls.push(`epoch ${epoch}`)
        if (epoch === 3) run.stop('enough')
      },
      onEnd: ({ stopped }) => void calls.push(`end ${stopped}`),
    }
    const { history } = await watched({}, [spy])
    expect(calls).toEqual(['start 60 60', 'epoch 1', 'epoch 2', 'epoch 3', 'end enough'])
    expect(history.stopped).toBe('enough')
    expect(history.epochs).toHaveLength(3)
  })
})

describe('an abort', () => {
  it('before the run, between epochs and inside one rejects with its own code and the reason', async () => {
    for (const when of ['before', 'epoch', 'progress'] as const) {
      const trained = net()
      const control = new AbortController()
      if (when === 'before') control.abort('mine')
      const before = await fingerprintOf(trained)
      const callbacks: Callback[] = [
        {
          onEpoch: ({ epoch }) => (when === 'epoch' && epoch === 2 ? control.abort('mine') : undefined),
          onProgress: ({ epoch }) => (when === 'progress' && epoch === 2 ? control.abort('mine') : undefined),
        },
      ]
      const { signal } = control
      const run = trained.fit(train, { loss: crossEntropy(), optimizer: sgd(), epochs: 50, callbacks, signal })
      await expectError('aborted', ['signal'], () => run)
      await run.catch((error) => expect((error as Error).cause).toBe('mine'))
      const after = await fingerprintOf(trained)
      if (when === 'before') expect(after).toBe(before)
      else expect(after).not.toBe(before)
      await trained.fit(train, { loss: crossEntropy(), optimizer: sgd() })
    }
  })

  it('ends an evaluation with an error too, not with half a result', async () => {
    const { signal } = new AbortController()
    const trained = net()
    expect((await trained.evaluate(train, { loss: crossEntropy(), signal })).loss).toBeGreaterThan(0)
    const aborted = AbortSignal.abort('mine')
    await expectError('aborted', [], () => trained.evaluate(train, { loss: crossEntropy(), signal: aborted }))
  })
})
