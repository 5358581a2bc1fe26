// The user's program of the test of the packages, as text: it trains a small network with dropout and batch norm and one with
// convolutions of more channels, numerics 'fast' among them, and prints the hash of their weights, those of portable.mjs, and
// how long it took to the end of the first step. Once as an ES module, once as CommonJS.
import { readFileSync } from 'node:fs'

const body = `
const main = async () => {
  const { channels, numbers, portableHashes, weightsHash } = await import('./portable.mjs')
  const started = performance.now()
  const gradline = await load()
  const { adam, batchNorm, conv2d, crossEntropy, dataset, dense, dropout, flatten, maxPool2d, model, relu, tanh } = gradline
  const data = (rows, shape) => {
    const inputs = numbers(rows * shape.reduce((a, b) => a * b), 1)
    return dataset(inputs, Int32Array.from({ length: rows }, (_, i) => i % 3), { shape: [rows, ...shape] })
  }
  const options = { loss: crossEntropy(), optimizer: adam({ lr: 0.01 }), batchSize: 20 }
  const net = model([6, 6, 1], [
    conv2d(4, 3), batchNorm(), relu(), maxPool2d(2), flatten(), dropout(0.25), dense(24), tanh(), dense(3),
  ], { seed: 7 })
  const images = data(96, [6, 6, 1])
  await net.fit(images.take(20), { ...options, epochs: 1 })
  const firstStep = Math.round(performance.now() - started)
  const { epochs } = await net.fit(images, { ...options, epochs: 6 })
  const hashes = { small: weightsHash(gradline, net) }
  for (const numerics of ['fp32', 'fast']) {
    const wide = model([10, 10, 3], channels(gradline), { seed: 7, numerics })
    await wide.fit(data(40, [10, 10, 3]), { ...options, epochs: 2 })
    hashes['channels ' + numerics] = weightsHash(gradline, wide)
  }
  const portable = await portableHashes(gradline)
  const runtime = process.versions.bun ? 'bun ' + process.versions.bun : 'node ' + process.version
  console.log(JSON.stringify({
    runtime, arch: process.arch, device: net.device.describe(), hashes, portable, loss: epochs.at(-1).train.loss, firstStep,
  }))
}
main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
`
export const programs = {
  'portable.mjs': readFileSync(new URL('portable.mjs', import.meta.url), 'utf8'),
  'train.mjs': `const load = () => import('gradline')\n${body}`,
  'train.cjs': `const load = async () => require('gradline')\n${body}`,
}
