// Trains on images that are not held in memory as a whole: an async generator reads the next batch from a file while the
// step of the one before computes: npm run example -- streamed --epochs 3

import { mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import {
  adam,
  conv2d,
  crossEntropy,
  datasets,
  dense,
  flatten,
  maxPool2d,
  model,
  progress,
  randomCrop,
  relu,
} from 'gradline'

const { values } = parseArgs({
  options: { epochs: { type: 'string', default: '3' }, seed: { type: 'string', default: '1' } },
})

// A file of 55,000 images of 784 bytes, each behind its label: a stand-in for what is too large to be held.
const { train, validation } = (await datasets.mnist()).split({ validation: 5000, shuffle: false })
const folder = await mkdtemp(join(tmpdir(), 'streamed-'))
const path = join(folder, 'images')
const record = 1 + 28 * 28
const bytes = new Uint8Array(train.length * record)
for (let i = 0; i < train.length; i++) {
  bytes[i * record] = train.labels?.data[i] ?? 0
  bytes.set(train.inputs.data.subarray(i * 784, (i + 1) * 784) as Uint8Array, i * record + 1)
}
await writeFile(path, bytes)

// Called once per epoch. Bytes in x become floats from 0 to 1 on the device, whole numbers in y are class labels. Both arrays
// may be filled anew: a batch is copied before the next one is asked for.
async function* batches(size = 100) {
  const file = await open(path)
  const buffer = Buffer.alloc(size * record)
  const [x, y] = [new Uint8Array(size * 784), new Int32Array(size)]
  try {
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length)
      const rows = bytesRead / record
      if (rows === 0) return
      for (let i = 0; i < rows; i++) {
        y[i] = buffer[i * record] as number
        x.set(buffer.subarray(i * record + 1, (i + 1) * record), i * 784)
      }
      yield { x: x.subarray(0, rows * 784), y: y.subarray(0, rows) }
    }
  } finally {
    await file.close() // also when the run is aborted or fails
  }
}

const net = model(
  [28, 28, 1],
  [conv2d(8, 3, { padding: 'same' }), relu(), maxPool2d(2), flatten(), dense(64), relu(), dense(10)],
  { seed: Number(values.seed) },
)

// Each image is moved by up to two pixels, in training only.
await net.fit(batches, {
  loss: crossEntropy(),
  optimizer: adam({ lr: 0.001 }),
  metrics: ['accuracy'],
  epochs: Number(values.epochs),
  augment: [randomCrop({ padding: 2 })],
  validation,
  callbacks: [progress()],
})
await rm(folder, { recursive: true })
