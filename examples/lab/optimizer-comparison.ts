// SGD, Momentum, AdaGrad and Adam at their defaults on MNIST: plain gradient descent is the slowest.

import { adagrad, adam, heNormal, momentum, type Optimizer, sgd } from 'gradline'
import { images, table, train } from './deepNet.js'
import { plot, smooth } from './plot.js'

const data = await images()
const optimizers: Record<string, Optimizer> = {
  SGD: sgd(),
  Momentum: momentum(),
  AdaGrad: adagrad(),
  Adam: adam(),
}

const curves: Record<string, number[]> = {}
for (const [name, optimizer] of Object.entries(optimizers)) {
  curves[name] = smooth(await train(data, { init: heNormal(), optimizer }))
}
console.log(table(curves))

const file = plot(process.argv[2] ?? 'optimizer-comparison.svg', [
  {
    title: 'Optimizers on 784-100-100-100-100-10, ReLU, He',
    x: { label: 'iterations', range: [0, 2000] },
    y: { label: 'loss', range: [0, 1] },
    curves: Object.entries(curves).map(([name, y]) => ({ name, x: y.map((_, i) => i + 1), y, markEvery: 100 })),
  },
])
console.log(file)
