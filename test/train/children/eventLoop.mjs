// Run by processes.test.ts: prints the 99th percentile of the event loop's delay in ms while a model of the named size trains,
// and while nothing happens before and after: what the machine adds by itself.
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

async function delayDuring(body) {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  await body()
  delay.disable()
  return delay.percentile(99) / 1e6
}
const pause = () => new Promise((resolve) => setTimeout(resolve, 400))

let steps = 0
async function train() {
  const control = new AbortController()
  const run = net.fit(data, { ...options, epochs: 1e9, signal: control.signal })
  setTimeout(() => control.abort(), 1500)
  try {
    for await (const event of run) if (event.kind === 'epoch') steps += Math.ceil(samples / batchSize)
  } catch (error) {
    if (error.code !== 'aborted') throw error
  }
}

const before = await delayDuring(pause)
const p99 = await delayDuring(train)
const idle = Math.max(before, await delayDuring(pause))
console.log(JSON.stringify({ p99, idle, steps }))
