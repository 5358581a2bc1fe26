// First figures: matrix products against the multiply-add peak of one core, one training step of a small network, and what
// an empty step costs. Every round measures ceiling and work one after the other; the best round counts, since other load
// on the machine can only make a round slower. Prints a table, and with --json FILE writes the figures.

import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import {
  adam,
  crossEntropy,
  dense,
  device,
  grad,
  model,
  ops,
  type Program,
  record,
  relu,
  Updater,
  variable,
} from 'gradline'

const { values } = parseArgs({ options: { json: { type: 'string' }, rounds: { type: 'string', default: '15' } } })
const rounds = Number(values.rounds)
const cpu = device('cpu', { threads: 1 })

interface Figure {
  name: string
  value: number
  unit: string
  /** Share of the peak measured in the same rounds. */
  ofPeak?: number
}

interface Runnable {
  runManySync(steps: number): unknown
}

// Best seconds of one step, and the best multiply-add rate seen between the rounds.
function measure(program: Runnable, steps: number): { seconds: number; peak: number } {
  program.runManySync(steps)
  let seconds = Number.POSITIVE_INFINITY
  let peak = 0
  for (let round = 0; round < rounds; round++) {
    peak = Math.max(peak, cpu.native.peak(10))
    const began = performance.now()
    program.runManySync(steps)
    seconds = Math.min(seconds, (performance.now() - began) / 1000 / steps)
  }
  return { seconds, peak }
}

const random = (size: number): Float32Array => Float32Array.from({ length: size }, () => Math.random() - 0.5)

function matmul(n: number): Figure {
  const a = variable([n, n], { name: 'a', value: random(n * n) })
  const b = variable([n, n], { name: 'b', value: random(n * n) })
  const program = record(() => ops.slice(ops.matmul(a, b), [0, 0], [1, 1]), {}, { device: cpu })
  const { seconds, peak } = measure(program, Math.max(1, Math.round(2e9 / (2 * n ** 3))))
  const rate = (2 * n ** 3) / seconds
  program.close()
  return { name: `matmul ${n}x${n}x${n}`, value: rate / 1e9, unit: 'GFLOP/s', ofPeak: rate / peak }
}

function trainingStep(): Figure {
  const batch = 32
  const net = model([784], [dense(128), relu(), dense(10)], { device: cpu })
  const updater = new Updater(adam())
  const images = variable([1024, 784], { name: 'images', value: random(1024 * 784) })
  const labels = variable([1024], {
    name: 'labels',
    value: Int32Array.from({ length: 1024 }, (_, i) => i % 10),
    dtype: 'int32',
  })
  const loss = crossEntropy()
  const program: Program = record(
    () => {
      const rows = ops.sampleRows(batch, 1024, 'epoch', updater.step)
      const value = loss(net.apply(ops.gather(images, rows), 'train'), ops.gather(labels, rows))
      updater.apply(net.params, grad(value, net.params))
      return { loss: value }
    },
    {},
    { device: cpu, step: updater.step },
  )
  const { seconds, peak } = measure(program, 500)
  const operations = 2 * batch * (784 * 128 * 2 + 128 * 10 * 3)
  return {
    name: '784-128-10, batch 32, Adam',
    value: seconds * 1e6,
    unit: 'us/step',
    ofPeak: operations / seconds / peak,
  }
}

function emptyStep(): Figure {
  const { seconds } = measure(
    record(() => ({}), {}, { device: cpu }),
    100_000,
  )
  return { name: 'empty step', value: seconds * 1e6, unit: 'us/step' }
}

const figures = [matmul(512), matmul(1024), trainingStep(), emptyStep()]
console.log(`${cpu.describe()}, best of ${rounds} rounds`)
for (const { name, value, unit, ofPeak } of figures) {
  const share = ofPeak === undefined ? '' : `  ${(100 * ofPeak).toFixed(0).padStart(3)} % of the multiply-add peak`
  console.log(`  ${name.padEnd(28)} ${value.toPrecision(3).padStart(8)} ${unit.padEnd(8)}${share}`)
}
if (values.json) writeFileSync(values.json, `${JSON.stringify({ device: cpu.describe(), rounds, figures }, null, 2)}\n`)
