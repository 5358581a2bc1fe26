// What numerics 'portable' promises, as a program: five small trainings with ops of every family and every update rule, and the
// hash of all their weights, which must be the same on every machine. It is given the library, since users' folders, the tests
// and emulated machines each have their own.
import { createHash } from 'node:crypto'

/** Numbers in [-0.5, 0.5) from a linear congruential generator: integers alone, so equal everywhere. */
function numbers(count, seed) {
  let state = seed
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return state / 0x80000000 - 0.5
  })
}

/** SHA-256 of the weights; `options` go to every model beside numerics. */
export async function portableHash(gradline, options = {}) {
  const g = gradline
  const hash = createHash('sha256')
  const train = async (shape, layers, optimizer, loss, { classes = 3, rows = 60, epochs = 2, more = {} } = {}) => {
    const net = g.model(shape, layers, { seed: 11, ...options, numerics: 'portable' })
    const size = shape.reduce((a, b) => a * b, 1)
    const labels = loss === 'classes' ? Int32Array.from({ length: rows }, (_, i) => i % classes) : numbers(rows, 5)
    const data = g.dataset(numbers(rows * size, 3), labels, { shape: [rows, ...shape] })
    const chosen = loss === 'classes' ? g.crossEntropy() : g.mse()
    await net.fit(data, { loss: chosen, optimizer, epochs, batchSize: 16, ...more })
    for (const variable of net.params) hash.update(new Uint8Array(g.read(variable).buffer))
  }

  // Dense layers with batch norm, dropout and each activation; Adam along a cosine, clipped.
  await train(
    [19],
    [g.dense(33), g.batchNorm(), g.relu(), g.dropout(0.3), g.dense(17), g.tanh(), g.dense(9), g.sigmoid(), g.dense(3)],
    g.adam({ lr: 0.01, schedule: g.cosine({ steps: 6 }), clipNorm: 1 }),
    'classes',
    { epochs: 3 },
  )
  // Convolutions, plain, strided and depthwise, and both kinds of pooling; momentum along an exponential.
  await train(
    [12, 12, 3],
    [
      g.conv2d(8, 3),
      g.batchNorm(),
      g.elu(),
      g.maxPool2d(2),
      g.depthwiseConv2d(3),
      g.leakyRelu(),
      g.conv2d(5, 2, { stride: 2 }),
      g.gelu(),
      g.globalAvgPool2d(),
      g.dense(3),
    ],
    g.momentum({ lr: 0.05, schedule: g.exponential({ gamma: 0.97 }) }),
    'classes',
  )
  // Normalisation by sample, noise, a softmax inside; groups of micro-batches, decoupled decay, a restarting cosine.
  await train(
    [24],
    [g.dense(20), g.layerNorm(), g.silu(), g.gaussianNoise(0.1), g.dense(12), g.softmax(), g.dense(1)],
    g.adamw({ lr: 0.01, schedule: g.cosineRestarts({ period: 3, multiplier: 2 }) }),
    'numbers',
    { more: { accumulate: 2 } },
  )
  // Every other rule on the same small network.
  const rules = [g.sgd, g.nesterov, g.adagrad, g.adadelta, g.rmsprop, g.adamax, g.nadam, g.radam, g.amsgrad, g.lion]
  for (const rule of rules) {
    await train(
      [7],
      [g.dense(11, { constraint: g.maxNorm(2) }), g.softplus(), g.dense(3)],
      rule({ lr: 0.01 }),
      'classes',
    )
  }
  // Tiny rates and decay, so that moments become denormal numbers, which no processor may flush.
  await train(
    [7],
    [g.dense(5), g.relu(), g.dense(1)],
    g.adam({ lr: 1e-36, beta1: 0.01, beta2: 0.01, eps: 1e-30 }),
    'numbers',
    {
      epochs: 12,
    },
  )
  return hash.digest('hex')
}
