// Run by processes.test.ts: prints the 99th percentile of the event loop's delay in ms while a model of the named size trains.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { adam, crossEntropy, dataset, dense, model, relu } from 'gradline'

const [features, units, batchSize, samples] = process.argv.slice(2).map(Number)
const data = dataset(
  Float32Array.from({ length: samples * features }, (_, i) => Math.sin(i)),
  Int32Array.from({ length: samples }, (_, i) => i % 10),
  { shape: [samples, features] },
)
const net = model([features], [dense(units), relu(), dense(10)], { seed: 1 })
const options = { loss: crossEntropy(), optimizer: adam(), metrics: ['accuracy'], batchSize }
await net.fit(data, options)
const delay = monitorEventLoopDelay({ resolution: 1 })
const control = new AbortController()
let steps = 0
const run = net.fit(data, { ...options, epochs: 1e9, signal: control.signal })
setTimeout(() => control.abort(), 1500)
delay.enable()
try {
  for await (const event of run) if (event.kind === 'epoch') steps += Math.ceil(samples / batchSize)
} catch (error) {
  if (error.code !== 'aborted') throw error
}
delay.disable()
console.log(JSON.stringify({ p99: delay.percentile(99) / 1e6, max: delay.max / 1e6, steps }))
