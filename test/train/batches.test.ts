// Training on batches that a source makes while steps run: the same numbers as from a data set, what is asked for when, and
// how a run ends when a source or a step does not go on.
import { describe, expect, it } from 'vitest'
import {
  adam,
  type Batch,
  type BatchSource,
  crossEntropy,
  dataset,
  dense,
  dropout,
  type FitEvent,
  joined,
  model,
  mse,
  ops,
  read,
  record,
  relu,
  stepDecay,
  tensor,
  variable,
} from '../../src/index.js'
import { Pump } from '../../src/stream.js'

const [rows, features, classes, size] = [100, 8, 3, 16]
const x = Float32Array.from({ length: rows * features }, (_, i) => Math.sin(1.3 * i))
const y = Int32Array.from({ length: rows }, (_, i) => i % classes)
const data = dataset(x, y, { shape: [rows, features] })

function* batches(count = rows): Generator<Batch> {
  for (let at = 0; at < count; at += size) {
    const end = Math.min(count, at + size)
    yield { x: x.subarray(at * features, end * features), y: y.subarray(at, end) }
  }
}
async function* slowly(): AsyncGenerator<Batch> {
  for (const batch of batches()) {
    await new Promise((resolve) => setImmediate(resolve))
    const { x, y } = batch as { x: Float32Array; y: Int32Array }
    yield [x, y]
  }
}
// One pair of arrays, filled anew for each batch.
function* reusing(): Generator<Batch> {
  const [inputs, labels] = [new Float32Array(size * features), new Int32Array(size)]
  for (const batch of batches()) {
    const { x, y } = batch as { x: Float32Array; y: Int32Array }
    inputs.set(x)
    labels.set(y)
    yield { x: inputs.subarray(0, x.length), y: labels.subarray(0, y.length) }
  }
}

const net = () => model([features], [dense(16), relu(), dropout(0.3), dense(classes)], { seed: 4 })
const options = () => ({ loss: crossEntropy(), optimizer: adam({ lr: 0.01 }) })

interface Numbers {
  readonly measures: unknown
  readonly weights: unknown
}

async function numbersOf(source: typeof data | BatchSource<Batch>, more: object): Promise<Numbers> {
  const trained = net()
  const { epochs } = await trained.fit(source, { ...options(), metrics: ['accuracy'], epochs: 3, ...more })
  return {
    measures: epochs.map(({ train, validation, skipped }) => ({ train, validation, skipped })),
    weights: [...(await trained.weights()).values()].map((values) => [...values.data]),
  }
}

describe('a source of batches', () => {
  const sources: [string, BatchSource<Batch>][] = [
    ['a generator function', () => batches()],
    ['an async generator function', slowly],
    ['a list', [...batches()]],
    ['a list of promises', [...batches()].map((batch) => Promise.resolve(batch))],
    ['an object to iterate over', { [Symbol.asyncIterator]: slowly }],
    ['data sets', () => [...batches()].map((batch) => dataset(...pairOf(batch)))],
    ['eager tensors', () => [...batches()].map((batch) => tensorsOf(batch))],
    ['nested arrays', () => [...batches()].map((batch) => nestedOf(batch))],
    ['arrays that are filled anew', reusing],
  ]
  const pairOf = (batch: Batch): [Float32Array, Int32Array, { shape: number[] }] => {
    const { x, y } = batch as { x: Float32Array; y: Int32Array }
    return [x, y, { shape: [y.length, features] }]
  }
  const tensorsOf = (batch: Batch): Batch => {
    const [inputs, labels] = pairOf(batch)
    return {
      x: tensor(inputs, { shape: [labels.length, features] }),
      y: tensor(labels, { shape: [labels.length], dtype: 'int32' }),
    }
  }
  const nestedOf = (batch: Batch): Batch => {
    const [inputs, labels] = pairOf(batch)
    return { x: Array.from(labels, (_, i) => [...inputs.subarray(i * features, (i + 1) * features)]), y: [...labels] }
  }

  it.each(sources)('%s gives the bits of a data set in the same order', async (_, source) => {
    for (const accumulate of [1, 3]) {
      const resident = await numbersOf(data, { batchSize: size, shuffle: 'none', accumulate, validation: data })
      expect(await numbersOf(source, { accumulate, validation: data })).toEqual(resident)
    }
  })

  it('validates, and evaluates, by all of its batches', async () => {
    const resident = await numbersOf(data, { batchSize: size, shuffle: 'none', validation: data })
    expect(await numbersOf(() => batches(), { validation: () => batches() })).toEqual(resident)
    const trained = net()
    const measured = { loss: crossEntropy(), metrics: ['accuracy'] as const }
    expect(await trained.evaluate(slowly(), measured)).toEqual(
      await trained.evaluate(data, { ...measured, batchSize: size }),
    )
  })

  it('moves schedules by the epoch', async () => {
    const optimizer = () => adam({ lr: 0.1, schedule: stepDecay({ size: 1, gamma: 0.5, unit: 'epoch' }) })
    const resident = await numbersOf(data, { batchSize: size, shuffle: 'none', optimizer: optimizer() })
    expect(await numbersOf(slowly, { optimizer: optimizer() })).toEqual(resident)
  })

  it('sends bytes and makes floats of them in the step, as of a data set', async () => {
    const bytes = Uint8Array.from({ length: rows * features }, (_, i) => (i * 37) % 256)
    const resident = await numbersOf(dataset(bytes, y, { shape: [rows, features] }), { batchSize: 20, shuffle: 'none' })
    function* source(): Generator<Batch> {
      for (let at = 0; at < rows; at += 20) {
        yield { x: bytes.subarray(at * features, (at + 20) * features), y: y.subarray(at, at + 20) }
      }
    }
    expect(await numbersOf(source, {})).toEqual(resident)
  })

  it('feeds a model of named inputs', async () => {
    const age = Float32Array.from({ length: rows }, (_, i) => i / rows)
    const parts = joined({
      x: dataset(x, null, { shape: [rows, features] }),
      age: dataset(age, null, { shape: [rows, 1] }),
      y: dataset(y, null, { shape: [rows] }),
    })
    function* source() {
      for (let at = 0; at < rows; at += 25) {
        const end = at + 25
        yield { x: x.subarray(at * features, end * features), age: age.subarray(at, end), y: y.subarray(at, end) }
      }
    }
    const train = async (from: typeof parts | (() => ReturnType<typeof source>), more: object) => {
      const named = model(
        { x: [features], age: [1] },
        (inputs, scope) => scope.apply(dense(classes), ops.concat([inputs.x, inputs.age], -1)),
        { seed: 1 },
      )
      const loss = (out: Parameters<ReturnType<typeof crossEntropy>>[0], batch: Record<string, never>) =>
        crossEntropy()(out, batch.y as never)
      const { epochs } = await named.fit(from as never, { loss: loss as never, optimizer: adam(), epochs: 2, ...more })
      return epochs.map((epoch) => epoch.train)
    }
    expect(await train(source, {})).toEqual(await train(parts, { batchSize: 25, shuffle: 'none' }))
  })

  it('tells events without numbers that only the source knows', async () => {
    const events: FitEvent[] = []
    for await (const event of net().fit(slowly, { ...options(), epochs: 2, validation: () => batches(32) }))
      events.push(event)
    expect(events[0]).toMatchObject({ kind: 'start', batchSize: size, stepsPerEpoch: undefined, samples: undefined })
    const last = events.filter((event) => event.kind === 'progress').at(-1)
    expect(last).toMatchObject({ epoch: 2, step: 7, stepsPerEpoch: 7 })
    expect(events.filter((event) => event.kind === 'epoch')).toHaveLength(2)
  })

  it('without an end makes epochs of stepsPerEpoch, and a generator goes on', async () => {
    let given = 0
    function* endless(): Generator<Batch> {
      for (;;) yield { x: x.subarray(0, size * features), y: y.subarray(given % 3, (given++ % 3) + size) }
    }
    const history = await net().fit(endless(), { ...options(), epochs: 3, stepsPerEpoch: 5 })
    expect(history.epochs).toHaveLength(3)
    expect(given).toBe(15)
  })
})

describe('a step and the batches behind it', () => {
  // The order of events, not of times: steps end when the test says so.
  it('asks for the next while steps run, and for no more than there are slots', async () => {
    const order: string[] = []
    const running: (() => void)[] = []
    function* source(): Generator<number> {
      for (let i = 1; i <= 5; i++) {
        order.push(`ask ${i}`)
        yield i
      }
    }
    const pump = new Pump(source(), {
      slots: 3,
      put: (value, slot) => {
        order.push(`put ${value} in ${slot}`)
        return new Promise<{ steps: number }>((resolve) => {
          running.push(() => resolve({ steps: 1 }))
        })
      },
      stop: () => order.push('stop'),
    })
    const all = (async () => {
      for await (const outcomes of pump.run()) order.push(`${outcomes.length} done`)
    })()
    const settle = () => new Promise((resolve) => setImmediate(resolve))
    await settle()
    expect(order).toEqual(['ask 1', 'put 1 in 0', 'ask 2', 'put 2 in 1', 'ask 3', 'put 3 in 2'])
    running.shift()?.()
    await settle()
    expect(order.slice(6).filter((event) => !event.endsWith('done'))).toEqual(['ask 4', 'put 4 in 0'])
    while (running.length > 0) {
      running.shift()?.()
      await settle()
    }
    await all
    expect(order.filter((event) => event.startsWith('put'))).toHaveLength(5)
    expect(order).not.toContain('stop')
  })

  it('takes a batch into a slot while another step runs', async () => {
    const program = record(({ x }) => ({ sum: ops.sum(x) }), { x: [3] })
    const inputs = [1, 2, 3, 4, 5, 6, 7].map((value) => ({ x: [value, value, value] }))
    const sums: number[] = []
    for await (const results of program.stream(inputs)) sums.push(...results.series('sum'))
    expect(sums).toEqual([3, 6, 9, 12, 15, 18, 21])
  })

  it('leaves the JavaScript thread free', async () => {
    let turns = 0
    let running = true
    const turn = (): void => {
      turns++
      if (running) setImmediate(turn)
    }
    turn()
    const wide = model([64], [dense(512), relu(), dense(512), relu(), dense(2)])
    const batch = { x: new Float32Array(256 * 64), y: new Int32Array(256) }
    await wide.fit(
      Array.from({ length: 20 }, () => batch),
      options(),
    )
    running = false
    expect(turns).toBeGreaterThan(20)
  })

  it('makes no slots anew from batch to batch', async () => {
    const net = model([4], [dense(2)])
    const heap: number[] = []
    function* source(): Generator<Batch> {
      const batch = { x: new Float32Array(40), y: new Int32Array(10) }
      for (let i = 0; i < 400; i++) {
        if (i % 100 === 50) heap.push(process.memoryUsage().external)
        yield batch
      }
    }
    await net.fit(source, options())
    expect(Math.max(...heap.slice(1)) - (heap[0] as number)).toBeLessThan(2 ** 20)
  })
})

describe('a run that does not go on', () => {
  const trainedBy = async (count: number): Promise<unknown> => {
    const trained = net()
    await trained.fit(() => batches(count * size), options())
    return [...(await trained.weights()).values()].map((values) => [...values.data])
  }
  const weightsOf = async (trained: ReturnType<typeof net>): Promise<unknown> =>
    [...(await trained.weights()).values()].map((values) => [...values.data])

  it('rejects with the error of its source, behind the steps of the batches before it', async () => {
    const mine = new Error('the disk is gone')
    async function* breaking(): AsyncGenerator<Batch> {
      yield* batches(3 * size)
      throw mine
    }
    const trained = net()
    await expect(trained.fit(breaking, options())).rejects.toBe(mine)
    expect(await weightsOf(trained)).toEqual(await trainedBy(3))
    // The model trains on.
    await trained.fit(data, options())
  })

  it('keeps the steps before one that fails, and closes the source', async () => {
    let closed = 0
    function* bad(): Generator<Batch> {
      try {
        yield* batches(2 * size)
        yield { x: x.subarray(0, size * features), y: new Int32Array(size).fill(99) }
        for (;;) yield { x: x.subarray(0, size * features), y: y.subarray(0, size) }
      } finally {
        closed++
      }
    }
    const trained = net()
    await expect(trained.fit(bad, options())).rejects.toThrow(/label 99 in row 0.*step 3 of epoch 1/)
    expect(closed).toBe(1)
    expect(await weightsOf(trained)).toEqual(await trainedBy(2))
  })

  it('ends when it is aborted, also while the source keeps it waiting', async () => {
    for (const waits of [0, 1, 4]) {
      const control = new AbortController()
      async function* stuck(): AsyncGenerator<Batch> {
        yield* batches(waits * size)
        setTimeout(() => control.abort(), 20)
        await new Promise(() => {})
      }
      const trained = net()
      await expect(trained.fit(stuck, { ...options(), signal: control.signal })).rejects.toMatchObject({
        code: 'aborted',
      })
      if (waits > 0) expect(await weightsOf(trained)).toEqual(await trainedBy(waits))
    }
  })

  it('is not begun by a signal that was aborted before', async () => {
    let asked = false
    function* source(): Generator<Batch> {
      asked = true
      yield* batches()
    }
    const run = net().fit(source, { ...options(), signal: AbortSignal.abort() })
    await expect(run).rejects.toMatchObject({ code: 'aborted' })
    expect(asked).toBe(false)
  })

  it('stops a stream that is left early at a step boundary, and closes its source', async () => {
    const total = variable([1])
    const program = record(
      ({ x }) => {
        ops.assign(total, ops.add(total, x))
        return {}
      },
      { x: [1] },
    )
    let closed = false
    async function* source() {
      try {
        for (;;) yield { x: [1] }
      } finally {
        closed = true
      }
    }
    let seen = 0
    for await (const { steps } of program.stream(source())) {
      seen += steps
      if (seen >= 10) break
    }
    expect(closed).toBe(true)
    expect(read(total)[0]).toBeGreaterThanOrEqual(seen)
    expect(read(total)[0]).toBeLessThanOrEqual(seen + 3)
    program.stop()
    expect((await program.runMany(2, { x: [1] })).steps).toBe(2)
  })

  it('tells a stream by stop() to end', async () => {
    const program = record(({ x }) => ({ sum: ops.sum(x) }), { x: [1] })
    async function* stuck() {
      yield { x: [1] }
      setTimeout(() => program.stop(), 10)
      await new Promise(() => {})
    }
    let steps = 0
    for await (const results of program.stream(stuck())) steps += results.steps
    expect(steps).toBe(1)
  })
})

describe('errors of batches', () => {
  const one = { x: new Float32Array(2 * features), y: [0, 1] }
  const given: [string, unknown, object, (string | RegExp)[]][] = [
    ['no batch at all', () => [], {}, ['at least one batch', 'training data']],
    ['none in the second epoch', { [Symbol.iterator]: once([one]) }, { epochs: 2 }, ['epoch 2', 'Each epoch']],
    ['an iterator for two epochs', batches(), { epochs: 2 }, ['gone through only once', 'generator function']],
    ['a number', () => 3, {}, ['something to iterate over', '3']],
    ['no labels', [{ x: one.x }], {}, ['{ x, y }', 'batch 1']],
    ['other inputs', [one, { x: new Float32Array(9), y: [0, 1] }], {}, ['a multiple of 8', 'batch 2']],
    ['another dtype', [one, { ...one, x: new Int32Array(2 * features) }], {}, ['float32 [n, 8]', 'int32', 'batch 2']],
    ['bytes after floats', [one, { ...one, x: new Uint8Array(2 * features) }], {}, ['as in the first batch', 'uint8']],
    ['targets after labels', [one, { ...one, y: [[1], [0]] }], {}, ['int32 [n]', 'float32 [n, 1]']],
    ['more rows', [one, { x: new Float32Array(24), y: [0, 1, 2] }], {}, ['at most 2 samples', '3']],
    [
      'a smaller batch in the middle',
      [one, { x: new Float32Array(8), y: [0] }, one],
      {},
      ['nothing behind batch 2', 'only the last batch'.replace('only', 'Only')],
    ],
    ['too few labels', [{ ...one, y: [0] }], {}, ['2 rows', 'y', '1']],
    ['a batchSize', () => batches(), { batchSize: 4 }, ['no batchSize', '4']],
    ['a shuffle', () => batches(), { shuffle: 'epoch' }, ['no shuffle']],
    ['stepsPerEpoch of a data set', data, { stepsPerEpoch: 3 }, ['no stepsPerEpoch']],
    ['one-time validation', () => batches(), { epochs: 2, validation: batches() }, ['validation data', 'only once']],
  ]
  it.each(given)('%s', async (_, source, more, texts) => {
    const error = await net()
      .fit(source as never, { ...options(), ...more })
      .then(
        () => undefined,
        (reason: unknown) => reason as Error,
      )
    expect(error?.name).toBe('GradlineError')
    for (const text of texts) expect(error?.message).toContain(text)
  })

  it('of a stream without inputs', async () => {
    const program = record(() => ({ sum: ops.fill([1], 2) }), {})
    await expect(program.stream([{}]).next()).rejects.toThrow('no inputs that batches could go to')
    await expect(program.stream((() => []) as never).next()).rejects.toThrow('Call the generator function')
  })
})

function once<T>(values: T[]): () => Iterator<T> {
  let used = false
  return () => {
    const now = used ? [] : values
    used = true
    return now[Symbol.iterator]()
  }
}

it('trains a regression on targets', async () => {
  const line = model([1], [dense(1)], { seed: 2 })
  const inputs = Float32Array.from({ length: 64 }, (_, i) => i / 64)
  const history = await line.fit(() => [{ x: inputs, y: inputs.map((v) => 2 * v - 1) }], {
    loss: mse(),
    optimizer: adam({ lr: 0.1 }),
    epochs: 200,
  })
  expect(history.epochs.at(-1)?.train.loss).toBeLessThan(1e-3)
})
