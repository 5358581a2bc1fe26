// The gates on made-up numbers, and packs: what is written about a program is what native/replay reads. Runs nothing native
// but the recording.
import { describe, expect, it } from 'vitest'
import { compareInstructions } from '../../bench/gates/instructions.js'
import { exceeded, tolerated } from '../../bench/gates/table.js'
import { everythingLeft, Pack, type Run, readProgram, watch } from '../../bench/pack.js'
import { device } from '../../src/device.js'
import { ops, record, sgd, Updater, variable } from '../../src/index.js'

describe('tables', () => {
  it('tolerate a share and name what is beyond it, new or gone', () => {
    const before = { a: 1000, b: 1000, c: 7, zero: 0 }
    expect(tolerated({ a: 1020, b: 980, c: 7, zero: 0 }, before, 0.02)).toEqual([])
    expect(tolerated({ a: 1021, b: 979, d: 3, zero: 1 }, before, 0.02)).toEqual([
      'a     1,000 -> 1,021 (+2.1 %)',
      'b     1,000 -> 979 (-2.1 %)',
      'c     7 is gone',
      'zero  0 -> 1',
      'd     3 is new',
    ])
  })

  it('let limits be undercut, not exceeded', () => {
    expect(exceeded({ a: 5, b: 5 }, { a: 5, b: 6 })).toEqual([])
    expect(exceeded({ a: 6, c: 1 }, { a: 5, b: 6 })).toEqual([
      'c  has no limit',
      'b  was not measured',
      'a  6 exceeds the limit of 5',
    ])
  })

  it('compare instructions within 2 %', () => {
    const before = { compiler: 'one', perStep: { kernel: 1_000_000 } }
    expect(compareInstructions({ ...before, perStep: { kernel: 1_019_000 } }, before)).toEqual([])
    expect(compareInstructions({ ...before, perStep: { kernel: 1_021_000 } }, before).length).toBe(1)
  })
})

describe('a watched device', () => {
  // A number of threads that no other test asks for.
  const on = device('cpu', { threads: 5 })
  const watched = watch(on)
  const runs: Run[] = []
  watched.onRun = (run) => runs.push(run)
  const weight = variable([3], { value: [1, 2, 3] })
  const updater = new Updater(sgd({ lr: 0.5 }))
  const program = record(
    ({ x }) => {
      updater.apply([weight], [x])
      return { y: ops.mul(x, weight), index: ops.argmax(x) }
    },
    { x: [3] },
    { device: on, step: updater.step },
  )
  const result = program.runSync({ x: [1, 1, 1] })

  it('gives its results and tells of calls', () => {
    expect(result.index.data[0]).toBe(0)
    expect(watched.calls.get('load')).toBe(1)
    expect(watched.calls.get('runSync')).toBe(1)
    expect(runs.length).toBe(1)
    expect(runs[0]?.steps).toBe(1)
  })

  it('shows programs whose layout is that of the encoder', () => {
    const { regions, outputs } = readProgram(program.bytes)
    expect(runs[0]?.program).toEqual(program.bytes)
    expect(regions.length).toBe(runs[0]?.storages.length)
    expect(outputs.map(({ dtype, count }) => ({ dtype, count }))).toEqual([
      { dtype: 0, count: 3 },
      { dtype: 1, count: 1 },
    ])
    const kinds = everythingLeft(program.bytes, 8).map(({ bound }) => bound.kind)
    expect(kinds.slice(0, 2)).toEqual(['largest', 'exact'])
    expect(kinds).toContain('step')
  })

  it('is packed under a name of its own', () => {
    const pack = new Pack()
    const [run] = runs as [Run]
    pack.add('a step', run, 2, everythingLeft(run.program, 8))
    expect(() => pack.add('a step', run, 2, [])).toThrow('two cases')
    const { bytes } = pack
    expect(new TextDecoder().decode(bytes.slice(0, 8))).toBe('GLREPLAY')
    expect([...bytes.slice(8, 16)]).toEqual([1, 0, 0, 0, 1, 0, 0, 0])
    expect(new TextDecoder().decode(bytes.slice(20, 26))).toBe('a step')
    program.close()
  })
})
