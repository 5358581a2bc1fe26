// The profile of a program: a row for every op in the order of the printout, shares of a whole, real steps. How long
// anything takes is never asked.
import { describe, expect, it } from 'vitest'
import type { Node } from '../../src/graph.js'
import { currentGraph } from '../../src/graph.js'
import { assign, type Device, device, ops, read, record, stepState, variable } from '../../src/index.js'
import { Profile } from '../../src/profile.js'

const make = (on: Device) => {
  const w = variable([3, 5], { name: 'dense.weight', value: Array(15).fill(1) })
  const program = record(
    ({ x }) => {
      const y = currentGraph('test').inLayer('dense', () => ops.relu(ops.matmul(x, w)))
      assign(w, ops.scale(w, 0.5))
      return { y, loss: ops.sum(y) }
    },
    { x: [4, 3] },
    { name: 'demo', device: on, step: stepState() },
  )
  return { program, w }
}
const x = Array.from({ length: 12 }, (_, i) => i)

describe.each([
  ['ref', () => device('ref')],
  ['cpu, 1 thread', () => device('cpu', { threads: 1 })],
  ['cpu, 2 threads', () => device('cpu', { threads: 2 })],
])('profile on %s', (_, on) => {
  it('has a row for every op, whose shares sum to 1', async () => {
    const { program } = make(on())
    const profile = await program.profile(5, { x })
    const printed = program.print().split('\n').slice(2, -1)
    expect(profile.steps).toBe(5)
    expect(profile.rows.length).toBe(printed.length)
    profile.rows.forEach(({ op, layer, site, plan, seconds, share, threads }, i) => {
      expect(printed[i]).toContain(` = ${op}`)
      expect(printed[i]).toContain(plan)
      expect(printed[i]!.trimEnd().endsWith(site)).toBe(true)
      expect(layer).toBe(op === 'matmul' ? 'dense' : '')
      expect(seconds).toBeGreaterThan(0)
      expect(share).toBeCloseTo(seconds / profile.seconds, 12)
      expect(threads).toBeGreaterThanOrEqual(1)
    })
    expect(profile.rows.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 12)
  })

  it('runs real steps, which give what steps without it give', async () => {
    const [timed, plain] = [make(on()), make(on())]
    await timed.program.profile(3, { x })
    await plain.program.runMany(3, { x })
    expect([...read(timed.w)]).toEqual([...read(plain.w)])
    expect([...timed.program.runSync({ x }).y.data]).toEqual([...plain.program.runSync({ x }).y.data])
  })
})

describe('a printed profile', () => {
  it('stands in front of each op', async () => {
    const { program } = make(device('cpu', { threads: 1 }))
    const profile = await program.profile(4, { x })
    const lines = program.print({ profile }).split('\n')
    expect(lines[2]).toMatch(/^ {2}[\d.]+ us a step, medians of 4 steps$/)
    expect(lines.length).toBe(program.print().split('\n').length + 1)
    for (const line of lines.slice(3, -1)) expect(line).toMatch(/^ +[\d.]+ us +[\d.]+ % {2}\S+ = /)
  })

  it('must be of that program', async () => {
    const { program } = make(device('ref'))
    const other = record(({ a }) => ops.neg(a), { a: [2] })
    expect(() => program.print({ profile: new Profile([], [], [], 1, new Float64Array()) })).toThrow(
      'a profile of demo',
    )
    expect(() => other.print({ profil: 1 } as object)).toThrow('profil')
  })
})

describe('the numbers', () => {
  const node = (name: string): Node => ({ op: { name }, site: { path: '', line: 'a.ts:1' } }) as unknown as Node

  it('are medians over the steps and shares of their sum', () => {
    const times = Float64Array.of(1, 30, 3, 10, 2, 20, 100, 20)
    const { rows, seconds } = new Profile([node('a'), node('b')], ['', ''], [1, 2], 4, times)
    expect(rows.map((row) => row.seconds)).toEqual([2.5, 20])
    expect(seconds).toBe(22.5)
    expect(rows[1]!.share).toBeCloseTo(20 / 22.5, 12)
    expect(rows.map(({ threads }) => threads)).toEqual([1, 2])
  })

  it('cannot be taken of a step that fails or of no step', async () => {
    const failing = record(({ labels }) => ops.oneHot(labels, 3), { labels: { shape: [2], dtype: 'int32' } })
    await expect(failing.profile(2, { labels: [0, 7] })).rejects.toThrow('label 7')
    await expect(failing.profile(0, { labels: [0, 1] })).rejects.toThrow('steps')
    await expect(failing.profile(2 ** 30, { labels: [0, 1] })).rejects.toThrow('1 GiB')
  })
})
