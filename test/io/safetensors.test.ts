// The safetensors format: round trips, the exact bytes, every rule of the format, and damage of all kinds.
import { describe, expect, it } from 'vitest'
import { GradlineError } from '../../src/errors.js'
import {
  decodeSafetensors,
  encodeSafetensors,
  type Safetensors,
  type SafetensorsDType,
  type SafetensorsTensor,
} from '../../src/io/safetensors.js'

// A file with any header, as a hostile writer would make it.
function file(header: string, values = 0, length?: number): Uint8Array {
  const text = new TextEncoder().encode(header)
  const bytes = new Uint8Array(8 + text.length + values)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length ?? text.length), true)
  bytes.set(text, 8)
  return bytes
}

function headerOf(bytes: Uint8Array): string {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true))
  return new TextDecoder().decode(bytes.subarray(8, 8 + length))
}

const tensors: SafetensorsTensor[] = [
  { name: 'mask', dtype: 'U8', shape: [3], data: Uint8Array.of(1, 2, 3) },
  { name: 'dense1.weight', dtype: 'F32', shape: [2, 2], data: Float32Array.of(1, -2.5, Number.NaN, Infinity) },
  { name: 'step', dtype: 'F64', shape: [], data: Float64Array.of(0.1) },
  { name: 'labels', dtype: 'I32', shape: [2, 1], data: Int32Array.of(-1, 2 ** 31 - 1) },
]

describe('encodeSafetensors', () => {
  it('writes the bytes of the format', () => {
    const bytes = encodeSafetensors([{ name: 'a', dtype: 'F32', shape: [1], data: Float32Array.of(1) }], { k: 'v' })
    const header = '{"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    expect(headerOf(bytes)).toBe(header.padEnd(Math.ceil(header.length / 8) * 8, ' '))
    expect([...bytes.subarray(bytes.length - 4)]).toEqual([0, 0, 0x80, 0x3f])
    expect(bytes.length % 4).toBe(0)
  })

  it('aligns every tensor to its type', () => {
    const { tensors: read } = decodeSafetensors(encodeSafetensors(tensors))
    expect([...read.keys()]).toEqual(['step', 'dense1.weight', 'labels', 'mask'])
    for (const { data } of read.values()) expect(data.byteOffset % data.BYTES_PER_ELEMENT).toBe(0)
  })

  it('gives equal bytes for equal input', () => {
    expect(encodeSafetensors(tensors, { a: '1' })).toEqual(encodeSafetensors(tensors, new Map([['a', '1']])))
  })

  it.each<[unknown, unknown, string]>([
    [5, {}, 'Expected an array of tensors'],
    [[null], {}, 'Expected a tensor for tensors but received null'],
    [[{ name: '__metadata__', dtype: 'U8', shape: [1], data: new Uint8Array(1) }], {}, 'other than __metadata__'],
    [[{ name: '\ud800', dtype: 'U8', shape: [1], data: new Uint8Array(1) }], {}, 'well-formed text'],
    [[tensors[0], tensors[0]], {}, 'Expected names that occur once for the tensors but received "mask"'],
    [[{ ...tensors[0], dtype: 'U9' }], {}, 'for the dtype of tensor "mask" but received "U9"'],
    [[{ ...tensors[0], dtype: 'constructor' }], {}, 'for the dtype of tensor "mask"'],
    [
      [{ ...tensors[0], data: [1, 2, 3] }],
      {},
      'a Uint8Array, since its dtype is U8, for tensor "mask" but received [1, 2, 3]',
    ],
    [
      [{ ...tensors[0], shape: [2] }],
      {},
      'Expected 2 values for shape [2] for tensor "mask" but received Uint8Array(3)',
    ],
    [[{ ...tensors[0], shape: [-3] }], {}, 'non-negative integers for the shape of tensor "mask" but received [-3]'],
    [[{ ...tensors[0], shape: new Array(3) }], {}, 'non-negative integers'],
    [tensors, { a: 1 }, 'well-formed text for metadata "a" but received 1'],
    [tensors, null, 'an object or a Map for metadata'],
    [tensors, new Map([[1, 'a']]), 'a metadata key but received 1'],
  ])('refuses %#', (list, metadata, text) => {
    expect(() => encodeSafetensors(list as SafetensorsTensor[], metadata as Record<string, string>)).toThrow(text)
  })
})

describe('decodeSafetensors', () => {
  it('gives back what was written', () => {
    const metadata = { format: 'gradline', note: 'quotes " \\ \n \u2028 \u{1f600}', '': '' }
    const read = decodeSafetensors(encodeSafetensors(tensors, metadata))
    expect(Object.fromEntries(read.metadata)).toEqual(metadata)
    for (const tensor of tensors) expect(read.tensors.get(tensor.name)).toEqual(tensor)
    expect(read.tensors.size).toBe(tensors.length)
  })

  it('knows every type', () => {
    const types: [SafetensorsDType, SafetensorsTensor['data']][] = [
      ['F64', new Float64Array(2)],
      ['F32', new Float32Array(2)],
      ['F16', Uint16Array.of(0x3c00, 1)],
      ['BF16', Uint16Array.of(0x3f80, 1)],
      ['F8_E4M3', new Uint8Array(2)],
      ['F8_E5M2', new Uint8Array(2)],
      ['I64', BigInt64Array.of(-1n, 1n)],
      ['U64', BigUint64Array.of(2n ** 64n - 1n, 1n)],
      ['I32', new Int32Array(2)],
      ['U32', new Uint32Array(2)],
      ['I16', Int16Array.of(-1, 1)],
      ['U16', new Uint16Array(2)],
      ['I8', Int8Array.of(-1, 1)],
      ['U8', new Uint8Array(2)],
      ['BOOL', Uint8Array.of(0, 1)],
    ]
    const list = types.map(([dtype, data]) => ({ name: dtype, dtype, shape: [2], data }))
    const read = decodeSafetensors(encodeSafetensors(list))
    for (const tensor of list) expect(read.tensors.get(tensor.name)).toEqual(tensor)
  })

  it('takes empty files and empty tensors', () => {
    expect(decodeSafetensors(encodeSafetensors([])).tensors.size).toBe(0)
    expect(decodeSafetensors(file('{}')).metadata.size).toBe(0)
    const none: SafetensorsTensor = {
      name: 'n',
      dtype: 'F32',
      shape: [0, 2 ** 53 - 1, 2 ** 53 - 1],
      data: new Float32Array(),
    }
    expect(decodeSafetensors(encodeSafetensors([none, ...tensors])).tensors.get('n')).toEqual(none)
  })

  it('reads values that are not aligned', () => {
    const bytes = file(
      '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}',
      5,
    )
    bytes.set([7, 0, 0, 0x20, 0x41], bytes.length - 5)
    const moved = new Uint8Array(bytes.length + 1)
    moved.set(bytes, 1)
    for (const source of [bytes, moved.subarray(1)]) {
      expect(decodeSafetensors(source).tensors.get('b')?.data).toEqual(Float32Array.of(10))
    }
  })

  it('keeps names that are special in JavaScript apart from objects', () => {
    const names = ['__proto__', 'constructor', 'toString', '']
    const list = names.map((name) => ({ name, dtype: 'U8' as const, shape: [1], data: Uint8Array.of(1) }))
    const special = new Map([['__proto__', 'polluted']])
    const read = decodeSafetensors(encodeSafetensors(list, special))
    expect([...read.tensors.keys()]).toEqual(names)
    expect(read.metadata).toEqual(special)
    expect('polluted' in {}).toBe(false)
    const hostile = '{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{"__proto__":1}}'
    expect(() => decodeSafetensors(file(hostile, 1))).toThrow('not "__proto__"')
  })

  it('accepts spaces and any order of keys', () => {
    const header =
      ' \n{ "a" :\t{ "data_offsets" : [ 0 , 1 ] , "shape" : [ ] , "dtype" : "\\u00558" } }\r\n '.trimStart()
    expect(decodeSafetensors(file(header, 1)).tensors.get('a')?.dtype).toBe('U8')
  })

  const u8 = (begin: number, end: number, name = 'a', size = end - begin) =>
    `"${name}":{"dtype":"U8","shape":[${size}],"data_offsets":[${begin},${end}]}`
  it.each<[Uint8Array, string]>([
    [file('{}', 0, 2 ** 40), 'expected a header of at most 100000000 bytes, received a length of 1099511627776'],
    [file('{}', 0, 3), 'it is cut short, expected a header up to byte 11, received 10 bytes'],
    [file(''), 'its header does not begin with {'],
    [file(' {}'), 'its header does not begin with {'],
    [file('[]'), 'its header does not begin with {'],
    [Uint8Array.from([...file('{"a'), 0xff]).fill(4, 0, 1), 'not UTF-8'],
    [file('{} x'), 'nothing but spaces after the header'],
    [file(`{${u8(0, 2)}}`, 1), 'it is cut short, expected 2 bytes of values, received 1'],
    [file(`{${u8(0, 2)}}`, 3), 'bytes follow the last tensor, expected 2 bytes of values, received 3'],
    [file('{}', 1), 'bytes follow the last tensor'],
    [file(`{${u8(0, 2)},${u8(1, 3, 'b')}}`, 3), 'tensor "b" at [1, 3] overlaps the tensor before it'],
    [file(`{${u8(0, 2)},${u8(0, 2, 'b')}}`, 2), 'overlaps'],
    [
      file(`{${u8(0, 2)},${u8(3, 4, 'b')}}`, 4),
      'tensor "b" at [3, 4] leaves a hole before it, expected it to begin at 2',
    ],
    [file(`{${u8(1, 2)}}`, 2), 'leaves a hole'],
    [file(`{${u8(0, 2, 'a', 3)}}`, 2), 'expected 3 bytes for tensor "a" of U8 [3], received data_offsets [0, 2]'],
    [file('{"a":{"dtype":"U8","shape":[],"data_offsets":[2,1]}}', 2), 'received data_offsets [2, 1]'],
    [
      file('{"a":{"dtype":"F32","shape":[9007199254740991,9007199254740991],"data_offsets":[0,4]}}', 4),
      'bytes for tensor "a"',
    ],
    [file(`{${u8(0, 1)},${u8(1, 2)}}`, 2), 'the name "a" occurs twice in the header'],
    [file(`{${u8(0, 1)},${u8(1, 2, '\\u0061')}}`, 2), 'the name "a" occurs twice'],
    [file('{"__metadata__":{},"__metadata__":{}}'), 'occurs twice'],
    [file('{"__metadata__":{"a":1}}'), 'expected " at character 21 of the header, received "1}}"'],
    [
      file('{"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}}', 1),
      'the name "dtype" occurs twice in tensor "a"',
    ],
    [file('{"a":{"dtype":"Q8","shape":[1],"data_offsets":[0,1]}}', 1), 'for the dtype of tensor "a", received "Q8"'],
    [file('{"a":{"dtype":"toString","shape":[1],"data_offsets":[0,1]}}', 1), 'received "toString"'],
    [file('{"a":{"shape":[1],"data_offsets":[0,1]}}', 1), 'tensor "a" needs a dtype, a shape and two data_offsets'],
    [file('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0]}}', 1), 'two data_offsets'],
    [file('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,2]}}', 1), 'at most 2 numbers'],
    [file('{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}}', 1), 'a non-negative integer below 2^53'],
    [file('{"a":{"dtype":"U8","shape":[1.5],"data_offsets":[0,1]}}', 1), 'expected ]'],
    [file('{"a":{"dtype":"U8","shape":[1e0],"data_offsets":[0,1]}}', 1), 'expected ]'],
    [file('{"a":{"dtype":"U8","shape":[01],"data_offsets":[0,1]}}', 1), 'a non-negative integer'],
    [file('{"a":{"dtype":"U8","shape":[9007199254740992],"data_offsets":[0,1]}}', 1), 'a non-negative integer'],
    [file('{"a":{"dtype":"U8","shape":[null],"data_offsets":[0,1]}}', 1), 'a non-negative integer'],
    [file('{"a":{"dtype":"U8","shape":1,"data_offsets":[0,1]}}', 1), 'expected ['],
    [file('{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":1}}', 1), 'not "x"'],
    [file(`{"a":{"dtype":"U8","shape":[${'1,'.repeat(32)}1],"data_offsets":[0,1]}}`, 1), 'at most 32 numbers'],
    [file('{"a'), 'a closing quote'],
    [file('{"a\\"'), 'a closing quote'],
    [file('{"a\\x":1}'), 'JSON text'],
    [file('{"a\nb":1}'), 'JSON text'],
    [file('{"\\ud800":1}'), 'well-formed text'],
    [file('{"a":1,}'), 'expected {'],
    [file('{'), 'received its end'],
    [
      file(`{"__metadata__":{${Array.from({ length: 100_002 }, (_, i) => `"${i}":""`).join(',')}}}`),
      'more than 100000 names',
    ],
    [file('['.repeat(50_000_000)), 'does not begin with {'],
    [file(`{"a":${'['.repeat(50_000_000)}`), 'expected {'],
  ])('refuses %#', (bytes, text) => {
    const error = failure(() => decodeSafetensors(bytes, 'x.safetensors'))
    expect(error.message).toContain(text)
    expect(error.message).toMatch(/^x\.safetensors is not a valid safetensors file: /)
    expect(error.code).toBe('data')
  })

  it('takes only bytes', () => {
    expect(() => decodeSafetensors('x' as unknown as Uint8Array)).toThrow('Expected a Uint8Array for bytes')
  })

  it('refuses each truncation and each extra byte', () => {
    const whole = encodeSafetensors(tensors, { a: 'b' })
    for (let length = 0; length < whole.length; length += 1) {
      expect(failure(() => decodeSafetensors(whole.subarray(0, length))).code).toBe('data')
    }
    expect(failure(() => decodeSafetensors(Uint8Array.from([...whole, 0]))).code).toBe('data')
  })

  it('survives random changes', () => {
    const whole = encodeSafetensors(tensors, { a: 'b' })
    const headerEnd = 8 + headerOf(whole).length
    const likely = [...new TextEncoder().encode('0123456789{}[]":,\\- aFIU')]
    const random = generator(2)
    let read = 0
    for (let round = 0; round < 5000; round += 1) {
      const bytes = Uint8Array.from(whole)
      for (let change = 0; change <= random(3); change += 1) {
        const place = random(4) === 0 ? random(bytes.length) : 8 + random(headerEnd - 8)
        bytes[place] = random(2) === 0 ? random(256) : (likely[random(likely.length)] ?? 0)
      }
      try {
        expectConsistent(decodeSafetensors(bytes), bytes)
        read += 1
      } catch (error) {
        if (!(error instanceof GradlineError)) throw error
        expect(error.code).toBe('data')
      }
    }
    expect(read).toBeGreaterThan(200)
  })

  it('agrees with JSON.parse on every header it accepts', () => {
    const random = generator(3)
    const pieces = [
      '"a"',
      '"\\n"',
      '{',
      '}',
      '[',
      ']',
      ':',
      ',',
      '"dtype"',
      '"U8"',
      '"shape"',
      '"data_offsets"',
      '0',
      '1',
      ' ',
    ]
    const base =
      '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[],"data_offsets":[1,2]}}'
    let read = 0
    for (let round = 0; round < 5000; round += 1) {
      const at = random(base.length)
      const header = base.slice(0, at) + (pieces[random(pieces.length)] ?? '') + base.slice(at + random(3))
      try {
        const names = [...decodeSafetensors(file(header, 2)).tensors.keys()]
        expect(Object.keys(JSON.parse(header) as object).sort()).toEqual(names.sort())
        read += 1
      } catch (error) {
        if (!(error instanceof GradlineError)) throw error
      }
    }
    expect(read).toBeGreaterThan(50)
  })
})

function expectConsistent({ tensors: read }: Safetensors, bytes: Uint8Array): void {
  let total = 0
  for (const [name, tensor] of read) {
    expect(tensor.name).toBe(name)
    expect(tensor.data.length).toBe(tensor.shape.reduce((a, b) => a * b, 1))
    total += tensor.data.byteLength
  }
  expect(total).toBe(bytes.length - 8 - headerOf(bytes).length)
}

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
