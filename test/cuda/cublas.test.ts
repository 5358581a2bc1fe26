// The device `cuda` with cuBLAS as a user has it: backend on the emulated card, binding, and the stand-in for the libraries.
// Training against the CPU, what is printed, measured plans, and what a machine without cuBLAS says.
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { Cublas } from '../../src/cublas.js'
import { type Device, type DeviceOptions, device } from '../../src/device.js'
import { ops, record, variable } from '../../src/index.js'
import { cublasAddon, findCublas } from '../../src/native.js'
import { expectError, fingerprintOf, numbers } from '../api/help.js'
import { binding, control, folder } from '../cublas/standin.js'
import { expectAgreement, library, networks, trained } from './networks.js'

const ready = existsSync(library) && existsSync(binding)
const card = (options: DeviceOptions = {}): Device => device('cuda', { library, blas: true, ...options })

describe.skipIf(!ready)('without cuBLAS', () => {
  it.skipIf('provider' in findCublas())('is an error only when it was asked for', async () => {
    await expectError('missing', ['cuda:0 with cuBLAS', 'libcublasLt.so.13', 'leave out `blas`'], () => card())
    expect(device('cuda', { library }).describe()).toContain('products by own kernels')
    await expectError('argument', ['blas'], () => card({ blas: 1 as never }))
    await expectError('argument', ['tune'], () => card({ tune: '' }))
    await expectError('argument', ['tune'], () => card({ blas: false, tune: 'plans.jsonl' }))
    await expectError('argument', ['blas'], () => device('cpu', { blas: true }))
  })
})

describe.skipIf(!ready)('with cuBLAS', () => {
  let standin: ReturnType<typeof control>
  beforeAll(() => {
    standin = control()
    standin.attach(library)
    expect(cublasAddon().load(folder()).found).toBe(true)
    standin.reset()
  })
  afterEach(() => {
    const { violations, alive } = standin.report()
    expect(violations).toEqual([])
    expect(Object.keys(alive).filter((what) => !['handles', 'descs', 'layouts'].includes(what))).toEqual([])
  })

  describe.each(Object.entries(networks))('%s', (_, network) => {
    it('learns what it learns on the CPU', async () => {
      const before = standin.report().counts.cublasLtMatmul ?? 0
      await expectAgreement(await trained(network, card()), await trained(network, undefined))
      expect(standin.report().counts.cublasLtMatmul).toBeGreaterThan(before)
    })

    it('has equal bits as graphs, one by one, compared, and twice', async () => {
      const print = async (graph: boolean | 'check' | 'unmerged') =>
        fingerprintOf((await trained(network, card({ graph }))).net)
      const graph = await print(true)
      expect(await print(true)).toBe(graph)
      expect(await print(false)).toBe(graph)
      expect(await print('check')).toBe(graph)
      expect(await print('unmerged')).toBe(graph)
    })
  })

  describe.each(['tf32', 'bf16'] as const)('in %s', (numerics) => {
    it.each(Object.entries(networks))('%s learns what it learns in fp32', async (_, network) => {
      const got = await trained(network, card(), numerics)
      await expectAgreement(got, await trained(network, undefined), numerics)
      expect(await fingerprintOf(got.net)).not.toBe(await fingerprintOf((await trained(network, card())).net))
    })

    it('says so, and asks for large products only unless told otherwise', () => {
      expect(layer(card(), numerics).print()).toContain(`cublas gemm in ${numerics} with bias + Unary<relu>`)
      expect(layer(device('cuda', { library }), numerics).print()).toContain('ProductTile')
    })
  })

  const layer = (on: Device, numerics: 'fp32' | 'tf32' | 'bf16' = 'fp32') => {
    const [w, b] = [variable([5, 3], { name: 'w', value: numbers(15) }), variable([3], { name: 'b' })]
    return record(({ x }) => ops.relu(ops.add(ops.matmul(x, w), b)), { x: [4, 5] }, { device: on, numerics })
  }

  it('says who makes a product', () => {
    expect(card().describe()).toMatch(/multiprocessors, products by cublas 13\.1\.2$/)
    expect(layer(card()).print()).toContain('cublas gemm with bias + Unary<relu> 1x256 (node 1-2/2)')
    expect(layer(device('cuda', { library, blas: false })).print()).toMatch(
      /ProductTile<Matmul<false, false>, 32, 32, 4, 1>/,
    )
    expect(layer(device('cuda', { library })).print()).toContain('ProductTile')
    expect(findCublas()).toMatchObject({ version: '13.1.2' })
  })

  it('names the layer whose product cannot be planned', async () => {
    standin.reset({ failAt: 1 })
    await expectError('native', ['a product of 4x3x5 by cublas', 'blas: false'], () => layer(card()).print())
    standin.reset()
  })

  it('measures what its file does not know, and keeps to it', async () => {
    const path = join(mkdtempSync(join(tmpdir(), 'gradline-plans-')), 'plans.jsonl')
    writeFileSync(path, '{"key":"cut off\n')
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const measuring = card({ tune: path })
    expect(warned.mock.calls).toEqual([[`${path} is no file of measured plans; it is ignored and left alone`]])
    warned.mockRestore()
    expect(layer(measuring).print()).toContain('cublas gemm with bias, measured + ')
    expect(readFileSync(path, 'utf8')).toBe('{"key":"cut off\n')
    await expectError('state', ['keeps measured plans in', 'other.jsonl'], () => card({ tune: 'other.jsonl' }))
    await expectError('state', ['keeps measured plans in'], () => new Cublas({ cacheFile: 'other.jsonl' }))
    expect(layer(measuring, 'tf32').print()).toContain('cublas gemm in tf32 with bias, measured + ')
    // Without `blas: true` small products stay within the launch of their neighbours.
    const large = device('cuda', { library, tune: path })
    expect(large.describe()).toMatch(/products by cublas 13\.1\.2, small ones by own kernels$/)
    expect(layer(large).print()).toMatch(/ProductTile.* \(node 1\/1\)/)
    const [filter, w] = [variable([1, 1, 3, 4], { name: 'filter' }), variable([4, 2], { name: 'w' })]
    const both = record(
      ({ x }) => ops.matmul(ops.reshape(ops.relu(ops.conv2d(x, filter)), [-1, 4]), w),
      { x: [2, 3, 3, 3] },
      { device: large },
    )
    expect(both.print()).toMatch(
      /cublas gemm, measured \+ Unary<relu> 1x256 \(node 1-2\/2\)[\s\S]*ProductTile.* \(node 2\/2\)/,
    )
    // Nobody else gets measured plans.
    expect(layer(card()).print()).toContain('cublas gemm with bias + ')
    const [mlp] = Object.values(networks)
    if (mlp) await expectAgreement(await trained(mlp, measuring), await trained(mlp, undefined))
  })
})
