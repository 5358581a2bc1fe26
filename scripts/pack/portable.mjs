// What numerics 'portable' promises, as a program: small trainings with ops of every family and every update rule, and the
// hash of the weights of each, which must be the same on every machine. It is given the library, since users' folders, the
// tests and emulated machines each have their own.
import { createHash } from 'node:crypto'

/** Numbers in [-0.5, 0.5) from a linear congruential generator: integers alone, so equal everywhere. */
export function numbers(count, seed) {
  let state = seed
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return state / 0x80000000 - 0.5
  })
}

/** SHA-256 of the weights of each training, by its name; `options` go to every device beside numerics. */
export async function portableHashes(gradline, options = {}) {
  const g = gradline
  const device = g.device('cpu', { ...options, numerics: 'portable' })
  const hashes = {}
  const train = async (name, shape, layers, optimizer, loss, more = {}) => {
    const { classes = 3, rows = 60, epochs = 2, numerics = 'fp32', ...fit } = more
    const net = g.model(shape, layers, { seed: 11, device, numerics })
    const size = shape.reduce((a, b) => a * b, 1)
    const labels = loss === 'classes' ? Int32Array.from({ length: rows }, (_, i) => i % classes) : numbers(rows, 5)
    const data = g.dataset(numbers(rows * size, 3), labels, { shape: [rows, ...shape] })
    const chosen = loss === 'classes' ? g.crossEntropy() : g.mse()
    await net.fit(data, { loss: chosen, optimizer, epochs, batchSize: 16, ...fit })
    hashes[name] = weightsHash(gradline, net)
  }

  // Dense layers with batch norm, dropout and each activation; Adam along a cosine, clipped.
  await train(
    'dense',
    [19],
    [g.dense(33), g.batchNorm(), g.relu(), g.dropout(0.3), g.dense(17), g.tanh(), g.dense(9), g.sigmoid(), g.dense(3)],
    g.adam({ lr: 0.01, schedule: g.cosine({ steps: 6 }), clipNorm: 1 }),
    'classes',
    { epochs: 3 },
  )
  // Products of many tiles.
  await train('wide', [150], [g.dense(130), g.relu(), g.dense(70), g.elu(), g.dense(3)], g.sgd({ lr: 0.05 }), 'classes')
  // Convolutions, plain, strided and depthwise, and both kinds of pooling; momentum along an exponential.
  await train(
    'convolutions',
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
  // Filters 3x3 of enough channels for Winograd's algorithm, without it and with it: both classes of programs on this device.
  for (const numerics of ['fp32', 'fast']) {
    await train(`channels ${numerics}`, [10, 10, 3], channels(g), g.adam({ lr: 0.01 }), 'classes', {
      rows: 32,
      numerics,
    })
  }
  // Normalisation by sample, noise, a softmax inside; groups of micro-batches, decoupled decay, a restarting cosine.
  await train(
    'normalised',
    [24],
    [g.dense(20), g.layerNorm(), g.silu(), g.gaussianNoise(0.1), g.dense(12), g.softmax(), g.dense(1)],
    g.adamw({ lr: 0.01, schedule: g.cosineRestarts({ period: 3, multiplier: 2 }) }),
    'numbers',
    { accumulate: 2 },
  )
  // Every other rule on the same small network.
  const rules = [g.sgd, g.nesterov, g.adagrad, g.adadelta, g.rmsprop, g.adamax, g.nadam, g.radam, g.amsgrad, g.lion]
  for (const rule of rules) {
    const layers = [g.dense(11, { constraint: g.maxNorm(2) }), g.softplus(), g.dense(3)]
    await train(rule.name, [7], layers, rule({ lr: 0.01 }), 'classes')
  }
  // Tiny rates and decay, so that moments become denormal numbers, which no processor may flush.
  const tiny = g.adam({ lr: 1e-36, beta1: 0.01, beta2: 0.01, eps: 1e-30 })
  await train('denormal', [7], [g.dense(5), g.relu(), g.dense(1)], tiny, 'numbers', { epochs: 12 })
  return hashes
}

/** Layers with convolutions 3x3 of 16 and 24 channels, batch norm and dropout, for images of three classes. */
export const channels = (g) => [
  ...[
    g.conv2d(16, 3, { padding: 'same' }),
    g.batchNorm(),
    g.relu(),
    g.conv2d(24, 3, { padding: 'same' }),
    g.batchNorm(),
  ],
  ...[g.relu(), g.maxPool2d(2), g.dropout(0.25), g.flatten(), g.dense(3)],
]

/** SHA-256 of the parameters of a network. */
export function weightsHash(gradline, net) {
  const hash = createHash('sha256')
  for (const variable of net.params) hash.update(new Uint8Array(gradline.read(variable).buffer))
  return hash.digest('hex')
}
