// The printout of a program and its bytes: names, shapes, places, kernels and the user's lines; the same program, the same
// bytes.
import { describe, expect, it } from 'vitest'
import { currentGraph } from '../../src/graph.js'
import { assign, device, ops, record, stepState, variable } from '../../src/index.js'
import { layoutOf } from '../native/bytes.js'

const w = variable([3, 5], { name: 'dense.weight' })
const make = (name = 'demo') =>
  record(
    ({ x }) => {
      const y = currentGraph('test').inLayer('dense', () => ops.relu(ops.matmul(x, w)))
      assign(w, ops.scale(w, 0.5))
      return { y, loss: ops.sum(y) }
    },
    { x: [4, 3] },
    { name, device: device('cpu', { threads: 2 }), step: stepState(), without: ['assignInPlace'] },
  )

describe('print()', () => {
  const lines = make().print().split('\n')

  it('begins with the program, its device and its memory', () => {
    expect(lines[0]).toMatch(/^demo {2}fp32 {2}\d+ ops {2}.*2 threads/)
    expect(lines[1]).toMatch(/^ {2}memory: param 64 B, .*act .*input 64 B, .*metric/)
  })

  it('shows for each op result, operands, shape, place, kernel, layer and line', () => {
    const product = lines.find((line) => line.includes('matmul'))!
    expect(product).toMatch(
      /^ {2}%\d+ = matmul +\$x @dense\.weight \| relu +\[4, 5\] +metric\+0x0\.\.0x50 +\S.* dense +print\.test\.ts:1\d$/,
    )
    const total = lines.find((line) => line.includes('sum'))!
    expect(total).toMatch(/= sum\(axes=3\) +%\d+ +\[1, 1\] +metric\+0x80\.\.0x84 .*print\.test\.ts:1\d$/)
    const scaled = lines.find((line) => line.includes('scale'))!
    expect(scaled).toMatch(/= scale\(factor=0\.5\) +@dense\.weight +\[3, 5\] +act\+0x0\.\.0x3c /)
    expect(lines.some((line) => /^ {2}@dense\.weight = copy +%\d+ +\[3, 5\] +param\+0x0\.\.0x3c /.test(line))).toBe(
      true,
    )
  })

  it('ends with what is returned', () => {
    expect(lines.at(-1)).toMatch(/^returns y = %\d+, loss = %\d+$/)
  })
})

describe('bytes', () => {
  it('are the same for the same function', () => {
    expect(Buffer.from(make('a').bytes).equals(Buffer.from(make('b').bytes))).toBe(true)
  })

  it('begin with the mark and the version', () => {
    const { bytes } = make()
    expect(new TextDecoder().decode(bytes.subarray(0, 4))).toBe('GLP1')
    expect(new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, true)).toBe(1)
  })

  it('carry the sites as lines', () => {
    const { bytes } = make()
    const text = new TextDecoder().decode(bytes.subarray(layoutOf(bytes).at.sites))
    expect(text).toMatch(/^dense {2}print\.test\.ts:\d+\nprint\.test\.ts:\d+\n/)
  })
})
