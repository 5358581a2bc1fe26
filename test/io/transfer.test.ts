// Weights of one model for another: names translated by a map, and only what both have.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { adam, batchNorm, crossEntropy, dense, model, relu, replaceHead } from '../../src/index.js'
import { classes, expectError, fingerprintOf } from '../api/help.js'

const folder = mkdtempSync(join(tmpdir(), 'gradline-transfer-'))
afterAll(() => rmSync(folder, { recursive: true }))

const source = () => model([6], [dense(5, { name: 'fc' }), batchNorm(), relu(), dense(3)], { seed: 3 })
const target = () => model([6], [dense(5), batchNorm({ name: 'bn' }), relu(), dense(4, { name: 'out' })], { seed: 8 })

describe('load with a map', () => {
  it('translates names of layers and entries, and takes what both have', async () => {
    const file = join(folder, 'a.safetensors')
    const [net, other] = [source(), target()]
    await net.save(file)
    const map = { dense1: 'fc', bn: 'batchNorm1', 'bn.gamma': 'batchNorm1.beta' }
    const before = await other.weights()
    expect((await other.load(file, { map, strict: false })).sort()).toEqual(
      ['bn.beta', 'bn.gamma', 'bn.mean', 'bn.variance', 'dense1.weight'].sort(),
    )
    const [from, to] = [await net.weights(), await other.weights()]
    expect(to.get('dense1.weight')!.data).toEqual(from.get('fc.weight')!.data)
    expect(to.get('bn.gamma')!.data).toEqual(from.get('batchNorm1.beta')!.data)
    expect(to.get('out.weight')!.data).toEqual(before.get('out.weight')!.data)
    const byFunction = (path: string) => path.replace(/^dense1/, 'fc')
    expect(await target().load(file, { map: byFunction, strict: false })).toEqual(['dense1.weight'])
  })
  it('is strict unless told otherwise, and never takes another shape', async () => {
    const file = join(folder, 'b.safetensors')
    await source().save(file)
    const other = target()
    const print = await fingerprintOf(other)
    await expectError('data', ['does not fit', 'out.weight'], () => other.load(file, { map: { dense1: 'fc' } }))
    await expectError('data', ['does not fit'], () => other.load(file, { map: () => 'nothing', strict: false }))
    await expectError('data', ['[5, 4]', 'out.weight'], () =>
      other.load(file, { map: { out: 'dense2' }, strict: false }),
    )
    await expectError('argument', ['"mapp"', 'map'], () => other.load(file, { mapp: {} } as never))
    expect(await fingerprintOf(other)).toBe(print)
  })
})

describe('transfer', () => {
  it('trains a new head on frozen features, which stay the same bit for bit', async () => {
    const net = source()
    await net.fit(classes(60, 6, 3), { loss: crossEntropy(), optimizer: adam({ lr: 0.01 }), epochs: 3 })
    const grown = await replaceHead(net, 5)
    grown.freeze(/^(?!dense2)/)
    await grown.fit(classes(60, 6, 5, 2), { loss: crossEntropy(), optimizer: adam({ lr: 0.01 }), epochs: 3 })
    const [before, after] = [await net.weights(), await grown.weights()]
    for (const [path, { data }] of after) {
      if (!path.startsWith('dense2.')) expect(data, path).toEqual(before.get(path)!.data)
    }
  })
})
