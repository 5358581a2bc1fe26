// The user's program of the test of the packages, as text: it trains a small network with dropout and batch norm and prints
// the hash of its weights and how long it took to the end of the first step. Once as an ES module, once as CommonJS.

const body = `
const random = (() => {
  let state = 1
  return () => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
    return state / 0x7fffffff - 0.5
  }
})()
const rows = 96
const inputs = Float32Array.from({ length: rows * 6 * 6 }, random)
const labels = Int32Array.from({ length: rows }, (_, i) => i % 3)
const net = model([6, 6, 1], [
  conv2d(4, 3), batchNorm(), relu(), maxPool2d(2), flatten(), dropout(0.25), dense(24), tanh(), dense(3),
], { seed: 7 })
const data = dataset(inputs, labels, { shape: [rows, 6, 6, 1] })
const options = { loss: crossEntropy(), optimizer: adam({ lr: 0.01 }), batchSize: 20 }
const main = async () => {
  await net.fit(data.take(20), { ...options, epochs: 1 })
  const firstStep = Math.round(performance.now() - started)
  const { epochs } = await net.fit(data, { ...options, epochs: 6 })
  const hash = createHash('sha256')
  for (const variable of net.params) hash.update(new Uint8Array(read(variable).buffer))
  const runtime = process.versions.bun ? 'bun ' + process.versions.bun : 'node ' + process.version
  console.log(JSON.stringify({
    runtime, arch: process.arch, device: net.device.describe(), hash: hash.digest('hex'), loss: epochs.at(-1).train.loss, firstStep,
  }))
}
main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
`
const names =
  'adam, batchNorm, conv2d, crossEntropy, dataset, dense, dropout, flatten, maxPool2d, model, read, relu, tanh'

export const programs = {
  'train.mjs': `import { createHash } from 'node:crypto'\nconst started = performance.now()\nconst { ${names} } = await import('gradline')\n${body}`,
  'train.cjs': `const { createHash } = require('node:crypto')\nconst started = performance.now()\nconst { ${names} } = require('gradline')\n${body}`,
}
