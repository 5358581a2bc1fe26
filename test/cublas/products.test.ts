// The binding by itself, on a stand-in for the libraries: each product and each epilogue against double precision, wrong
// arguments, and what is left behind when any call fails.

import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Cublas, type DeviceBuffer, type Epilogue, type LtMatmul, load } from '../../src/cublas.js'
import { control, folder, here, integers, operands, packed, product, type Sizes, span } from './standin.js'

describe.skipIf(!here)('cuBLAS by itself', () => {
  let standin: ReturnType<typeof control>
  let blas: Cublas
  let place: string

  beforeAll(() => {
    standin = control()
    place = folder()
    load(place)
  })
  beforeEach(() => {
    standin.reset()
    blas = new Cublas({ folder: place, workspaceBytes: 65536 })
  })
  afterEach(() => {
    blas.close()
    const { violations, alive } = standin.report()
    expect({ violations, alive }).toEqual({ violations: [], alive: {} })
  })

  const put = (values: NodeJS.TypedArray): DeviceBuffer => {
    const made = blas.alloc(values.byteLength)
    made.write(values)
    return made
  }
  const floats = (buffer: DeviceBuffer): Float32Array => buffer.read(new Float32Array(buffer.bytes / 4))

  it('names the library and the device', () => {
    expect(blas.library).toMatchObject({ version: '13.1.2', ltVersion: 130102 })
    expect(blas.library.path).toMatch(/^\/.*cublas/)
    expect([blas.name, blas.capability]).toEqual(['stand-in', 90])
  })

  describe('memory', () => {
    it('is written and read at offsets, and counted', () => {
      const memory = blas.alloc(16)
      memory.write(Float32Array.of(1, 2, 3, 4))
      memory.write(Uint8Array.of(0, 0, 128, 64), 4) // 4 as a float
      expect([...memory.read(new Float32Array(2), 4)]).toEqual([4, 3])
      expect([...new Float32Array(memory.read(new ArrayBuffer(8)))]).toEqual([1, 4])
      expect([memory.bytes, blas.bytes]).toEqual([16, 16])
      memory.free()
      memory.free()
      expect([memory.bytes, blas.bytes]).toEqual([0, 0])
    })

    it('refuses what leaves it, what is freed and what is no size', () => {
      const memory = blas.alloc(16)
      expect(() => memory.write(new Uint8Array(17))).toThrow('write of 17 bytes at offset undefined leaves the memory')
      expect(() => memory.read(new Uint8Array(8), 9)).toThrow('read of 8 bytes at offset 9 leaves the memory of 16')
      for (const offset of [-1, 0.5, Number.NaN, 2 ** 60, '1' as unknown as number]) {
        expect(() => memory.read(new Uint8Array(1), offset)).toThrow('leaves the memory')
      }
      expect(() => memory.write([1] as unknown as Uint8Array)).toThrow('Expected a typed array')
      memory.free()
      expect(() => memory.read(new Uint8Array(1))).toThrow('has been freed')
      for (const bytes of [0, -1, 1.5, Number.NaN, '8' as unknown as number]) {
        expect(() => blas.alloc(bytes)).toThrow('Expected an integer of at least 1 for bytes of alloc')
      }
      expect(() => blas.alloc(2 ** 40)).toThrow('out of memory')
    })

    it('ends with its device', () => {
      const memory = blas.alloc(8)
      blas.close()
      blas.close()
      expect(() => memory.read(new Uint8Array(1))).toThrow('the device is closed')
      expect(() => blas.alloc(8)).toThrow('the device is closed')
      expect(blas.bytes).toBe(0)
      memory.free()
    })

    it('of another device is refused', () => {
      const other = new Cublas({ workspaceBytes: 0 })
      const c = other.alloc(4)
      const a = blas.alloc(4)
      expect(() => blas.sgemm({ m: 1, n: 1, k: 1, a, b: a, c })).toThrow('c is memory of another device')
      other.close()
    })
  })

  const shapes: Sizes[] = [false, true].flatMap((transposeA) =>
    [false, true].flatMap((transposeB) => [
      { m: 3, n: 5, k: 7, transposeA, transposeB },
      { m: 4, n: 2, k: 3, transposeA, transposeB, lda: 9, ldb: 11, ldc: 6, alpha: 2, beta: -1 },
    ]),
  )
  const matrices = (s: Sizes) => ({
    a: integers(s.transposeA ? span(s.k, s.m, s.lda) : span(s.m, s.k, s.lda), 1),
    b: integers(s.transposeB ? span(s.n, s.k, s.ldb) : span(s.k, s.n, s.ldb), 2),
    c: integers(span(s.m, s.n, s.ldc), 3),
  })

  it.each(shapes)('sgemm, gemmEx and ltMatmul of %o', (s) => {
    const { a, b, c } = matrices(s)
    const wanted = [...product(s, a, b, c)]
    for (const method of ['sgemm', 'gemmEx', 'ltMatmul'] as const) {
      const out = put(c)
      blas[method]({ ...s, a: put(a), b: put(b), c: out })
      const result = floats(out)
      expect(packed(result, s.m, s.n, s.ldc)).toEqual(wanted)
      // the gaps between rows keep what they hold
      for (const [i, value] of result.entries()) if (i % (s.ldc ?? s.n) >= s.n) expect(value).toBe(c[i])
    }
  })

  it('leaves c unread when beta is 0, and takes offsets', () => {
    const s = { m: 2, n: 2, k: 2 }
    const [a, b] = [integers(7, 4), integers(6, 5)]
    const c = put(new Float32Array(6).fill(Number.NaN))
    blas.sgemm({ ...s, a: put(a), b: put(b), c, offsetA: 3, offsetB: 2, offsetC: 2 })
    const result = floats(c)
    expect([...result.slice(2)]).toEqual([...product(s, a.slice(3), b.slice(2))])
    expect([...result.slice(0, 2)]).toEqual([Number.NaN, Number.NaN])
  })

  it('multiplies every type', () => {
    const s = { m: 3, n: 4, k: 5 }
    const [a, b] = [integers(15, 6), integers(20, 7)]
    const wanted = [...product(s, a, b)]
    const toBrain = (values: Float32Array) => Uint16Array.from(new Uint32Array(values.buffer), (word) => word >>> 16)
    const halves = new Map([
      [0, 0],
      [1, 0x3c00],
      [2, 0x4000],
      [3, 0x4200],
    ])
    const toHalf = (values: Float32Array) =>
      Uint16Array.from(values, (v) => (halves.get(Math.abs(v)) as number) | (v < 0 ? 0x8000 : 0))
    for (const method of ['gemmEx', 'ltMatmul'] as const) {
      for (const [type, code] of [
        ['bfloat16', toBrain],
        ['float16', toHalf],
      ] as const) {
        const c = blas.alloc(48)
        blas[method]({ ...s, a: put(code(a)), b: put(code(b)), c, type, typeC: 'float32' })
        expect([...floats(c)]).toEqual(wanted)
      }
      const brain = blas.alloc(24)
      blas[method]({ ...s, a: put(toBrain(a)), b: put(toBrain(b)), c: brain, type: 'bfloat16' })
      expect([...brain.read(new Uint16Array(12))]).toEqual([...toBrain(Float32Array.from(wanted))])
      const wide = blas.alloc(96)
      const more = { ...s, alpha: 0.1 }
      blas[method]({ ...more, a: put(Float64Array.from(a)), b: put(Float64Array.from(b)), c: wide, type: 'float64' })
      expect([...wide.read(new Float64Array(12))]).toEqual([...product(more, a, b)])
      for (const numerics of ['tf32', 'bf16'] as const) {
        const fast = blas.alloc(48)
        blas[method]({ ...s, a: put(a), b: put(b), c: fast, numerics })
        expect([...floats(fast)]).toEqual(wanted)
      }
    }
  })

  it('multiplies a batch, with gaps and with a shared operand', () => {
    const s = { m: 2, n: 3, k: 4 }
    const [a, b] = [integers(3 * 10, 8), integers(12, 9)]
    for (const method of ['gemmStridedBatched', 'ltMatmul'] as const) {
      const c = put(new Float32Array(3 * 7).fill(9))
      blas[method]({ ...s, a: put(a), b: put(b), c, batch: 3, strideA: 10, strideB: 0, strideC: 7 })
      const result = floats(c)
      for (let i = 0; i < 3; i++) {
        expect([...result.slice(7 * i, 7 * i + 7)]).toEqual([...product(s, a.slice(10 * i), b), 9])
      }
    }
  })

  // x, then the epilogue, in double precision; bits of a mask as 0 and 1
  const gelu = (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))
  const slope = (x: number) => (gelu(x + 1e-6) - gelu(x - 1e-6)) / 2e-6

  interface Case {
    epilogue: Epilogue
    bias?: boolean
    sums?: 'c' | 'a' | 'b'
    aux?: 'mask' | 'input'
    reads?: boolean
    f: (x: number, aux: number) => number
  }
  const relu = (x: number) => Math.max(x, 0)
  const cases: Case[] = [
    { epilogue: 'none', f: (x) => x },
    { epilogue: 'bias', bias: true, f: (x) => x },
    { epilogue: 'relu', f: relu },
    { epilogue: 'reluBias', bias: true, f: relu },
    { epilogue: 'reluAux', aux: 'mask', f: relu },
    { epilogue: 'reluAuxBias', bias: true, aux: 'mask', f: relu },
    { epilogue: 'gelu', f: gelu },
    { epilogue: 'geluBias', bias: true, f: gelu },
    { epilogue: 'geluAux', aux: 'input', f: gelu },
    { epilogue: 'geluAuxBias', bias: true, aux: 'input', f: gelu },
    { epilogue: 'dRelu', aux: 'mask', reads: true, f: (x, bit) => x * bit },
    { epilogue: 'dReluBgrad', aux: 'mask', reads: true, sums: 'c', f: (x, bit) => x * bit },
    { epilogue: 'dGelu', aux: 'input', reads: true, f: (x, z) => x * slope(z) },
    { epilogue: 'dGeluBgrad', aux: 'input', reads: true, sums: 'c', f: (x, z) => x * slope(z) },
    { epilogue: 'bgradA', sums: 'a', f: (x) => x },
    { epilogue: 'bgradB', sums: 'b', f: (x) => x },
  ]

  it.each(cases)('ltMatmul with $epilogue', ({ epilogue, bias, sums, aux, reads, f }) => {
    for (const transposeA of [false, true]) {
      for (const transposeB of [false, true]) {
        const s = { m: 5, n: 11, k: 3, transposeA, transposeB, alpha: 0.5 }
        const { a, b } = matrices(s)
        const vector = integers(11, 10)
        const stride = aux === 'mask' ? 256 : 16
        const given = integers(5 * 16, 11)
        const bits = new Uint8Array((5 * 256) / 8).map((_, i) => i * 37)
        const bit = (from: Uint8Array, i: number, j: number) => ((from[(i * 256 + j) >> 3] as number) >> (j & 7)) & 1
        const call: LtMatmul = { ...s, a: put(a), b: put(b), c: blas.alloc(5 * 11 * 4), epilogue }
        const vectorMemory = bias ? put(vector) : sums ? blas.alloc(4 * (sums === 'a' ? 5 : 11)) : undefined
        const auxMemory = aux === 'mask' ? put(bits) : aux ? put(given) : undefined
        const plan = blas.ltMatmul({
          ...call,
          ...(vectorMemory ? { vector: vectorMemory } : {}),
          ...(auxMemory ? { aux: auxMemory, auxStride: stride } : {}),
        })
        expect(plan.measured).toBe(false)
        const x = product(s, a, b)
        const op = operands(s, a, b)
        const result = floats(call.c)
        const total = new Float64Array(11)
        const written =
          aux && !reads ? (aux === 'mask' ? auxMemory?.read(new Uint8Array(160)) : floats(auxMemory!)) : undefined
        for (let i = 0; i < 5; i++) {
          for (let j = 0; j < 11; j++) {
            const input = (x[i * 11 + j] as number) + (bias ? (vector[j] as number) : 0)
            const known = aux === 'mask' ? bit(bits, i, j) : (given[i * 16 + j] as number)
            const wanted = f(input, known)
            expect(result[i * 11 + j]).toBeCloseTo(wanted, 5)
            total[j] = (total[j] as number) + wanted
            if (written instanceof Uint8Array) expect(bit(written, i, j)).toBe(input > 0 ? 1 : 0)
            else if (written) expect(written[i * 16 + j]).toBe(input)
          }
        }
        const sum = (f: (p: number) => number) => f(0) + f(1) + f(2)
        const sumOf = (i: number) => (sums === 'a' ? sum((p) => op.a(i, p)) : sum((p) => op.b(p, i)))
        if (sums && vectorMemory) {
          for (const [i, value] of floats(vectorMemory).entries()) {
            if (sums === 'c') expect(value).toBeCloseTo(total[i] as number, 4)
            else expect(value).toBe(sumOf(i))
          }
        }
      }
    }
  })

  it('has an epilogue that hides NaN, as the library does', () => {
    const c = blas.alloc(4)
    const a = put(Float32Array.of(Number.NaN))
    blas.ltMatmul({ m: 1, n: 1, k: 1, a, b: put(Float32Array.of(1)), c, epilogue: 'relu' })
    expect([...floats(c)]).toEqual([0])
  })

  it('says when the library has no algorithm', () => {
    standin.reset({ unsupported: 32 })
    const [a, c] = [put(Float32Array.of(1)), blas.alloc(4)]
    const call = { m: 1, n: 1, k: 1, a, b: a, c }
    expect(() => blas.ltMatmul({ ...call, epilogue: 'gelu' })).toThrow(
      /offers 0 algorithms for lt 130102, stand-in, NN 1 1 1/,
    )
    expect(() => blas.ltMatmul({ ...call, algorithm: 99 })).toThrow('offers 5 algorithms')
    expect(() => blas.ltMatmul({ ...call, algorithm: 2 })).toThrow(
      'cublasLtMatmul failed: CUBLAS_STATUS_EXECUTION_FAILED',
    )
  })

  describe('refuses', () => {
    const wrong: [string, Record<string, unknown>, string][] = [
      ['no m', { m: undefined }, 'Expected an integer of at least 1 for m of ltMatmul but received undefined'],
      ['m of 0', { m: 0 }, 'Expected an integer of at least 1 for m'],
      ['a fraction', { k: 1.5 }, 'Expected an integer of at least 1 for k of ltMatmul but received 1.5'],
      ['more than an int', { m: 2 ** 31 }, 'expected m to be an integer from 1 to 2147483647'],
      ['rows closer than they are long', { lda: 2 }, 'expected ldA to be an integer from 3'],
      ['rows of b', { ldb: 1 }, 'expected ldB'],
      ['rows of c', { ldc: 3 }, 'expected ldC'],
      ['too large for its memory', { m: 3 }, 'a needs 9 elements of 4 bytes from offsetA = 0, its memory holds 6'],
      ['an offset', { offsetB: 1 }, 'b needs 12 elements of 4 bytes from offsetB = 1, its memory holds 12'],
      ['a huge offset', { offsetC: 2 ** 52 }, 'c needs 8 elements'],
      ['an offset below 0', { offsetA: -1 }, 'Expected an integer of at least 0 for offsetA'],
      ['no memory', { a: new Float32Array(6) }, 'Expected memory of alloc() for a'],
      ['a number for memory', { c: 5 }, 'Expected memory of alloc() for c of ltMatmul but received 5'],
      [
        'a string for a flag',
        { transposeA: 'yes' },
        "Expected true or false for transposeA of ltMatmul but received 'yes'",
      ],
      ['a string for alpha', { alpha: '1' }, 'Expected a number for alpha'],
      ['an unknown type', { type: 'int8' }, "Expected one of 'float32', 'float16', 'bfloat16', 'float64' for type"],
      ['types that do not go together', { typeC: 'float16' }, 'the type of c must be that of a and b'],
      ['tf32 of another type', { type: 'float16', numerics: 'tf32' }, 'tf32 is for float32'],
      ['bf16 of another type', { type: 'bfloat16', numerics: 'bf16' }, 'bf16 is for float32'],
      ['an unknown epilogue', { epilogue: 'tanh' }, "for epilogue of ltMatmul but received 'tanh'"],
      ['a bias without memory', { epilogue: 'bias' }, 'Expected memory of alloc() for vector'],
      ['a mask stride', { epilogue: 'reluAux', auxStride: 64 }, 'expected auxStride to be a multiple of 128'],
      [
        'an epilogue of a batch',
        { epilogue: 'relu', batch: 2, strideA: 0, strideB: 0, strideC: 1, m: 1, n: 1 },
        'batch to be 1',
      ],
      ['a batch that writes over itself', { batch: 2, strideC: 1 }, 'expected strideC to be from 8'],
      [
        'a batch beyond any memory',
        { batch: 2 ** 31 - 1, strideA: 2 ** 40 },
        'with strideA 1099511627776 is larger than any memory',
      ],
      ['an algorithm below 0', { algorithm: -1 }, 'Expected an integer of at least 0 for algorithm'],
    ]
    it.each(wrong)('%s', (_, change, text) => {
      const call = { m: 2, n: 4, k: 3, a: blas.alloc(24), b: blas.alloc(48), c: blas.alloc(32) }
      expect(() => blas.ltMatmul({ ...call, ...change } as LtMatmul)).toThrow(text)
    })

    it('results on operands', () => {
      const all = blas.alloc(64)
      const call = { m: 2, n: 2, k: 2, a: all, b: blas.alloc(16), c: all }
      expect(() => blas.sgemm({ ...call, offsetC: 3 })).toThrow('c lies on the memory of an operand')
      expect(() => blas.ltMatmul({ ...call, offsetC: 4, epilogue: 'bgradA', vector: all, offsetVector: 2 })).toThrow(
        'vector lies on the memory of an operand',
      )
      expect(() => blas.ltMatmul({ ...call, offsetC: 4, epilogue: 'bias', vector: all, offsetVector: 7 })).toThrow(
        'vector lies on the memory of c',
      )
    })

    it('what is no object', () => {
      for (const value of [undefined, null, 5]) {
        expect(() => blas.sgemm(value as never)).toThrow('Expected an object for the options of sgemm')
      }
      expect(() => new Cublas({ device: 7 })).toThrow('there is no device 7; the driver knows 1 device')
      expect(() => new Cublas({ workspaceBytes: -1 })).toThrow('Expected an integer of at least 0 for workspaceBytes')
    })
  })

  it('survives the failure of every call, with an error and nothing left behind', () => {
    const work = () => {
      const device = new Cublas({ workspaceBytes: 4096 })
      try {
        const put = (values: Float32Array) => {
          const made = device.alloc(values.byteLength)
          made.write(values)
          return made
        }
        const [a, b] = [put(integers(6, 1)), put(integers(6, 2))]
        const s = { m: 2, n: 2, k: 3, a, b }
        const c = device.alloc(64)
        device.sgemm({ ...s, c })
        const expected = device.alloc(16)
        device.gemmEx({ ...s, c: expected })
        device.gemmStridedBatched({ ...s, c, batch: 2, strideA: 0, strideB: 0 })
        device.ltMatmul({ ...s, c, batch: 2, strideA: 0, strideB: 0 })
        device.ltMatmul({ ...s, c, epilogue: 'reluAuxBias', vector: expected, aux: device.alloc(32) })
        device.tune({ ...s, c, expected, repetitions: 1, candidates: 1 })
        device.ltMatmul({ ...s, c })
        const result = c.read(new Float32Array(4))
        c.free()
        return [...result]
      } finally {
        device.close()
      }
    }
    standin.reset({ onlyRight: true })
    const right = work()
    const calls = standin.report().calls
    expect(calls).toBeGreaterThan(100)
    const silent = new Set<string>()
    const failing = new Set<string>()
    for (let failAt = 1; failAt <= calls; failAt++) {
      standin.reset({ failAt, onlyRight: true })
      let result: number[] | undefined
      let error: Error | undefined
      try {
        result = work()
      } catch (caught) {
        error = caught as Error
      }
      const { failed, violations, alive } = standin.report()
      // What `blas` of this test holds stays.
      expect({ failAt, failed, violations, alive }).toMatchObject({ violations: [] })
      expect({ failAt, failed, ...alive }).toEqual({ failAt, failed, contexts: 1, handles: 1, memory: 1, streams: 1 })
      if (error) {
        expect(error.message).toMatch(/failed: |no algorithm of cuBLASLt is right/)
        failing.add(failed)
      } else {
        expect(result).toEqual(right)
        silent.add(failed)
      }
    }
    // Only what gives something back, or what only names things, may fail without a word.
    expect(
      [...silent].filter((name) => !/Destroy|Release|Free|cuCtx|Synchronize|AlgoCheck|cuDeviceGetName/.test(name)),
    ).toEqual([])
    expect(failing.size).toBeGreaterThan(25)
  })
})
