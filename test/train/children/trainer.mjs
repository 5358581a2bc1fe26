// A worker thread of processes.test.ts: trains, tells each epoch, and at the end its weights as one text. With `calls` it does
// not wait for epochs but is in native calls all the time.
import { createHash } from 'node:crypto'
import { parentPort, workerData } from 'node:worker_threads'
import { adam, crossEntropy, dataset, dense, model, ops, record, relu } from 'gradline'

const { seed, epochs, calls } = workerData
const samples = 4000
const data = dataset(
  Float32Array.from({ length: samples * 32 }, (_, i) => Math.sin(i)),
  Int32Array.from({ length: samples }, (_, i) => i % 10),
  { shape: [samples, 32] },
)
const net = model([32], [dense(64), relu(), dense(10)], { seed })
if (calls) {
  const program = record(({ x }) => ops.matmul(x, x), { x: [40, 40] })
  const x = new Float32Array(1600)
  parentPort.postMessage('calls')
  for (;;) program.runSync({ x })
}
for await (const event of net.fit(data, { loss: crossEntropy(), optimizer: adam(), epochs })) {
  parentPort.postMessage(event.kind)
}
const { params } = await net.snapshot()
parentPort.postMessage(createHash('sha256').update(new Uint8Array(params.buffer)).digest('hex'))
