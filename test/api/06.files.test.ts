// Saving and loading a model: bit for bit, whole or not at all, and never anything but the weights of this very model.
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  batchNorm,
  crossEntropy,
  decodeSafetensors,
  dense,
  encodeSafetensors,
  type Model,
  model,
  relu,
  sgd,
} from '../../src/index.js'
import { classes, expectError, failure, fingerprintOf } from './help.js'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gradline-files-'))
})
afterAll(() => rm(folder, { recursive: true }))

const net = (seed = 1, units = 6): Model =>
  model([4], [dense(units), batchNorm(), relu(), dense(3)], { seed, name: 'net' })
const data = classes(40, 4, 3)
const trained = async (seed = 1): Promise<Model> => {
  const made = net(seed)
  await made.fit(data, { loss: crossEntropy(), optimizer: sgd({ lr: 0.1 }), epochs: 2 })
  return made
}

describe('save and load', () => {
  it('give back every bit, state included', async () => {
    const file = join(folder, 'whole.safetensors')
    const first = await trained()
    await first.save(file)
    const second = net(9)
    await second.load(file)
    expect(await fingerprintOf(second)).toBe(await fingerprintOf(first))
    expect((await second.predict(data)).data).toEqual((await first.predict(data)).data)
    expect((await second.weights()).get('batchNorm1.mean')!.data).not.toEqual(new Float32Array(6))
    const loss = { loss: crossEntropy() }
    expect(await second.evaluate(data, loss)).toEqual(await first.evaluate(data, loss))
  })

  it('write a safetensors file with one tensor per path', async () => {
    const file = join(folder, 'named.safetensors')
    const made = await trained()
    await made.save(file)
    const { tensors } = decodeSafetensors(await readFile(file))
    const weights = await made.weights()
    expect([...tensors.keys()].sort()).toEqual([...weights.keys()].sort())
    for (const [path, { shape, data: values }] of weights) {
      expect(tensors.get(path)).toMatchObject({ dtype: 'F32', shape: [...shape] })
      expect([...(tensors.get(path)!.data as Float32Array)]).toEqual([...values])
    }
  })

  it('write equal bytes for equal weights and replace an older file', async () => {
    const [a, b] = [join(folder, 'a.safetensors'), join(folder, 'b.safetensors')]
    await (await trained()).save(a)
    await (await trained(2)).save(b)
    await (await trained()).save(b)
    expect(await readFile(b)).toEqual(await readFile(a))
  })

  it('continue training from where it was', async () => {
    const file = join(folder, 'on.safetensors')
    const first = await trained()
    await first.save(file)
    const second = net(1)
    await second.load(file)
    const more = () => ({ loss: crossEntropy(), optimizer: sgd({ lr: 0.1 }), epochs: 2 })
    await first.fit(data, more())
    await second.fit(data, more())
    expect(await fingerprintOf(second)).toBe(await fingerprintOf(first))
  })

  it('leave no temporary file, and the old file when writing fails', async () => {
    const own = join(folder, 'own')
    await mkdir(own)
    const file = join(own, 'm.safetensors')
    const made = await trained()
    await made.save(file)
    expect(await readdir(own)).toEqual(['m.safetensors'])
    const before = await readFile(file)
    await expectError('missing', ['nowhere'], () => made.save(join(own, 'nowhere', 'm.safetensors')))
    await expectError('file', [own], () => made.save(own))
    await expectError('argument', ['a file name'], () => made.save(undefined as never))
    if (process.getuid?.() !== 0) {
      await chmod(own, 0o500)
      await expectError('file', ['permission'], () => made.save(file))
      await chmod(own, 0o700)
    }
    expect(await readFile(file)).toEqual(before)
    expect(await readdir(own)).toEqual(['m.safetensors'])
  })
})

describe('loading what is not a file of this model', () => {
  const cases: [string, (good: Buffer) => Uint8Array, string[]][] = [
    ['an empty file', () => new Uint8Array(), []],
    ['text', () => Buffer.from('these are no weights at all'), []],
    ['a truncated header', (good) => good.subarray(0, 20), []],
    ['truncated values', (good) => good.subarray(0, good.length - 4), []],
    ['values too many', (good) => Buffer.concat([good, Buffer.alloc(4)]), []],
    [
      'a header longer than the file',
      (good) => {
        const bytes = Buffer.from(good)
        bytes.writeBigUInt64LE(2n ** 40n, 0)
        return bytes
      },
      [],
    ],
    [
      'a header that lies about a shape',
      (good) => Buffer.from(good.toString('latin1').replace('"shape":[4,6]', '"shape":[6,4]'), 'latin1'),
      ['dense1.weight', '[4, 6]', '[6, 4]'],
    ],
    [
      'a header that lies about an offset',
      (good) => Buffer.from(good.toString('latin1').replace('"data_offsets":[0,', '"data_offsets":[8,'), 'latin1'),
      [],
    ],
    [
      'another element type',
      (good) => Buffer.from(good.toString('latin1').replaceAll('"F32"', '"I32"'), 'latin1'),
      ['F32', 'I32'],
    ],
    [
      'weights of another model',
      () => encodeSafetensors([{ name: 'other', dtype: 'F32', shape: [1], data: Float32Array.of(1) }]),
      ['lacks', 'dense1.weight', 'other'],
    ],
  ]

  it.each(cases)('%s changes nothing', async (what, damage, texts) => {
    const made = await trained()
    const before = await fingerprintOf(made)
    const file = join(folder, 'good.safetensors')
    await made.save(file)
    const bad = join(folder, `${what.replaceAll(' ', '-')}.safetensors`)
    await writeFile(bad, damage(await readFile(file)))
    await expectError('data', [bad, ...texts], () => made.load(bad))
    expect(await fingerprintOf(made)).toBe(before)
  })

  it('weights of other sizes, or a file that is not there', async () => {
    const file = join(folder, 'sizes.safetensors')
    await net(1, 7).save(file)
    const made = await trained()
    const before = await fingerprintOf(made)
    await expectError('data', ['[4, 6]', '[4, 7]', 'dense1.weight', file], () => made.load(file))
    await expectError('missing', ['nothing.safetensors'], () => made.load(join(folder, 'nothing.safetensors')))
    await expectError('file', ['folder'], () => made.load(folder))
    expect(await fingerprintOf(made)).toBe(before)
  })

  it('is refused while the model trains', async () => {
    const file = join(folder, 'meanwhile.safetensors')
    await (await trained(2)).save(file)
    const made = net()
    const control = new AbortController()
    const run = made.fit(data, { loss: crossEntropy(), optimizer: sgd(), epochs: 1e6, signal: control.signal })
    const stopped = expectError('aborted', [], () => run)
    for (let i = 0; i < 5; i++) {
      await new Promise((resolve) => setTimeout(resolve, 7))
      const error = await failure(() => made.load(file))
      expect((error as { code?: string }).code).toMatch(/^(busy|state)$/)
    }
    control.abort()
    await stopped
    await made.load(file)
  })
})
