// Trains one small network from many seeds at the same time, each on a lane of the card: npm run example -- seeds --models 132
// Without a card they train one after the other on the CPU.

import { parseArgs } from 'node:util'
import { adam, crossEntropy, dataset, dense, device, devices, model, relu } from 'gradline'

const { values } = parseArgs({ options: { models: { type: 'string', default: '16' } } })
const count = Number(values.models)

// Points in a square, with the number of the spiral arm that they lie on as their label.
const samples = 1024
const arms = 3
const labels = Int32Array.from({ length: samples }, (_, i) => i % arms)
const points = Float32Array.from({ length: 2 * samples }, (_, k) => {
  const i = k >> 1
  const radius = i / samples
  const angle = 4 * radius + (2 * Math.PI * (i % arms)) / arms
  return radius * (k % 2 === 0 ? Math.cos(angle) : Math.sin(angle))
})

// A lane is the card opened once more, with memory and a thread of its own. A network this small fills one multiprocessor,
// and a card has more than a hundred: the steps of lanes that train at the same time share their launches.
const hasCard = devices().includes('cuda:0')
const nets = Array.from({ length: count }, (_, i) =>
  model([2], [dense(32), relu(), dense(16), relu(), dense(arms)], {
    seed: i,
    device: device(hasCard ? 'cuda' : 'cpu', hasCard ? { lane: i } : {}),
  }),
)
const data = dataset(points, labels, { shape: [samples, 2] })
const histories = await Promise.all(
  nets.map((net) =>
    net.fit(data, {
      loss: crossEntropy(),
      optimizer: adam({ lr: 0.01 }),
      metrics: ['accuracy'],
      epochs: 40,
      batchSize: 32,
    }),
  ),
)

// What the seed alone makes of it: the same network, data and order of batches.
const found = histories.map(({ epochs }) => epochs.at(-1)?.train.accuracy ?? 0)
const mean = found.reduce((sum, accuracy) => sum + accuracy, 0) / count
const spread = Math.sqrt(found.reduce((sum, accuracy) => sum + (accuracy - mean) ** 2, 0) / count)
console.log(`${count} models: accuracy ${mean.toFixed(4)}, standard deviation over seeds ${spread.toFixed(4)}`)
