// IDX files: every type, damage at every byte, gzip, and sizes that lie.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type IdxArray, parseIdx, readIdx } from '../../src/data/idx.js'
import { GradlineError } from '../../src/errors.js'

function idx(type: number, shape: number[], values: number[]): Uint8Array {
  const header = [0, 0, type, shape.length, ...shape.flatMap((size) => bigEndian(size, 4))]
  return Uint8Array.from([...header, ...values])
}

function bigEndian(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => (value >>> (8 * (bytes - 1 - i))) & 255)
}

const small = idx(0x08, [2, 3], [1, 2, 3, 4, 5, 255])

describe('parseIdx', () => {
  it('gives bytes as a view', () => {
    const { shape, data } = parseIdx(small, 'small')
    expect([shape, data]).toEqual([[2, 3], new Uint8Array([1, 2, 3, 4, 5, 255])])
    expect(data.buffer).toBe(small.buffer)
  })

  it.each<[number, number[], IdxArray['data']]>([
    [0x09, [0x80, 0x7f], Int8Array.of(-128, 127)],
    [0x0b, [0xff, 0xfe, 0x01, 0x02], Int16Array.of(-2, 258)],
    [0x0c, [0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4], Int32Array.of(-1, 0x01020304)],
    [0x0d, [0x3f, 0x80, 0, 0, 0xc0, 0x20, 0, 0], Float32Array.of(1, -2.5)],
    [0x0e, [0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0], Float64Array.of(1.5, -2)],
  ])('reads type %i', (type, values, wanted) => {
    expect(parseIdx(idx(type, [2], values)).data).toEqual(wanted)
    // A file at an odd place of a larger buffer.
    const moved = new Uint8Array(64)
    const bytes = idx(type, [2], values)
    moved.set(bytes, 3)
    expect(parseIdx(moved.subarray(3, 3 + bytes.length)).data).toEqual(wanted)
  })

  it('refuses each truncation, naming the bytes', () => {
    for (let length = 0; length < small.length; length += 1) {
      const error = failure(() => parseIdx(small.subarray(0, length), 'small'))
      expect(error.code).toBe('data')
      expect(error.message).toMatch(/^small is cut short: expected .* bytes.*, received \d+ bytes\. Fetch/)
      expect(error.message).toContain(`received ${length} bytes`)
    }
    expect(() => parseIdx(small.subarray(0, 17))).toThrow('expected 18 bytes for [2, 3], received 17 bytes')
  })

  it.each<[Uint8Array, string]>([
    [Uint8Array.from([...small, 0]), 'x is too long: expected 18 bytes for [2, 3], received 19.'],
    [
      idx(0x0a, [1], [1]),
      'x is not an IDX file: expected 00 00, a type from 08 to 0e and a rank above 0, received 00 00 0a 01',
    ],
    [idx(0x08, [], []), 'received 00 00 08 00'],
    [Uint8Array.from([1, 0, 8, 1, 0, 0, 0, 1, 9]), 'received 01 00 08 01'],
    [gzipSync(small), 'use readIdx'],
    [idx(0x08, [2, 0], []), 'x holds no values: size 1 of [2, 0] is 0.'],
    [idx(0x0e, [2 ** 32 - 1, 2 ** 32 - 1], []), 'x announces impossible sizes: [4294967295, 4294967295]'],
    [idx(0x08, new Array<number>(255).fill(2 ** 32 - 1), []), 'impossible sizes'],
    [idx(0x08, [2 ** 32 - 1], [1]), 'expected 4294967303 bytes'],
  ])('refuses damage %#', (bytes, text) => {
    const error = failure(() => parseIdx(bytes, 'x'))
    expect(error.message).toContain(text)
    expect(error.code).toBe('data')
  })

  it('takes only bytes', () => {
    expect(() => parseIdx('abc' as unknown as Uint8Array)).toThrow('Expected a Uint8Array for bytes')
  })

  it('survives random changes', () => {
    const random = generator(1)
    let read = 0
    for (let round = 0; round < 5000; round += 1) {
      const bytes = Uint8Array.from(small)
      for (let change = 0; change <= random(3); change += 1) bytes[random(random(2) ? 12 : bytes.length)] = random(256)
      try {
        const { shape, data } = parseIdx(bytes.subarray(0, bytes.length - (random(8) === 0 ? random(5) : 0)))
        expect(shape.reduce((a, b) => a * b, 1)).toBe(data.length)
        read += 1
      } catch (error) {
        if (!(error instanceof GradlineError)) throw error
        expect(error.code).toBe('data')
      }
    }
    expect(read).toBeGreaterThan(200)
  })
})

describe('readIdx', () => {
  let folder = ''
  const put = async (name: string, bytes: Uint8Array): Promise<string> => {
    const path = join(folder, name)
    await writeFile(path, bytes)
    return path
  }
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'gradline-idx-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  it('reads plain and packed files', async () => {
    for (const [name, bytes] of [
      ['plain', small],
      ['packed.gz', gzipSync(small)],
      ['packed', gzipSync(small)],
    ] as const) {
      expect(await readIdx(await put(name, bytes))).toEqual({ shape: [2, 3], data: small.subarray(12) })
    }
  })

  it('reads files of many chunks', async () => {
    const values = Array.from({ length: 3_000_000 }, (_, i) => (i * 7) % 251)
    const bytes = new Uint8Array(8 + values.length)
    bytes.set(idx(0x08, [values.length], []))
    bytes.set(values, 8)
    for (const packed of [bytes, gzipSync(bytes, { level: 1 })]) {
      const { data } = await readIdx(await put('large', packed))
      expect(Buffer.compare(Buffer.from(data.buffer, data.byteOffset), Buffer.from(values))).toBe(0)
    }
  })

  it('refuses damaged files', async () => {
    const packed = gzipSync(small)
    for (let length = 0; length < small.length; length += 1) {
      const path = await put('cut', small.subarray(0, length))
      await expect(readIdx(path)).rejects.toThrow(`${path} is cut short`)
    }
    for (let length = 2; length < packed.length; length += 1) {
      const error = await readIdx(await put('cut.gz', packed.subarray(0, length))).catch((reason: unknown) => reason)
      expect(error).toMatchObject({ name: 'GradlineError', code: 'data' })
    }
    const broken = Uint8Array.from(packed)
    broken[packed.length - 5] = (broken[packed.length - 5] ?? 0) ^ 1
    await expect(readIdx(await put('broken.gz', broken))).rejects.toThrow('is not a whole gzip file')
    await expect(readIdx(await put('long', Uint8Array.from([...small, 1])))).rejects.toThrow('received more')
  })

  it('stops at the budget and at the announced size', async () => {
    const huge = await put('huge.gz', gzipSync(idx(0x08, [2 ** 31], [1])))
    await expect(readIdx(huge)).rejects.toThrow('announces 2147483656 bytes for [2147483648], but at most 1073741824')
    await expect(readIdx(huge, { maxBytes: 100 })).rejects.toThrow('at most 100 are allowed')
    // 64 MB of zeros behind a header for six bytes: refused when the seventh arrives.
    const bomb = new Uint8Array(64 * 2 ** 20)
    bomb.set(small)
    const before = process.memoryUsage().arrayBuffers
    await expect(readIdx(await put('bomb.gz', gzipSync(bomb)))).rejects.toThrow('is too long')
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(80 * 2 ** 20)
  })

  it('says what cannot be read', async () => {
    const gone = join(folder, 'gone')
    await expect(readIdx(gone)).rejects.toMatchObject({
      code: 'missing',
      message: `Cannot read ${gone}: there is no such file or folder.`,
    })
    await expect(readIdx(folder)).rejects.toThrow('it is not a regular file')
    await expect(readIdx('a\0b')).rejects.toMatchObject({ name: 'GradlineError', code: 'file' })
    await expect(readIdx('')).rejects.toThrow('a file name')
    await expect(readIdx(gone, { maxBytes: 0 })).rejects.toThrow('for maxBytes but received 0')
    await expect(readIdx(gone, { max: 1 } as object)).rejects.toThrow('Did you mean "maxBytes"?')
  })
})

function failure(action: () => unknown): GradlineError {
  try {
    action()
  } catch (error) {
    if (error instanceof GradlineError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

// A small linear congruential generator: the same changes in every run.
function generator(seed: number): (bound: number) => number {
  let state = seed
  return (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * bound)
  }
}
