// Batch normalization against bad first weights: accuracy by epoch for 16 scales of weights, with and without it.

import { batchNorm, crossEntropy, datasets, dense, flatten, model, normal, relu, sgd } from 'gradline'
import { plot } from './plot.js'

// 1000 images are few enough to learn by heart: what is shown is accuracy on the images learned from.
const train = (await datasets.mnist()).train.take(1000)
const scales = Array.from({ length: 16 }, (_, i) => 10 ** ((-4 * i) / 15))
const epochs = Array.from({ length: 20 }, (_, i) => i + 1)

async function accuracies(std: number, normalized: boolean): Promise<number[]> {
  const init = normal({ std })
  const hidden = epochs.slice(0, 5).flatMap(() => [dense(100, { init }), ...(normalized ? [batchNorm()] : []), relu()])
  const net = model([28, 28, 1], [flatten(), ...hidden, dense(10, { init })], { seed: 1 })
  const reached: number[] = []
  try {
    await net.fit(train, {
      loss: crossEntropy(),
      optimizer: sgd({ lr: 0.01 }),
      metrics: ['accuracy'],
      epochs: epochs.length,
      batchSize: 100,
      callbacks: [{ onEpoch: ({ train: measured }) => void reached.push(measured.accuracy ?? Number.NaN) }],
    })
  } catch (error) {
    // Large weights without normalization overflow: the run ends with an error and the curve ends with it.
    console.log(`  ${normalized ? 'with' : 'without'}, std ${std.toFixed(5)}: ${(error as Error).message}`)
  }
  net.close()
  return reached
}

const results: { std: number; plain: number[]; normalized: number[] }[] = []
for (const std of scales) {
  const [plain, normalized] = [await accuracies(std, false), await accuracies(std, true)]
  results.push({ std, plain, normalized })
}

console.log('accuracy after 20 epochs\n    std    without     with')
for (const { std, plain, normalized } of results) {
  const cells = [plain, normalized].map((list) => (list[epochs.length - 1] ?? Number.NaN).toFixed(3).padStart(9))
  console.log(`${std.toFixed(5).padStart(7)}${cells.join('')}`)
}
const last = ({ plain, normalized }: (typeof results)[number]): boolean =>
  (normalized.at(-1) ?? 0) >= (plain[epochs.length - 1] ?? 0)
console.log(`with batch norm at least as good at ${results.filter(last).length} of ${scales.length} scales`)

const file = plot(
  process.argv[2] ?? 'batchnorm-scales.svg',
  results.map(({ std, plain, normalized }) => ({
    title: `std ${std.toPrecision(2)}`,
    x: { label: 'epochs', range: [0, 20] },
    y: { label: 'accuracy', range: [0, 1] },
    curves: [
      { name: 'batch norm', x: epochs, y: normalized, markEvery: 2 },
      { name: 'without', x: epochs, y: plain, markEvery: 2, dashed: true },
    ],
  })),
  { columns: 4, scale: 0.5 },
)
console.log(file)
