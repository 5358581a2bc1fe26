// What the comparisons on MNIST share: the images, a net of four hidden layers, and a training of which every step's loss is
// kept. It is written with record(): all 2000 steps are one native call.

import {
  crossEntropy,
  datasets,
  dense,
  flatten,
  grad,
  type Initializer,
  model,
  type Optimizer,
  ops,
  relu,
  Updater,
  variable,
} from 'gradline'

export const iterations = 2000
export const batchSize = 128

export interface Images {
  readonly inputs: ReturnType<typeof variable>
  readonly labels: ReturnType<typeof variable>
  readonly count: number
}

/** The 60,000 training images of MNIST as variables, where a program reads its batches. */
export async function images(): Promise<Images> {
  const { train } = await datasets.mnist()
  const { data, shape } = train.inputs
  const labels = train.labels?.data ?? []
  return {
    inputs: variable(shape, { name: 'images', dtype: 'uint8', value: data }),
    labels: variable([train.length], { name: 'labels', dtype: 'int32', value: labels }),
    count: train.length,
  }
}

/** Losses of 2000 steps of 784-100-100-100-100-10 with ReLU on random batches of 128. */
export async function train(
  { inputs, labels, count }: Images,
  settings: { init: Initializer; optimizer: Optimizer; seed?: number },
): Promise<Float32Array> {
  const { init, optimizer, seed = 1 } = settings
  const hidden = [1, 2, 3, 4].flatMap(() => [dense(100, { init }), relu()])
  const net = model([28, 28, 1], [flatten(), ...hidden, dense(10, { init })], { seed })
  await net.initialize()
  const updater = new Updater(optimizer, { seed })
  const program = net.program(
    'train',
    () => {
      const rows = ops.sampleRows(batchSize, count, 'replacement', updater.step)
      const scores = net.apply(ops.gather(inputs, rows, { factor: 1 / 255 }), 'train')
      const loss = crossEntropy()(scores, ops.gather(labels, rows))
      updater.apply(net.params, grad(loss, net.params))
      return loss
    },
    updater.step,
  )
  const { series } = await program.runMany(iterations)
  program.close()
  net.close()
  return series('')
}

const milestones = [1, 100, 200, 500, 1000, 1500, 2000]

/** The losses at some of the steps as text, a line per curve. */
export function table(curves: Readonly<Record<string, readonly number[]>>): string {
  const widest = Math.max(...Object.keys(curves).map((name) => name.length))
  const head = `${'loss after'.padEnd(widest)}${milestones.map((step) => String(step).padStart(9)).join('')}`
  const rows = Object.entries(curves).map(
    ([name, y]) =>
      name.padEnd(widest) + milestones.map((step) => (y[step - 1] ?? Number.NaN).toFixed(4).padStart(9)).join(''),
  )
  return [head, ...rows].join('\n')
}
