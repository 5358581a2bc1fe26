// Which rows of a data set a step gets: permutations by epoch, the end of an epoch, rows in order and with replacement.
import { describe, expect, it } from 'vitest'
import { ops, readStep, record, tensor, variable, writeStep } from '../../src/index.js'
import { everyDevice } from './harness.js'
import { permuted } from './oracle.js'

type Shuffle = Parameters<typeof ops.sampleRows>[2]

describe.each(everyDevice())('on $name', ({ on }) => {
  const options = { device: on }
  const rowsOf = (batch: number, samples: number, steps: number, shuffle: Shuffle, seed = 1) => {
    const program = record(() => ops.sampleRows(batch, samples, shuffle), {}, { ...options, seed })
    const rows = [...program.runManySync(steps)].map(({ data }) => Array.from(data))
    return { rows, state: readStep(program.step) }
  }
  const ordered = (rows: readonly number[]): number[] => [...rows].sort((a, b) => a - b)
  const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i)

  it.each([
    [5, 20],
    [7, 7],
    [1, 3],
    [50, 1000],
  ])('an epoch of batches of %i out of %i rows has each row once, the next in another order', (batch, samples) => {
    const steps = samples / batch
    const { rows, state } = rowsOf(batch, samples, 2 * steps, 'epoch')
    const [first, second] = [rows.slice(0, steps).flat(), rows.slice(steps).flat()]
    expect(ordered(first)).toEqual(upTo(samples))
    expect(ordered(second)).toEqual(upTo(samples))
    expect(first).toEqual(upTo(samples).map((i) => permuted(i, samples, 1, 0)))
    expect(second).toEqual(upTo(samples).map((i) => permuted(i, samples, 1, 1)))
    if (samples > 6) expect(second).not.toEqual(first)
    expect(state).toMatchObject({ step: 2 * steps, epoch: 1, cursor: samples })
  })

  it('orders are far from sorted and differ with the seed', () => {
    const orders = [1, 2].map((seed) => rowsOf(1000, 1000, 1, 'epoch', seed).rows[0]!)
    for (const order of orders) {
      expect(order.filter((row, i) => row === i).length).toBeLessThan(10)
      const rising = order.filter((row, i) => i > 0 && row > order[i - 1]!).length
      // The number of rises of a random order: mean (n - 1) / 2, variance (n + 1) / 12.
      expect(Math.abs(rising - 499.5)).toBeLessThan(3 * Math.sqrt(1001 / 12))
    }
    expect(orders[0]!.filter((row, i) => row === orders[1]![i]).length).toBeLessThan(10)
  })

  it('a last batch that is not full goes on with the first rows of its epoch', () => {
    const { rows, state } = rowsOf(4, 10, 5, 'none')
    expect(rows).toEqual([
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9, 0, 1],
      [0, 1, 2, 3],
      [4, 5, 6, 7],
    ])
    expect(state).toMatchObject({ epoch: 1, cursor: 8 })
    const shuffled = rowsOf(4, 10, 3, 'epoch').rows
    expect(ordered([...shuffled[0]!, ...shuffled[1]!, ...shuffled[2]!.slice(0, 2)])).toEqual(upTo(10))
    expect(shuffled[2]!.slice(2)).toEqual(shuffled[0]!.slice(0, 2))
  })

  it('with replacement draws every row about equally often, in no order', () => {
    const [batch, samples, steps] = [20, 20, 250]
    const { rows } = rowsOf(batch, samples, steps, 'replacement')
    const counts = upTo(samples).map((row) => rows.flat().filter((r) => r === row).length)
    const expectedCount = (batch * steps) / samples
    // Pearson's statistic of 19 degrees of freedom: above 43.8 once in a thousand.
    const statistic = counts.reduce((total, c) => total + (c - expectedCount) ** 2 / expectedCount, 0)
    expect(statistic).toBeLessThan(43.8)
    expect(counts.reduce((a, b) => a + b)).toBe(batch * steps)
    expect(rows[0]).not.toEqual(rows[1])
  })

  it('continues where a stored state says', () => {
    const all = rowsOf(3, 9, 6, 'epoch').rows
    const program = record(() => ops.sampleRows(3, 9, 'epoch'), {}, options)
    writeStep(program.step, { seed: 1, step: 4, epoch: 1, cursor: 3 }, on)
    const rest = [...program.runManySync(2)].map(({ data }) => Array.from(data))
    expect(rest).toEqual(all.slice(4))
  })

  it('feeds a step from a table', () => {
    const table = variable([6, 2], { value: [0, 1, 10, 11, 20, 21, 30, 31, 40, 41, 50, 51] })
    const program = record(() => ops.gather(table, ops.sampleRows(4, 6, 'none')), {}, options)
    const [first, second] = [...program.runManySync(2)].map(({ data }) => Array.from(data))
    expect(first).toEqual([0, 1, 10, 11, 20, 21, 30, 31])
    expect(second).toEqual([40, 41, 50, 51, 0, 1, 10, 11])
  })

  it('an index outside the table fails the step with its number', () => {
    const program = record(({ t, i }) => ops.gather(t, i), { t: [3, 2], i: { shape: [2], dtype: 'int32' } }, options)
    const t = tensor([1, 2, 3, 4, 5, 6]).data
    for (const bad of [3, -1, -2147483648]) expect(() => program.runSync({ t, i: [0, bad] })).toThrow(`${bad}`)
    expect(Array.from(program.runSync({ t, i: [2, 0] }).data)).toEqual([5, 6, 1, 2])
  })
})
