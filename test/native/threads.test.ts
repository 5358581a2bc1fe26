// A step as one job of several threads: the same bits for any number of shares and of threads that run them, no wait between
// ops that meet the same rows, and faults that stop a step before anything that outlives it has changed.
import { describe, expect, it } from 'vitest'
import { Device } from '../../src/device.js'
import { assign, ops, read, record, variable } from '../../src/index.js'
import { addon } from '../../src/native.js'

/** As if the machine had so many cores. */
const on = (threads: number, cores: number): Device => new Device('cpu', addon().open('cpu', threads, '', cores))
const rows = 256
const columns = 512
const x = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i))

const chain = (device: Device) => {
  const total = variable([1, columns], { value: new Float32Array(columns) })
  const program = record(
    ({ x }) => {
      const y = ops.tanh(ops.exp(ops.sigmoid(x)))
      const labels = ops.argmax(y)
      assign(total, ops.add(total, ops.sum(y, { axes: [0] })))
      return { y: ops.sum(ops.matmul(y, y, { transposeB: true })), labels }
    },
    { x: [rows, columns] },
    { device },
  )
  return { program, total }
}

describe('threads and shares', () => {
  const run = (threads: number, cores: number) => {
    const { program, total } = chain(on(threads, cores))
    const results = program.runManySync(20, { x })
    return [...results.at(-1).y.data, ...results.at(-1).labels.data, ...read(total)]
  }
  it.each([
    [2, 2],
    [3, 3],
    [4, 4],
    [4, 2],
    [7, 3],
    [16, 1],
  ])('%d threads on %d cores give the bits of one', (threads, cores) => {
    expect(run(threads, cores)).toEqual(run(1, 1))
  })
})

describe('waits', () => {
  it('are left out between ops that meet the same rows', () => {
    const kernels = chain(on(2, 2)).program.print().split('\n')
    const of = (op: string): string => kernels.find((line) => line.includes(`= ${op}`))!
    expect(of('sigmoid')).toContain('2 threads')
    for (const op of ['exp', 'tanh']) expect(of(op)).not.toContain('|')
    expect(of('sum')).toContain('|') // over the rows of all threads
  })

  it('are none for one thread', () => {
    expect(chain(on(1, 1)).program.print()).not.toMatch(/ \| (vector|rows|columns|matmul) /)
  })
})

describe('a fault', () => {
  it('of the first op and its first row stops the step before a variable changes', () => {
    const w = variable([4], { value: [1, 2, 3, 4] })
    const n = 4096
    const program = record(
      ({ indices, table, labels }) => {
        const picked = ops.gather(table, indices)
        assign(w, ops.scale(w, 2))
        return [ops.sum(picked), ops.sum(ops.oneHot(labels, 3))]
      },
      { indices: { shape: [n], dtype: 'int32' }, table: [8, 256], labels: { shape: [n], dtype: 'int32' } },
      { device: on(4, 4) },
    )
    const indices = Int32Array.from({ length: n }, (_, i) => (i % 1000 === 900 ? 8 : i % 8))
    const given = { indices, table: new Float32Array(8 * 256), labels: new Int32Array(n).fill(9) }
    for (let i = 0; i < 20; i++) expect(() => program.runSync(given)).toThrow('index 8 in row 900')
    expect([...read(w)]).toEqual([1, 2, 3, 4])
    expect(() => program.runSync({ ...given, indices: indices.fill(0), labels: new Int32Array(n) })).not.toThrow()
    expect([...read(w)]).toEqual([2, 4, 6, 8])
  })
})
