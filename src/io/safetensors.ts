// Writes and reads the safetensors format (Hugging Face): 8 bytes little-endian header length, a JSON header, then the raw
// little-endian values. Bytes to arrays only: it opens no file and knows no model. Reading runs no code and builds no object
// from names in the file; what does not match the format exactly is refused. The platforms of this library are
// little-endian, as are their typed arrays.

import { describeValue, expected, GradlineError } from '../errors.js'
import {
  damaged,
  dtypeArrays,
  type Entry,
  type Header,
  HeaderParser,
  isDType,
  isWellFormed,
  maxEntries,
  maxHeaderBytes,
  maxRank,
  metadataName,
  type SafetensorsDType,
} from './safetensorsHeader.js'

export type { SafetensorsDType } from './safetensorsHeader.js'

export type SafetensorsData =
  | Float64Array
  | Float32Array
  | BigInt64Array
  | BigUint64Array
  | Int32Array
  | Uint32Array
  | Int16Array
  | Uint16Array
  | Int8Array
  | Uint8Array

export interface SafetensorsTensor {
  readonly name: string
  readonly dtype: SafetensorsDType
  /** Sizes, row-major; empty for a single value. A size may be 0. */
  readonly shape: readonly number[]
  readonly data: SafetensorsData
}

export interface Safetensors {
  /** By name, in the order of the header. */
  readonly tensors: ReadonlyMap<string, SafetensorsTensor>
  readonly metadata: ReadonlyMap<string, string>
}

function elementCount(shape: readonly number[]): number {
  // A zero anywhere makes the product 0, however large the others are.
  return shape.includes(0) ? 0 : shape.reduce((product, size) => product * size, 1)
}

// ---- Writing

/**
 * The bytes of a safetensors file. Values are laid out with the widest types first, otherwise in the given order, so that
 * every tensor is aligned to its type; equal input gives equal bytes. `metadata` is text by name.
 * Throws GradlineError `argument` or `shape` for wrong names, types, shapes or lengths.
 */
export function encodeSafetensors(
  tensors: readonly SafetensorsTensor[],
  metadata: Readonly<Record<string, string>> | ReadonlyMap<string, string> = {},
): Uint8Array {
  const where = 'encodeSafetensors'
  if (!Array.isArray(tensors)) throw expected('an array of tensors', 'tensors', tensors, { where })
  const names = new Set<string>()
  for (const tensor of tensors) checkTensor(tensor, names)
  const texts = metadataTexts(metadata)
  if (tensors.length > maxEntries || texts.length > maxEntries) {
    throw expected(`at most ${maxEntries} tensors and metadata texts`, 'the file', tensors.length, { where })
  }

  const ordered = [...tensors].sort((a, b) => b.data.BYTES_PER_ELEMENT - a.data.BYTES_PER_ELEMENT)
  // The text is put together entry by entry, since an object with a key "__proto__" would lose it.
  const entries: string[] = []
  if (texts.length > 0) entries.push(`"${metadataName}":{${texts.join(',')}}`)
  let end = 0
  for (const { name, dtype, shape, data } of ordered) {
    const begin = end
    end += data.byteLength
    const info = JSON.stringify({ dtype, shape, data_offsets: [begin, end] })
    entries.push(`${JSON.stringify(name)}:${info}`)
  }
  const header = new TextEncoder().encode(`{${entries.join(',')}}`)
  const headerBytes = Math.ceil(header.length / 8) * 8
  if (headerBytes > maxHeaderBytes) {
    throw expected(`at most ${maxHeaderBytes} bytes of names, shapes and metadata`, 'the header', headerBytes, {
      where,
    })
  }

  const bytes = allocate(8 + headerBytes + end)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(headerBytes), true)
  bytes.set(header, 8)
  bytes.fill(0x20, 8 + header.length, 8 + headerBytes)
  let offset = 8 + headerBytes
  for (const { data } of ordered) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), offset)
    offset += data.byteLength
  }
  return bytes
}

function allocate(length: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(length)
  } catch (cause) {
    throw new GradlineError('argument', `No memory for a safetensors file of ${length} bytes.`, { cause })
  }
}

function checkTensor(tensor: SafetensorsTensor, names: Set<string>): void {
  const where = 'encodeSafetensors'
  if (typeof tensor !== 'object' || tensor === null) throw expected('a tensor', 'tensors', tensor, { where })
  const { name, dtype, shape, data } = tensor
  if (typeof name !== 'string' || name === metadataName || !isWellFormed(name)) {
    throw expected(`well-formed text other than ${metadataName}`, 'the name of a tensor', name, { where })
  }
  if (names.has(name)) throw expected('names that occur once', 'the tensors', name, { where })
  names.add(name)
  const named = `tensor ${describeValue(name)}`
  if (typeof dtype !== 'string' || !isDType(dtype)) {
    throw expected(`one of ${Object.keys(dtypeArrays).join(', ')}`, `the dtype of ${named}`, dtype, { where })
  }
  if (!(data instanceof dtypeArrays[dtype])) {
    throw expected(`a ${dtypeArrays[dtype].name}, since its dtype is ${dtype},`, named, data, { where })
  }
  const isSize = (size: unknown): boolean => typeof size === 'number' && Number.isSafeInteger(size) && size >= 0
  if (!Array.isArray(shape) || shape.length > maxRank || !Array.from(shape).every(isSize)) {
    throw expected(`at most ${maxRank} non-negative integers`, `the shape of ${named}`, shape, {
      where,
      code: 'shape',
    })
  }
  const count = elementCount(shape)
  if (count !== data.length) {
    throw expected(`${count} values for shape [${shape.join(', ')}]`, named, data, { where, code: 'shape' })
  }
}

function metadataTexts(metadata: Readonly<Record<string, string>> | ReadonlyMap<string, string>): string[] {
  const where = 'encodeSafetensors'
  if (typeof metadata !== 'object' || metadata === null)
    throw expected('an object or a Map', 'metadata', metadata, { where })
  const pairs: [unknown, unknown][] = metadata instanceof Map ? [...metadata] : Object.entries(metadata)
  return pairs.map(([key, text]) => {
    if (typeof key !== 'string' || !isWellFormed(key))
      throw expected('well-formed text', 'a metadata key', key, { where })
    if (typeof text !== 'string' || !isWellFormed(text)) {
      throw expected('well-formed text', `metadata ${describeValue(key)}`, text, { where })
    }
    return `${JSON.stringify(key)}:${JSON.stringify(text)}`
  })
}

// ---- Reading

/**
 * Reads the bytes of a safetensors file; `name` is used in errors. Arrays are views of `bytes` where the alignment allows,
 * else copies. Throws GradlineError `data` unless the tensors cover the values exactly: in range, with no overlap and no hole,
 * each as long as its dtype and shape say, names occurring once. Budgets: header 100 MB, 100 000 tensors and as many metadata
 * texts, 32 dimensions.
 */
export function decodeSafetensors(bytes: Uint8Array, name = 'the safetensors data'): Safetensors {
  if (!(bytes instanceof Uint8Array)) throw expected('a Uint8Array', 'bytes', bytes, { where: 'decodeSafetensors' })
  const { entries, metadata, dataStart } = readHeader(bytes, name)
  checkCoverage(entries, bytes.length - dataStart, name)
  const tensors = new Map<string, SafetensorsTensor>()
  for (const { name, dtype, shape, begin, end } of entries) {
    tensors.set(name, { name, dtype, shape, data: view(bytes, dtype, dataStart + begin, end - begin) })
  }
  return { tensors, metadata }
}

function view(bytes: Uint8Array, dtype: SafetensorsDType, offset: number, length: number): SafetensorsData {
  const Type: new (buffer: ArrayBufferLike, byteOffset: number, length: number) => SafetensorsData = dtypeArrays[dtype]
  const width = dtypeArrays[dtype].BYTES_PER_ELEMENT
  const start = bytes.byteOffset + offset
  if (start % width === 0) return new Type(bytes.buffer, start, length / width)
  const copy = new Uint8Array(length)
  copy.set(bytes.subarray(offset, offset + length))
  return new Type(copy.buffer, 0, length / width)
}

function readHeader(bytes: Uint8Array, name: string): Header & { readonly dataStart: number } {
  if (bytes.length < 8) throw damaged(name, `expected 8 bytes of header length, received ${bytes.length} bytes`)
  const announced = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true)
  if (announced > BigInt(maxHeaderBytes)) {
    throw damaged(name, `expected a header of at most ${maxHeaderBytes} bytes, received a length of ${announced}`)
  }
  const dataStart = 8 + Number(announced)
  if (dataStart > bytes.length) {
    throw damaged(name, `it is cut short, expected a header up to byte ${dataStart}, received ${bytes.length} bytes`)
  }
  if (bytes[8] !== 0x7b || dataStart === 8) throw damaged(name, 'its header does not begin with {')
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes.subarray(8, dataStart))
  } catch {
    throw damaged(name, 'its header is not UTF-8 text')
  }
  return { ...new HeaderParser(text, name).parse(), dataStart }
}

// Tensors sorted by place must follow each other without gap, from 0 to the end of the file.
function checkCoverage(entries: readonly Entry[], dataBytes: number, name: string): void {
  let reached = 0
  const sorted = [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end)
  for (const { name: tensor, dtype, shape, begin, end } of sorted) {
    const named = `tensor ${describeValue(tensor)}`
    const wanted = elementCount(shape) * dtypeArrays[dtype].BYTES_PER_ELEMENT
    if (end - begin !== wanted) {
      const sizes = `${dtype} [${shape.join(', ')}]`
      throw damaged(name, `expected ${wanted} bytes for ${named} of ${sizes}, received data_offsets [${begin}, ${end}]`)
    }
    if (begin !== reached) {
      const problem = begin < reached ? 'overlaps the tensor before it' : 'leaves a hole before it'
      throw damaged(name, `${named} at [${begin}, ${end}] ${problem}, expected it to begin at ${reached}`)
    }
    reached = end
  }
  if (reached === dataBytes) return
  const problem = reached > dataBytes ? 'it is cut short' : 'bytes follow the last tensor'
  throw damaged(name, `${problem}, expected ${reached} bytes of values, received ${dataBytes}`)
}
