// The device `cuda` as a user has it, on the emulated card: whole training through graphs of several steps against the CPU,
// the same bits whichever way steps are launched, and what a machine without a card says. Every op by itself is asked by
// native/replay on the same library.
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, vi } from 'vitest'
import { findCuda } from '../../src/binaries.js'
import { type Device, type DeviceOptions, device, devices } from '../../src/device.js'
import {
  adam,
  assign,
  crossEntropy,
  dataset,
  dense,
  dropout,
  type Layer,
  model,
  momentum,
  ops,
  record,
  relu,
  variable,
} from '../../src/index.js'
import { Program } from '../../src/program.js'
import { expectError, fingerprintOf, numbers } from '../api/help.js'
import { data, expectAgreement, library, type Network, networks, roundingNetworks, trained } from './networks.js'

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

describe.skipIf(!existsSync(library)).each(['tf32', 'bf16'] as const)('in %s, on the emulated card', (numerics) => {
  it.each(Object.entries(roundingNetworks))('%s learns what it learns in fp32', async (_, network) => {
    const got = await trained(network, card(), numerics)
    await expectAgreement(got, await trained(network, undefined), numerics)
    const print = await fingerprintOf(got.net)
    expect(await fingerprintOf((await trained(network, card('check'), numerics)).net)).toBe(print)
    // Whether anything was rounded: small products stay exact, convolutions never do.
    const exact = await fingerprintOf((await trained(network, card())).net)
    expect(print === exact).toBe(network === networks['an MLP with batch norm'])
  })

  it('says which products are rounded', () => {
    const text = (rows: number) =>
      record(({ x, w }) => ops.matmul(x, w), { x: [rows, 512], w: [512, 512] }, { device: card(), numerics }).print()
    expect(text(128)).toMatch(
      new RegExp(`^program  ${numerics}[^]*MmaTile<Matmul<false, false>, .*${numerics}, 64, 64, 4>`, 'i'),
    )
    expect(text(16)).toContain('ProductTile')
    const image = record(
      ({ x, w }) => ops.conv2d(x, w),
      { x: [1, 6, 6, 3], w: [3, 3, 3, 8] },
      { device: card(), numerics },
    )
    expect(image.print()).toContain('MmaTile<Conv2d')
  })
})

// What program.print() says of the training step of a network that learns from bytes, and what it has learned.
async function trainedStep(shape: number[], layers: Layer[], batchSize: number, graph: DeviceOptions['graph']) {
  const net = model(shape, layers, { seed: 3, device: card(graph) })
  const size = shape.reduce((a, b) => a * b)
  const count = 4 * batchSize
  const inputs = Uint8Array.from({ length: count * size }, (_, i) => (i * i) % 251)
  const labels = Int32Array.from({ length: count }, (_, i) => i % 3)
  const running = vi.spyOn(Program.prototype, 'runMany')
  await net.fit(dataset(inputs, labels, { shape: [count, ...shape] }), {
    loss: crossEntropy(),
    optimizer: adam(),
    batchSize,
  })
  const programs = running.mock.contexts as Program[]
  running.mockRestore()
  const step = programs.find(({ name }) => name.includes('train'))?.print() ?? ''
  const nodes = [...step.matchAll(/\(node [\d-]+\/(\d+)/g)].map(([, all]) => Number(all))
  const barriers = Math.max(0, ...[...step.matchAll(/, barrier [\d-]+\/(\d+)\)/g)].map(([, all]) => Number(all)))
  return { nodes, barriers, fingerprint: await fingerprintOf(net) }
}

describe.skipIf(!existsSync(library)).each([
  ['an MLP 784-128-10 in batches of 128, shared by several blocks', [784], [128, 10], 128, 1, 6],
  ['an MLP 4-32-16-4, left to one block', [4], [32, 16, 4], 16, 1, 0],
] as const)('a step of %s', (_, shape, widths, batch, most, barriers) => {
  const layers = () => widths.flatMap((units, i) => (i < widths.length - 1 ? [dense(units), relu()] : [dense(units)]))
  it(`has at most ${most} nodes and ${barriers} barriers, and the bits of its launches`, async () => {
    const merged = await trainedStep([...shape], layers(), batch, true)
    expect(merged.barriers).toBe(barriers)
    expect(merged.nodes.length).toBeGreaterThan(16) // an op each
    for (const nodes of merged.nodes) expect(nodes).toBeLessThanOrEqual(most)
    for (const graph of ['check', 'unmerged', false] as const) {
      expect((await trainedStep([...shape], layers(), batch, graph)).fingerprint, `${graph}`).toBe(merged.fingerprint)
    }
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

  it('makes several nodes of a program with more stages than one has room for', async () => {
    const program = (on: Device) =>
      record(
        ({ x }) => {
          let y = x
          for (let i = 0; i < 450; i++) y = ops.sub(ops.neg(y), x)
          return y
        },
        { x: [5] },
        { device: on },
      )
    const nodes = [
      ...program(card())
        .print()
        .matchAll(/\(node [\d-]+\/(\d+)/g),
    ].map(([, all]) => Number(all))
    expect(Math.max(...nodes)).toBeGreaterThan(1)
    expect(Math.max(...nodes)).toBeLessThan(9)
    const x = [1, 2, 3, 4, 5]
    const expected = (await program(device('cpu')).run({ x })).data
    for (const graph of [true, 'check'] as const) expect((await program(card(graph)).run({ x })).data).toEqual(expected)
  })

  it('trains networks of several lanes at once, each to the bits it has alone', async () => {
    const { layers } = networks['an MLP with batch norm'] as Network
    const net = (seed: number, lane: number) =>
      model([7], layers(), { seed, device: device('cuda', { library, lane }) })
    const options = { loss: crossEntropy(), optimizer: momentum({ lr: 0.05 }), batchSize: 8, epochs: 3 }
    const alone: string[] = []
    for (const seed of [1, 2, 3]) {
      const one = net(seed, 0)
      await one.fit(data([7]), options)
      alone.push(await fingerprintOf(one))
    }
    const together = [1, 2, 3].map((seed) => net(seed, seed))
    expect(new Set(together.map((one) => one.device)).size).toBe(3)
    await Promise.all(together.map((one) => one.fit(data([7]), { ...options, optimizer: momentum({ lr: 0.05 }) })))
    expect(await Promise.all(together.map(fingerprintOf))).toEqual(alone)
  })

  it('predicts, and says which card it is', async () => {
    const net = model([7], [dense(5), dropout(0.5)], { device: card() })
    expect(await net.predict(numbers(7))).toBeDefined()
    expect(card().describe()).toBe(
      'cuda:0 emulated card, compute capability 9.0, 3 multiprocessors, products by own kernels',
    )
  })
})

describe('without a card', () => {
  it('takes only options of its own', async () => {
    await expectError('argument', ['threads'], () => device('cuda', { library, threads: 2 }))
    await expectError('argument', ['graph'], () => device('cpu', { graph: false }))
    await expectError('argument', ['lane'], () => device('cpu', { lane: 1 }))
    await expectError('argument', ['lane'], () => device('cuda', { library, lane: -1 }))
    await expectError('argument', ['graph'], () => device('cuda', { library, graph: 'sometimes' as never }))
  })

  it.skipIf(devices().length > 1)('says what is missing, and lists the CPU only', async () => {
    expect(devices()).toEqual(['cpu'])
    const missing = existsSync(findCuda().path) ? 'no NVIDIA driver' : 'no CUDA part'
    await expectError('native', [missing], () => device('cuda'))
    await expectError('native', [missing], () => model([4], [dense(2)], { device: 'cuda:1' }))
    const net = model([7], [dense(3)])
    const options = { loss: crossEntropy(), optimizer: momentum({ lr: 0.05 }), batchSize: 8 }
    await expectError('native', [missing], () => net.fit(data([7]), { ...options, device: 'cuda' }))
    expect((await net.fit(data([7]), options)).epochs).toHaveLength(1)
  })

  it('trains a model where it is, and says so', async () => {
    const net = model([7], [dense(3)])
    const options = { loss: crossEntropy(), optimizer: momentum({ lr: 0.05 }), batchSize: 8 }
    await expectError('argument', ['the device of model, cpu, but received ref', "{ device: 'ref' }"], () =>
      net.fit(data([7]), { ...options, device: 'ref' }),
    )
    expect((await net.fit(data([7]), { ...options, device: 'cpu' })).epochs).toHaveLength(1)
    expect((await net.fit(data([7]), { ...options, device: net.device })).epochs).toHaveLength(1)
  })

  it('refuses a library that is none', async () => {
    await expectError('native', ['The CUDA part of gradline cannot be loaded', 'invalid ELF header'], () =>
      device('cuda', { library: fileURLToPath(import.meta.url) }),
    )
    await expectError('native', ['no CUDA part'], () => device('cuda', { library: '/nowhere/libgradline.so' }))
  })
})
