// `gradline mnist`: trains a small convolutional network on the handwritten digits of MNIST and measures it on all test data.
// Validation data are held out of the training part; the test part is looked at once, at the end.

import { access, constants } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { version } from '../binaries.js'
import { datasets } from '../data/datasets.js'
import { machine } from '../device.js'
import { fileError, GradlineError } from '../errors.js'
import { writeFileAtomic } from '../io/atomic.js'
import { conv2d, dense, flatten, type Layer, maxPool2d, relu } from '../layers/index.js'
import { crossEntropy } from '../losses/index.js'
import { adam } from '../optimizers/index.js'
import { cosine } from '../schedules/index.js'
import type { Callback } from '../train/callbacks.js'
import type { EpochEvent, Measures, ProgressEvent, StartEvent } from '../train/events.js'
import { model } from '../train/model.js'
import { progress } from '../train/progress.js'
import {
  type Command,
  type Context,
  choiceOption,
  integerOption,
  interrupted,
  UsageError,
  type Values,
} from './command.js'

const allTraining = 60_000
const heldOut = 5_000
const firstRate = 0.001
/** Validation samples of a run on a part of the training data. */
const heldOutOfPart = 1_000

export const mnist: Command = {
  name: 'mnist',
  summary: 'trains a convolutional network on MNIST and tests it',
  options: [
    { name: 'epochs', value: 'N', help: 'passes over the training data (20)' },
    { name: 'batch', value: 'N', help: 'samples per step (100)' },
    { name: 'train', value: 'N', help: `train on the first N samples (${allTraining - heldOut}, ${heldOut} held out)` },
    { name: 'seed', value: 'N', help: 'decides first weights and the order of samples (0)' },
    { name: 'threads', value: 'N', help: 'threads that compute (all cores); the result is the same for any number' },
    { name: 'numerics', value: 'MODE', help: 'native (default) or portable: equal results on every processor, slower' },
    { name: 'json', value: 'FILE', help: 'write what was reached to a file' },
  ],
  run,
}

/** 433,890 parameters. First weights by the rule of each layer; N(0, 0.01^2) gives 0.980 after 3 epochs, not 0.987. */
const layers = (): Layer[] => [
  conv2d(30, 5), // [28, 28, 1] -> [24, 24, 30]
  relu(),
  maxPool2d(2), // [12, 12, 30]
  flatten(), // [4320]
  dense(100),
  relu(),
  dense(10),
]

interface Settings {
  readonly epochs: number
  readonly batchSize: number
  readonly seed: number
  readonly threads: number | undefined
  readonly numerics: 'native' | 'portable'
  readonly train: number | undefined
  readonly json: string | undefined
}

function settingsOf(values: Values): Settings {
  const most = allTraining - heldOutOfPart
  const train = integerOption(values, 'train', undefined, { max: most, of: `${heldOutOfPart} are held out` })
  const batchSize = integerOption(values, 'batch', 100)
  const samples = train ?? allTraining - heldOut
  if (batchSize > samples) {
    throw new UsageError(`--batch: expected at most the ${samples} training samples but received ${batchSize}`)
  }
  return {
    epochs: integerOption(values, 'epochs', 20),
    batchSize,
    seed: integerOption(values, 'seed', 0, { min: 0 }),
    threads: integerOption(values, 'threads', undefined, { max: 1024 }),
    numerics: choiceOption(values, 'numerics', ['native', 'portable'] as const),
    train,
    json: values.json,
  }
}

async function run(values: Values, { print, note, progress: stream, signal }: Context): Promise<number> {
  const { epochs, batchSize, seed, threads, numerics, train, json } = settingsOf(values)
  if (json !== undefined) await checkWritable(json)

  note(`gradline ${version}  mnist  seed ${seed}\n`)
  const machineOptions = { numerics, ...(threads === undefined ? {} : { threads }) }
  const net = model([28, 28, 1], layers(), { name: 'mnist', seed, ...machineOptions })
  const splits = await datasets.mnist()
  const { test, ...parts } = splits.split({ validation: train === undefined ? heldOut : heldOutOfPart, shuffle: false })
  const data = train === undefined ? parts.train : parts.train.take(train)
  note(`${net.summary()}\n`)

  const seen = new Seen()
  const loss = crossEntropy()
  const metrics = ['accuracy'] as const
  // Half a cosine from the first rate to 0 (Loshchilov & Hutter 2017), one rate an epoch.
  const optimizer = adam({ lr: firstRate, schedule: cosine({ steps: epochs, unit: 'epoch' }) })
  const facts = {
    device: `${net.device.describe()}, ${machine().cpu}`,
    optimizer: `adam, rate ${firstRate} falling to 0 along half a cosine, epoch by epoch`,
    test: `${test.length.toLocaleString('en')} samples, at the end`,
  }
  let stopped: string | undefined
  try {
    await net.fit(data, {
      loss,
      optimizer,
      metrics,
      epochs,
      batchSize,
      validation: parts.validation,
      callbacks: [progress({ facts, stream }), seen.callback],
      signal,
    })
  } catch (error) {
    if (!(error instanceof GradlineError && error.code === 'aborted')) throw error
    stopped = seen.describe()
    note(`  stopped ${stopped}`)
    if (seen.samples === 0) return interrupted
  }

  const measured = await net.evaluate(test, { loss, metrics })
  if (json !== undefined) {
    const report = {
      testAccuracy: measured.accuracy,
      testLoss: measured.loss,
      seconds: seen.seconds,
      samplesPerSecond: seen.samples / seen.seconds,
      epochs: seen.epochs.length,
      ...(stopped === undefined ? {} : { stopped }),
      parameters: net.parameterCount,
      threads: net.device.threads,
      device: net.device.describe(),
      memoryBytes: seen.start?.memory.total,
      seed,
      batchSize,
      trainSamples: data.length,
      validationSamples: parts.validation.length,
      testSamples: test.length,
      history: seen.epochs.map(historyEntry),
    }
    await writeFileAtomic(json, Buffer.from(`${JSON.stringify(report, null, 2)}\n`))
  }
  print(`test loss ${measured.loss.toFixed(4)}`)
  print(`test accuracy ${accuracyOf(measured).toFixed(4)}`)
  return stopped === undefined ? 0 : interrupted
}

/** What a run has reached so far, also when it is stopped. */
class Seen {
  start: StartEvent | undefined
  last: ProgressEvent | undefined
  readonly epochs: EpochEvent[] = []
  readonly callback: Callback = {
    onStart: (event) => {
      this.start = event
    },
    onProgress: (event) => {
      this.last = event
    },
    onEpoch: (event) => {
      this.epochs.push(event)
      this.last = undefined
    },
  }

  /** Samples trained on, of the epoch under way as well. */
  get samples(): number {
    return this.epochs.length * (this.start?.samples ?? 0) + this.#partSamples
  }

  /** Seconds of training. */
  get seconds(): number {
    const part = this.last ? this.#partSamples / this.last.samplesPerSecond : 0
    return this.epochs.reduce((sum, { seconds }) => sum + seconds, part)
  }

  describe(): string {
    if (this.last) {
      const { epoch, epochs, step, stepsPerEpoch, train } = this.last
      const reached = `loss ${train.loss.toFixed(4)}, accuracy ${accuracyOf(train).toFixed(4)}`
      return `in epoch ${epoch} of ${epochs} after step ${step} of ${stepsPerEpoch}: ${reached}`
    }
    return this.epochs.length > 0 ? `after epoch ${this.epochs.length}` : 'before the first step'
  }

  get #partSamples(): number {
    return this.last && this.start ? Math.min(this.last.step * this.start.batchSize, this.start.samples ?? 0) : 0
  }
}

const accuracyOf = (measures: Measures): number => measures.accuracy as number

function historyEntry({ epoch, train, validation, samplesPerSecond, seconds }: EpochEvent): Record<string, unknown> {
  return {
    epoch,
    loss: train.loss,
    accuracy: train.accuracy,
    validationLoss: validation?.loss,
    validationAccuracy: validation?.accuracy,
    samplesPerSecond,
    seconds,
  }
}

// Before the training, not after it.
async function checkWritable(file: string): Promise<void> {
  try {
    await access(dirname(resolve(file)), constants.W_OK)
  } catch (cause) {
    throw fileError('write', file, cause)
  }
}
