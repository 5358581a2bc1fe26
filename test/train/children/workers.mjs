// Run by processes.test.ts: two workers that train at the same time while this thread trains too; or, with `terminate`, ten
// workers that are ended in the middle of training, or of native calls one after the other; or, with `exit N`, an exit in
// the middle of training.
import { Worker } from 'node:worker_threads'
import { adam, crossEntropy, dataset, dense, model } from 'gradline'

const start = (workerData) => new Worker(new URL('./trainer.mjs', import.meta.url), { workerData })
const result = (worker) =>
  new Promise((resolve, reject) => {
    let last
    worker.on('message', (message) => {
      last = message
    })
    worker.on('error', reject)
    worker.on('exit', () => resolve(last))
  })

const data = dataset(
  Float32Array.from({ length: 4000 }, (_, i) => Math.sin(i)),
  Int32Array.from({ length: 1000 }, (_, i) => i % 3),
  { shape: [1000, 4] },
)
const own = () => model([4], [dense(3)], { seed: 1 })
const options = { loss: crossEntropy(), optimizer: adam() }

const [mode, value] = process.argv.slice(2)
if (mode === 'train') {
  const jobs = [start({ seed: 1, epochs: 5 }), start({ seed: 1, epochs: 5 }), start({ seed: 2, epochs: 5 })].map(result)
  const history = await own().fit(data, { ...options, epochs: 50 })
  console.log(JSON.stringify({ hashes: await Promise.all(jobs), epochs: history.epochs.length }))
}
if (mode === 'terminate') {
  let ended = 0
  for (let i = 0; i < 10; i++) {
    const worker = start({ seed: 1, epochs: 1e9, calls: i % 2 === 1 })
    const done = result(worker)
    await new Promise((resolve) => worker.once('message', resolve))
    await new Promise((resolve) => setTimeout(resolve, 3 * i))
    await worker.terminate()
    await done
    ended++
  }
  const history = await own().fit(data, options)
  console.log(JSON.stringify({ ended, epochs: history.epochs.length }))
}
if (mode === 'exit') {
  setTimeout(() => process.exit(Number(value)), 30)
  await own().fit(data, { ...options, epochs: 1e9 })
}
if (mode === 'throw') {
  setTimeout(() => {
    throw new Error('mine')
  }, 30)
  await own().fit(data, { ...options, epochs: 1e9 })
}
