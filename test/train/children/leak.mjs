// Run by processes.test.ts with --expose-gc: prints how much resident memory and heap grow over 100,000 steps.
import { adam, crossEntropy, dataset, dense, model, relu } from 'gradline'

const samples = 20_000
const data = dataset(
  Float32Array.from({ length: samples * 8 }, (_, i) => Math.sin(i)),
  Int32Array.from({ length: samples }, (_, i) => i % 3),
  { shape: [samples, 8] },
)
const net = model([8], [dense(16), relu(), dense(3)], { seed: 1 })
const options = { loss: crossEntropy(), optimizer: adam(), metrics: ['accuracy'], batchSize: 8 }

async function settle() {
  for (let i = 0; i < 4; i++) {
    globalThis.gc()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const { rss, heapUsed, external } = process.memoryUsage()
  return { rss, heapUsed, external }
}

// V8 sizes its own heap to the work in the first seconds.
for (let i = 0; i < 2; i++) await net.fit(data, { ...options, epochs: 20 })
const before = await settle()
let events = 0
for await (const _ of net.fit(data, { ...options, epochs: 40 })) events++
const after = await settle()
const grown = Object.fromEntries(Object.entries(after).map(([kind, bytes]) => [kind, (bytes - before[kind]) / 1e6]))
console.log(JSON.stringify({ ...grown, events }))
