// Choosing an algorithm by measuring it: which one wins, which are refused, and what the cache file keeps.

import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { Cublas, type DeviceBuffer, type Tune } from '../../src/cublas.js'
import { control, folder, here, integers, product } from './standin.js'

describe.skipIf(!here)('tuning', () => {
  let standin: ReturnType<typeof control>
  let place: string
  let blas: Cublas
  let cacheFile: string

  beforeAll(() => {
    standin = control()
    place = folder()
  })
  beforeEach(() => {
    standin.reset()
    cacheFile = join(mkdtempSync(join(tmpdir(), 'gradline-tune-')), 'algorithms.jsonl')
    blas = new Cublas({ folder: place, workspaceBytes: 65536, cacheFile })
  })
  afterEach(() => {
    blas.close()
    const { violations, alive } = standin.report()
    expect({ violations, alive }).toEqual({ violations: [], alive: {} })
  })

  const put = (values: Float32Array): DeviceBuffer => {
    const made = blas.alloc(values.byteLength)
    made.write(values)
    return made
  }
  const s = { m: 3, n: 4, k: 5 }
  const [a, b] = [integers(15, 1), integers(20, 2)]
  const problem = (more: Partial<Tune> = {}): Tune => ({
    ...s,
    a: put(a),
    b: put(b),
    c: put(new Float32Array(12).fill(7)),
    expected: put(Float32Array.from(product(s, a, b))),
    ...more,
  })
  const lines = () => readFileSync(cacheFile, 'utf8').trimEnd().split('\n')
  const which = (line: string | undefined) =>
    Number.parseInt((JSON.parse(line as string) as { algorithm: string }).algorithm.slice(16, 32), 16)

  it('takes the fastest that is right, not the fastest, and leaves c alone', () => {
    const call = problem()
    // Of the five that can be used the fastest are wrong, fail, and leave an element out; the first is right but slow.
    expect(blas.tune(call)).toEqual({ workspaceBytes: 4096, measured: true, candidates: 5 })
    expect([...call.c.read(new Float32Array(12))]).toEqual(new Array(12).fill(7))
    expect(lines().map(which)).toEqual([6])
    expect(blas.ltMatmul(call)).toEqual({ workspaceBytes: 4096, measured: true, candidates: 5 })
    expect([...call.c.read(new Float32Array(12))]).toEqual([...product(s, a, b)])
    expect(blas.ltMatmul({ ...call, algorithm: 0 }).measured).toBe(false)
  })

  it('never takes a reduction in place, even where the library offers one', () => {
    standin.reset({ rude: true })
    expect(blas.tune(problem()).candidates).toBe(5)
  })

  it('measures only as many as it is asked to', () => {
    blas.tune(problem({ candidates: 1, repetitions: 4 }))
    expect(lines().map(which)).toEqual([0])
    expect(standin.report().counts.cublasLtMatmul).toBe(1 + 3 + 4)
  })

  it('refuses all when nothing agrees with the fallback, and says why', () => {
    const expected = put(new Float32Array(12).fill(1000))
    expect(() => blas.tune(problem({ expected }))).toThrow(
      /no algorithm of cuBLASLt is right for lt 130102, stand-in, NN 3 4 5 .*0 differs from the fallback; .*EXECUTION_FAILED/,
    )
    expect(readdirSync(join(cacheFile, '..'))).toEqual([])
  })

  it('compares the vector that an epilogue writes, adds c times beta, and knows a batch', () => {
    const sums = Float32Array.from({ length: 4 }, (_, j) =>
      [0, 1, 2, 3, 4].reduce((x, p) => x + (b[p * 4 + j] as number), 0),
    )
    const vector = blas.alloc(16)
    const good = problem({ epilogue: 'bgradB', vector, expectedVector: put(sums) })
    expect(blas.tune(good).measured).toBe(true)
    expect(() => blas.tune({ ...good, expectedVector: put(sums.map((x) => x + 1)) })).toThrow('no algorithm')
    const before = new Float32Array(12).fill(7)
    const expected = put(Float32Array.from(product({ ...s, beta: 2 }, a, b, before)))
    expect(blas.tune(problem({ beta: 2, expected })).measured).toBe(true)
    const two = Float32Array.of(...product(s, a, b), 99, ...product(s, a, b))
    const c = blas.alloc(100)
    expect(blas.tune(problem({ batch: 2, strideA: 0, strideB: 0, strideC: 13, c, expected: put(two) })).measured).toBe(
      true,
    )
    expect(lines()).toHaveLength(3)
  })

  it('takes NaN of the fallback for NaN only', () => {
    const nan = a.slice()
    nan[0] = Number.NaN
    const wanted = Float32Array.from(product(s, nan, b))
    expect(wanted[0]).toBeNaN()
    expect(blas.tune(problem({ a: put(nan), expected: put(wanted) })).measured).toBe(true)
    // relu of the library makes 0 of it
    const call = problem({ a: put(nan), epilogue: 'relu', expected: put(wanted.map((x) => (x < 0 ? 0 : x))) })
    expect(() => blas.tune(call)).toThrow('differs from the fallback')
  })

  it('reads the file of another process, drops broken lines, and keeps a key for what matters', () => {
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    blas.tune(problem())
    const kept = lines()[0] as string
    blas.close()
    writeFileSync(cacheFile, `${kept}\n{"key":"cut off\n\n{"key":"x","algorithm":"zz"}\nnonsense\n`)
    blas = new Cublas({ cacheFile, workspaceBytes: 65536 })
    expect(blas.ltMatmul(problem()).measured).toBe(true)
    for (const other of [
      { numerics: 'tf32' },
      { numerics: 'bf16' },
      { transposeA: true, lda: 3 },
      { epilogue: 'relu' },
      { m: 2 },
      { beta: 1 },
    ] as const) {
      expect(blas.ltMatmul(problem(other)).measured).toBe(false)
    }
    blas.tune(problem({ numerics: 'tf32' }))
    expect(lines()).toHaveLength(2)
    expect(lines()).toContain(kept)
    expect(readdirSync(join(cacheFile, '..'))).toEqual(['algorithms.jsonl'])
    // An algorithm that is not the one that was kept is not used.
    blas.close()
    writeFileSync(cacheFile, `${kept.replace(/"algorithm":"[0-9a-f]+"/, `"algorithm":"${'ab'.repeat(64)}"`)}\n`)
    blas = new Cublas({ cacheFile, workspaceBytes: 65536 })
    expect(blas.ltMatmul(problem()).measured).toBe(false)
    expect(warned.mock.calls).toEqual([
      [`${cacheFile}: 3 of 4 lines are damaged and ignored`],
      [`${cacheFile} is no file of measured plans; it is ignored and left alone`],
    ])
    warned.mockRestore()
  })

  it('says when the file cannot be written', () => {
    blas.close()
    blas = new Cublas({ cacheFile: '/nowhere/at/all.jsonl', workspaceBytes: 65536 })
    expect(() => blas.tune(problem())).toThrow('cannot write /nowhere/at/all.jsonl')
  })

  it('refuses what cannot be tuned', () => {
    const call = problem()
    expect(() => blas.tune({ ...call, expected: undefined as never })).toThrow(
      'Expected memory of alloc() for expected',
    )
    expect(() => blas.tune({ ...call, tolerance: -1 })).toThrow('expected tolerance to be at least 0')
    expect(() => blas.tune({ ...call, repetitions: 0.5 })).toThrow('for repetitions of tune')
    expect(() => blas.tune({ ...call, type: 'float16' })).toThrow('tuning is for products that give float32')
  })
})
