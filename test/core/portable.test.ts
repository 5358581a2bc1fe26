// Numerics 'portable': the same bits whatever instruction set is asked for and however many threads. That other processors and
// compilers give them too is held by the legs of `npm run test:pack`.

import { describe, expect, it } from 'vitest'
import { device, machine } from '../../src/device.js'
import * as gradline from '../../src/index.js'
import { dense, model, ops, tensor } from '../../src/index.js'
import { compute } from '../ops/harness.js'

// A script is plain JavaScript without types.
const script: string = new URL('../../scripts/pack/portable.mjs', import.meta.url).href
const { portableHashes } = (await import(script)) as {
  portableHashes: (library: typeof gradline, options?: gradline.DeviceOptions) => Promise<Record<string, string>>
}

describe('numerics portable', () => {
  it('gives equal weights for every instruction set and number of threads', async () => {
    const wanted = await portableHashes(gradline, { threads: 1 })
    expect(Object.values(wanted).join(' ')).toMatch(/^([0-9a-f]{64} ?){17}$/)
    for (const threads of [2, 3]) expect(await portableHashes(gradline, { threads })).toEqual(wanted)
    for (const isa of machine().isas as ('avx512' | 'avx2' | 'base')[]) {
      expect(await portableHashes(gradline, { isa })).toEqual(wanted)
    }
    // Else the programs of class fast would prove nothing.
    expect(wanted['channels fast']).not.toBe(wanted['channels fp32'])
  })

  it('is told by the device', () => {
    expect(device('cpu', { numerics: 'portable', threads: 2 }).describe()).toBe('cpu portable, 2 threads')
    expect(device('cpu', { numerics: 'native', threads: 2 })).toBe(device('cpu', { threads: 2 }))
    expect(model([2], [dense(1)], { numerics: 'portable' }).device.describe()).toMatch(/^cpu portable/)
  })

  it('is for the cpu, and no other word is understood', () => {
    expect(() => device('ref', { numerics: 'portable' })).toThrow(/the device 'cpu'.*numerics portable.*"ref"/)
    expect(() => device('cpu', { numerics: 'exact' as 'portable' })).toThrow(/numerics.*"exact"/)
  })

  it('keeps denormal numbers, which others count as zero', () => {
    const tiny = [2 ** -130, -(2 ** -149)]
    const twice = (numerics: 'native' | 'portable') =>
      Array.from(
        compute((x) => ops.scale(x, 2), [tensor(tiny)], { device: device('cpu', { numerics }) })[0] as Float32Array,
      )
    expect(twice('portable')).toEqual(tiny.map((x) => 2 * x))
    expect(twice('native').map(Math.abs)).toEqual([0, 0])
  })
})
