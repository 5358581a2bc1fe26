// A worker thread of processes.test.ts: trains, tells each epoch, and at the end its weights as one text.
import { createHash } from 'node:crypto'
import { parentPort, workerData } from 'node:worker_threads'
import { adam, crossEntropy, dataset, dense, model, relu } from 'gradline'

const { seed, epochs } = workerData
const samples = 4000
const data = dataset(
  Float32Array.from({ length: samples * 32 }, (_, i) => Math.sin(i)),
  Int32Array.from({ length: samples }, (_, i) => i % 10),
  { shape: [samples, 32] },
)
const net = model([32], [dense(64), relu(), dense(10)], { seed })
for await (const event of net.fit(data, { loss: crossEntropy(), optimizer: adam(), epochs })) {
  parentPort.postMessage(event.kind)
}
const { params } = await net.snapshot()
parentPort.postMessage(createHash('sha256').update(new Uint8Array(params.buffer)).digest('hex'))
