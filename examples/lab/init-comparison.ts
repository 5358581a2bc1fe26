// First weights decide whether a deep net learns at all: std 0.01, Xavier and He on MNIST, plain gradient descent.

import { glorotNormal, heNormal, normal, sgd } from 'gradline'
import { images, table, train } from './deepNet.js'
import { plot, smooth } from './plot.js'

// With std 0.01 the signal dies out over four layers: all scores stay 0 and the loss stays ln 10 = 2.3026, that of guessing
// among ten digits. Xavier keeps the signal of linear units; He makes up for the half that a ReLU cuts off.
const data = await images()
const inits = { 'std 0.01': normal({ std: 0.01 }), Xavier: glorotNormal(), He: heNormal() }

const curves: Record<string, number[]> = {}
for (const [name, init] of Object.entries(inits)) {
  curves[name] = smooth(await train(data, { init, optimizer: sgd({ lr: 0.01 }) }))
}
console.log(table(curves))
console.log(`ln 10 = ${Math.log(10).toFixed(4)}`)

const file = plot(process.argv[2] ?? 'init-comparison.svg', [
  {
    title: 'First weights of 784-100-100-100-100-10, ReLU, SGD 0.01',
    x: { label: 'iterations', range: [0, 2000] },
    y: { label: 'loss', range: [0, 2.5] },
    curves: Object.entries(curves).map(([name, y]) => ({ name, x: y.map((_, i) => i + 1), y, markEvery: 100 })),
  },
])
console.log(file)
