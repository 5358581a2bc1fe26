// Writes build-replay/cases.pack: the rows of the table of cases with their gradients, every update rule, and steps of fit()
// of small networks, as they cross into native code. native/replay runs them without Node, under sanitizers and on machines
// where there is none.
import { mkdirSync, writeFileSync } from 'node:fs'
import { it } from 'vitest'
import { type Bound, type Check, everythingLeft, Pack, type Run, readProgram, watch } from '../../bench/pack.js'
import { device } from '../../src/device.js'
import * as lib from '../../src/index.js'
import { cases } from '../ops/cases.js'
import { Random } from '../ops/data.js'
import { type Case, expectedOf, inputsOf, recordRow, unit } from '../ops/harness.js'
import { adam, everyRule, randomSetup, type Setup, train } from '../ops/optimizer.js'

const on = device('cpu', { threads: 1 })
const watched = watch(on)
const pack = new Pack()

/** Runs `body` and gives each run it made to `keep`. */
async function capture(body: () => unknown, keep: (run: Run, index: number) => void): Promise<void> {
  let index = 0
  watched.onRun = (run) => keep(run, index++)
  try {
    await body()
  } finally {
    watched.onRun = undefined
  }
}

/** What a backend may do to each operand of a product, as a share of it: architecture.md, "Numbers". */
const roundings = { fast: 0, tf32: 2 ** -11, bf16: 2 ** -8 }

/** Elementwise of the outputs, of the gradients by their largest element: as test/ops/harness.ts judges them. */
function checksOf(row: Case, program: Uint8Array, data: ReturnType<typeof inputsOf>): Check[] {
  const exact = expectedOf(row, data)
  const { c, K } = row.tolerance
  const rounding = (2 * (row.numerics ? roundings[row.numerics] : 0)) / unit
  const float32 = 0
  return readProgram(program).outputs.map((place, i): Check => {
    const terms = exact[i]?.terms
    // By term an operand's rounding weighs the same however many there are; the largest element knows only their root.
    const length = Math.sqrt(terms ? K : (row.gradientK ?? K))
    const factor = c * length + rounding * (terms ? 1 : length)
    if (place.dtype !== float32) return { ...place, bound: { kind: 'exact' } }
    const gradient: Bound = { kind: 'largest', factor, ...(row.gradientTerms ? { scale: row.gradientTerms } : {}) }
    return { ...place, bound: terms ? { kind: 'terms', factor, terms } : gradient }
  })
}

it('records the table of cases', async () => {
  for (const row of cases) {
    const data = inputsOf(row)
    const { program, run } = recordRow(row, { device: on }, row.gradient === 'central')
    await capture(
      () => run(data),
      (seen) => pack.add(`${row.op}: ${row.name}`, seen, 1, checksOf(row, seen.program, data)),
    )
    program.close()
  }
})

it('records the updates', async () => {
  const shapes = [[17], [5, 3], [1], [33]]
  const settings = [
    { rate: 1, decay: 0.1, l1: 0.2, l2: 0 },
    { rate: 0.5, decay: 0, l1: 0, l2: 0.3 },
    { rate: 2, decay: 0.3, l1: 0.01, l2: 0.02 },
    { rate: 0, decay: 1, l1: 1, l2: 1 },
  ]
  const accumulate = { size: 2, rows: 3 }
  const rules: [string, Setup][] = everyRule.flatMap((rule, i): [string, Setup][] => [
    [`update ${i} ${rule.kind}`, randomSetup(rule, shapes, 2)],
    [`update ${i} ${rule.kind}, large`, randomSetup(rule, [[301, 257], [9]], 2)],
  ])
  rules.push(
    ['update clipped', randomSetup(adam, shapes, 2, { maxNorm: 4, clipValue: 0.5 })],
    ['update with penalties and decay', randomSetup(adam, shapes, 2, { settings, average: 0.9 })],
    ['update of groups', randomSetup(adam, shapes, 2, { accumulate, unitNorm: 1.5 })],
  )
  for (const [name, setup] of rules) {
    // The second step, whose moments are not zero any more.
    await capture(
      () => train(setup, { device: on }),
      (seen, index) => {
        if (index === 1) pack.add(name, seen, 3, everythingLeft(seen.program, 8 * Math.sqrt(25)))
      },
    )
  }
})

const { batchNorm, conv2d, cosine, crossEntropy, dense, dropout, flatten, maxPool2d, model, relu, sgd } = lib

interface Trained {
  readonly name: string
  readonly input: readonly number[]
  readonly layers: lib.Layer[]
  readonly optimizer: lib.Optimizer
  readonly batch: number
  readonly classes: number
  /** The longest sum of the step. */
  readonly K: number
}

// Adam divides by the size of the gradient, which makes a number of any size of one that should be zero; an eps of the size of
// the rate keeps the error of an update that of its gradient.
const networks: readonly Trained[] = [
  {
    name: 'MLP 784-32-16-10, batch norm, adam',
    input: [784],
    layers: [dense(32), batchNorm(), relu(), dense(16), batchNorm(), relu(), dense(10)],
    optimizer: lib.adam({ lr: 1e-3, eps: 1e-3 }),
    batch: 16,
    classes: 10,
    K: 784,
  },
  {
    name: 'MNIST network, adam',
    input: [28, 28, 1],
    layers: [conv2d(30, 5), relu(), maxPool2d(2), flatten(), dense(100), relu(), dense(10)],
    optimizer: lib.adam({ lr: 1e-3, eps: 1e-3 }),
    batch: 8,
    classes: 10,
    K: 8 * 24 * 24,
  },
  {
    name: 'MLP 10-16-2, sgd',
    input: [10],
    layers: [dense(16), relu(), dense(2)],
    optimizer: sgd({ lr: 0.05 }),
    batch: 32,
    classes: 2,
    K: 32,
  },
  {
    name: 'CNN 1-16-32, batch norm, dropout, clipped, cosine',
    input: [14, 14, 1],
    layers: [
      conv2d(16, 3, { padding: 'same' }),
      batchNorm(),
      relu(),
      maxPool2d(2),
      conv2d(32, 3, { padding: 'same' }),
      batchNorm(),
      relu(),
      flatten(),
      dropout(0.3),
      dense(24),
      relu(),
      dropout(0.5),
      dense(10),
    ],
    optimizer: lib.adam({ lr: 1e-3, eps: 1e-3, clipNorm: 0.5, schedule: cosine({ steps: 10 }) }),
    batch: 8,
    classes: 10,
    K: 8 * 14 * 14 * 9,
  },
]

it('records training steps', async () => {
  for (const { name, input, layers, optimizer, batch, classes, K } of networks) {
    const rows = 4 * batch
    const random = new Random(rows)
    const size = input.reduce((product, n) => product * n, 1)
    const pixels = Uint8Array.from({ length: rows * size }, () => random.integer(0, 255))
    const labels = Int32Array.from({ length: rows }, () => random.integer(0, classes - 1))
    const data = lib.dataset(pixels, labels, { shape: [rows, ...input] })
    const net = model(input, layers, { device: on, seed: 1 })
    await net.initialize()
    await capture(
      () => net.fit(data, { loss: crossEntropy(), optimizer, batchSize: batch, metrics: ['accuracy'] }),
      (seen, index) => {
        if (index === 0) pack.add(name, seen, 4, everythingLeft(seen.program, 8 * Math.sqrt(K)))
      },
    )
  }
})

it('writes the pack', () => {
  mkdirSync('build-replay', { recursive: true })
  writeFileSync('build-replay/cases.pack', pack.bytes)
  console.log(`build-replay/cases.pack: ${pack.names.length} cases, ${(pack.bytes.length / 2 ** 20).toFixed(1)} MiB`)
})
