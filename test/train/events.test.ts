// The events of a run: what they say, in which order, and what an iterator sees of errors and aborts.
import { describe, expect, it } from 'vitest'
import {
  adam,
  crossEntropy,
  dataset,
  dense,
  type EpochEvent,
  earlyStopping,
  type FitEvent,
  type FitOptions,
  model,
  type ProgressEvent,
  relu,
  type StartEvent,
  sgd,
} from '../../src/index.js'
import { classes, expectError, failure } from '../api/help.js'

const data = classes(1000, 20, 5)
const validation = classes(130, 20, 5, 2)
const net = () => model([20], [dense(64), relu(), dense(5)], { seed: 1 })
const options = (more: Partial<FitOptions> = {}): FitOptions => ({
  loss: crossEntropy(),
  optimizer: adam(),
  metrics: ['accuracy'],
  batchSize: 16,
  epochs: 5,
  ...more,
})

describe('a run as an iterator', () => {
  it('gives start, then progress and one epoch event each, and then ends', async () => {
    const trained = net()
    const run = trained.fit(data, options({ validation }))
    const events: FitEvent[] = []
    for await (const event of run) events.push(event)
    const history = await run

    const [start, ...others] = events as [StartEvent, ...FitEvent[]]
    expect(start).toMatchObject({
      kind: 'start',
      samples: 1000,
      validationSamples: 130,
      parameters: 20 * 64 + 64 + 64 * 5 + 5,
      epochs: 5,
      batchSize: 16,
      stepsPerEpoch: 63,
    })
    expect(start.device).toBeTypeOf('string')
    expect(start.memory.total).toBeGreaterThan(1000 * 20 * 4)
    expect(others.filter(({ kind }) => kind === 'start')).toEqual([])

    const epochs = others.filter((event): event is EpochEvent => event.kind === 'epoch')
    expect(epochs.map(({ epoch }) => epoch)).toEqual([1, 2, 3, 4, 5])
    expect(history.epochs).toEqual(epochs)
    expect(others.at(-1)).toBe(epochs.at(-1))
    for (const event of epochs) {
      expect(event.train.accuracy).toBeGreaterThan(0)
      expect(event.validation!.accuracy).toBeLessThanOrEqual(1)
      expect(event.skipped).toBe(0)
      expect(event.seconds).toBeGreaterThan(0)
      expect(event.samplesPerSecond).toBeCloseTo(1000 / event.seconds, 3)
    }
    expect(history.seconds).toBeCloseTo(
      epochs.reduce((sum, { seconds }) => sum + seconds, 0),
      9,
    )

    // Progress belongs to the epoch that follows it, and only grows.
    let [epoch, step] = [1, 0]
    for (const event of others) {
      if (event.kind === 'epoch') {
        expect(event.epoch).toBe(epoch)
        epoch++
        step = 0
      } else {
        const progress = event as ProgressEvent
        expect(progress.epoch).toBe(epoch)
        expect(progress.step).toBeGreaterThan(step)
        expect(progress.step).toBeLessThanOrEqual(63)
        expect(progress.stepsPerEpoch).toBe(63)
        step = progress.step
      }
    }
  })

  it('tells the same numbers as the promise and evaluate()', async () => {
    const trained = net()
    const history = await trained.fit(data, options({ validation, epochs: 2 }))
    const now = await trained.evaluate(validation, { loss: crossEntropy(), metrics: ['accuracy'], batchSize: 16 })
    expect(history.epochs.at(-1)!.validation).toEqual(now)
    expect(Object.keys(now)).toEqual(['loss', 'accuracy'])
  })

  it('gives every epoch to a slow reader, and of progress only the newest', async () => {
    const epochs: number[] = []
    let progress = 0
    for await (const event of net().fit(data, options({ epochs: 8 }))) {
      if (event.kind === 'epoch') epochs.push(event.epoch)
      if (event.kind === 'progress') progress++
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    expect(epochs).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    expect(progress).toBeLessThanOrEqual(9)
  })

  it('may be left early: the run goes on', async () => {
    const run = net().fit(data, options())
    for await (const event of run) if (event.kind === 'epoch') break
    expect((await run).epochs).toHaveLength(5)
  })

  it('serves several readers at once', async () => {
    const run = net().fit(data, options())
    const read = async (): Promise<number> => {
      let epochs = 0
      for await (const event of run) if (event.kind === 'epoch') epochs++
      return epochs
    }
    expect(await Promise.all([read(), read(), run.then(({ epochs }) => epochs.length)])).toEqual([5, 5, 5])
  })

  it('ends at once when the run has ended before', { timeout: 5000 }, async () => {
    const run = net().fit(data, options({ epochs: 1 }))
    await run
    const events: FitEvent[] = []
    for await (const event of run) events.push(event)
    expect(events.filter(({ kind }) => kind === 'progress')).toEqual([])
    const failed = net().fit(data, options({ batchSize: 0 }))
    await failure(() => failed)
    await expectError('argument', ['batchSize'], async () => {
      for await (const _ of failed) expect.unreachable()
    })
  })

  it('throws what the run rejects with', async () => {
    await expectError('argument', ['batchSize'], async () => {
      for await (const _ of net().fit(data, options({ batchSize: 1001 }))) expect.unreachable()
    })
    const control = new AbortController()
    const seen: string[] = []
    await expectError('aborted', ['signal'], async () => {
      for await (const event of net().fit(data, options({ epochs: 1e6, signal: control.signal }))) {
        seen.push(event.kind)
        if (event.kind === 'epoch' && event.epoch === 3) control.abort()
      }
    })
    expect(seen.filter((kind) => kind === 'epoch').length).toBeGreaterThanOrEqual(3)
  })

  it('nobody waits for does not end the process when it fails', async () => {
    const unhandled: unknown[] = []
    const listener = (error: unknown) => void unhandled.push(error)
    process.on('unhandledRejection', listener)
    net().fit(data, options({ batchSize: 0 }))
    await new Promise((resolve) => setTimeout(resolve, 30))
    process.off('unhandledRejection', listener)
    expect(unhandled).toEqual([])
  })

  it('has then, catch and finally', async () => {
    let ended = 0
    const run = net().fit(data, options({ epochs: 1 }))
    await run.finally(() => {
      ended++
    })
    expect(await run.then(({ epochs }) => epochs.length)).toBe(1)
    expect(
      await net()
        .fit(data, options({ epochs: -1 }))
        .catch((error) => (error as { code: string }).code),
    ).toBe('argument')
    expect(ended).toBe(1)
  })

  it('of no epochs draws the first weights and ends', async () => {
    const history = await net().fit(data, options({ epochs: 0 }))
    expect(history.epochs).toEqual([])
    expect(history.seconds).toBe(0)
  })
})

describe('callbacks', () => {
  const data = dataset([[0], [1]], [0, 1])
  const trainWith = (callback: object) =>
    model([1], [dense(2)]).fit(data, {
      loss: crossEntropy(),
      optimizer: sgd(),
      batchSize: 2,
      callbacks: [callback],
    })

  it('with a method that would never be called are refused, with the right name', async () => {
    await expect(trainWith({ onEpochs: () => {} })).rejects.toThrow('"onEpoch"')
    await expect(trainWith({ onStart: 1 })).rejects.toThrow(
      'Expected a function for onStart of a callback but received 1',
    )
  })

  it('that need validation data say so before the first step', async () => {
    const net = model([1], [dense(2)])
    const before = await net.snapshot()
    const run = net.fit(data, { loss: crossEntropy(), optimizer: sgd(), batchSize: 2, callbacks: [earlyStopping()] })
    await expect(run).rejects.toThrow('Expected a validation set that is measured')
    expect(await net.snapshot()).toEqual(before)
  })
})
