// The device `cuda` as a user has it, on the emulated card: whole training through graphs of several steps against the CPU,
// the same bits whichever way steps are launched, and what a machine without a card says. Every op by itself is asked by
// native/replay on the same library.
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { type Device, type DeviceOptions, device, devices } from '../../src/device.js'
import { assign, dense, dropout, model, ops, record, variable } from '../../src/index.js'
import { cudaLibrary } from '../../src/native.js'
import { expectError, fingerprintOf, numbers } from '../api/help.js'
import { expectAgreement, library, networks, trained } from './networks.js'

const card = (graph: DeviceOptions['graph'] = true): Device => device('cuda', { library, graph })

describe.skipIf(!existsSync(library)).each(Object.entries(networks))('%s on the emulated card', (_, network) => {
  it('learns what it learns on the CPU', async () => {
    await expectAgreement(await trained(network, card()), await trained(network, undefined))
  })

  it('has equal bits as graphs, one by one, compared, and twice', async () => {
    const print = async (graph: DeviceOptions['graph']) => fingerprintOf((await trained(network, card(graph))).net)
    const graph = await print(true)
    expect(await print(true)).toBe(graph)
    expect(await print(false)).toBe(graph)
    expect(await print('check')).toBe(graph)
  })
})

describe.skipIf(!existsSync(library))('the emulated card', () => {
  it('reports a bad index as the CPU does', async () => {
    const message = async (on: Device) => {
      const table = variable([3, 2], { name: 'table' })
      const program = record(
        ({ rows }) => ops.gather(table, rows),
        { rows: { shape: [2], dtype: 'int32' } },
        { device: on },
      )
      const running = program.runMany(40, { rows: [0, 9] })
      return running.then(
        () => 'no error',
        (error: Error) => error.message,
      )
    }
    const said = await message(card())
    expect(said).toContain('index 9 in row 1 is outside 0..2')
    expect(said).toBe(await message(device('cpu')))
  })

  it('runs many steps of a small program at once, with the results of each', async () => {
    const x = variable([1], { name: 'x', value: 1 })
    const program = record(
      () => {
        const next = ops.add(x, 1)
        assign(x, next)
        return next
      },
      {},
      { device: card() },
    )
    const results = await program.runMany(100)
    expect([...results].map((y) => y.item())).toEqual(Array.from({ length: 100 }, (_, i) => i + 2))
    expect([...(await program.runMany(3))].map((y) => y.item())).toEqual([102, 103, 104])
    const profile = await program.profile(2)
    expect(profile.rows[0]?.plan).toContain('Unary<scale> 1x256')
  })

  it('predicts, and says which card it is', async () => {
    const net = model([7], [dense(5), dropout(0.5)], { device: card() })
    expect(await net.predict(numbers(7))).toBeDefined()
    expect(card().describe()).toBe(
      'cuda:0 emulated card, compute capability 9.0, 1 multiprocessors, products by own kernels',
    )
  })
})

describe('without a card', () => {
  it('takes only options of its own', async () => {
    await expectError('argument', ['threads'], () => device('cuda', { library, threads: 2 }))
    await expectError('argument', ['graph'], () => device('cpu', { graph: false }))
    await expectError('argument', ['graph'], () => device('cuda', { library, graph: 'sometimes' as never }))
  })

  it.skipIf(devices().length > 1)('says what is missing, and lists the CPU only', async () => {
    expect(devices()).toEqual(['cpu'])
    const missing = existsSync(cudaLibrary()) ? 'no NVIDIA driver' : 'no CUDA part'
    await expectError('native', [missing], () => device('cuda'))
    await expectError('native', [missing], () => model([4], [dense(2)], { device: 'cuda:1' }))
  })

  it('refuses a library that is none', async () => {
    await expectError('native', ['cannot load a backend'], () =>
      device('cuda', { library: fileURLToPath(import.meta.url) }),
    )
    await expectError('native', ['no CUDA part'], () => device('cuda', { library: '/nowhere/libgradline.so' }))
  })
})
