// Reads IDX files, the format of the MNIST family: two zero bytes, a type byte, the rank, the sizes as big-endian 32-bit
// numbers, then the values, big-endian (Y. LeCun, "The MNIST database"). Plain or gzip. It gives numbers, not a Dataset,
// and never holds more memory than the header announces, nor than the budget.

import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { checkInteger, checkOptions, expected, fileError, GradlineError } from '../errors.js'

export type IdxData = Uint8Array | Int8Array | Int16Array | Int32Array | Float32Array | Float64Array

export interface IdxArray {
  /** At least one size, all positive; row-major. */
  readonly shape: readonly number[]
  readonly data: IdxData
}

interface IdxType {
  readonly bytes: number
  readonly decode: (view: DataView, count: number) => IdxData
}

// A Uint8Array needs no change of byte order, so it stays a view of the file's bytes.
const idxTypes: ReadonlyMap<number, IdxType> = new Map<number, IdxType>([
  [0x08, { bytes: 1, decode: (view, count) => new Uint8Array(view.buffer, view.byteOffset, count) }],
  [0x09, { bytes: 1, decode: (view, count) => fill(new Int8Array(count), (i) => view.getInt8(i)) }],
  [0x0b, { bytes: 2, decode: (view, count) => fill(new Int16Array(count), (i) => view.getInt16(2 * i)) }],
  [0x0c, { bytes: 4, decode: (view, count) => fill(new Int32Array(count), (i) => view.getInt32(4 * i)) }],
  [0x0d, { bytes: 4, decode: (view, count) => fill(new Float32Array(count), (i) => view.getFloat32(4 * i)) }],
  [0x0e, { bytes: 8, decode: (view, count) => fill(new Float64Array(count), (i) => view.getFloat64(8 * i)) }],
])

function fill<T extends IdxData>(data: T, read: (index: number) => number): T {
  for (let i = 0; i < data.length; i += 1) data[i] = read(i)
  return data
}

interface IdxHeader {
  readonly type: IdxType
  readonly shape: readonly number[]
  readonly headerBytes: number
  readonly totalBytes: number
}

const longestHeader = 4 + 4 * 255

/** Bytes of the header: known after the first four. */
function headerLength(bytes: Uint8Array): number {
  return 4 + 4 * (bytes[3] ?? 0)
}

function parseHeader(bytes: Uint8Array, name: string): IdxHeader {
  if (bytes.length < 4) throw truncated(name, 'at least 4 bytes of header', bytes.length)
  const [zero0, zero1, code, rank] = bytes
  const type = idxTypes.get(code ?? 0)
  if (zero0 !== 0 || zero1 !== 0 || type === undefined || rank === 0) {
    const magic = Array.from(bytes.subarray(0, 4), (byte) => byte.toString(16).padStart(2, '0')).join(' ')
    const text = `${name} is not an IDX file: expected 00 00, a type from 08 to 0e and a rank above 0, received ${magic}.`
    const gzip = zero0 === 0x1f && zero1 === 0x8b
    throw new GradlineError('data', text, {
      fix: gzip ? 'These bytes are gzip: unpack them first, or use readIdx, which does.' : undefined,
    })
  }
  const headerBytes = headerLength(bytes)
  if (bytes.length < headerBytes) throw truncated(name, `${headerBytes} bytes of header`, bytes.length)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const shape: number[] = []
  let dataBytes = type.bytes
  for (let offset = 4; offset < headerBytes; offset += 4) {
    const size = view.getUint32(offset)
    shape.push(size)
    dataBytes *= size
    if (size === 0) {
      throw new GradlineError(
        'data',
        `${name} holds no values: size ${shape.length - 1} of [${shape.join(', ')}] is 0.`,
      )
    }
    if (dataBytes > Number.MAX_SAFE_INTEGER) {
      throw new GradlineError('data', `${name} announces impossible sizes: [${shape.join(', ')}].`, {
        fix: 'The file is damaged or not an IDX file.',
      })
    }
  }
  return { type, shape, headerBytes, totalBytes: headerBytes + dataBytes }
}

function truncated(name: string, wanted: string, received: number): GradlineError {
  return new GradlineError('data', `${name} is cut short: expected ${wanted}, received ${received} bytes.`, {
    fix: 'Fetch the file again.',
  })
}

function tooLong(name: string, header: IdxHeader, received: string): GradlineError {
  const sizes = `[${header.shape.join(', ')}]`
  return new GradlineError(
    'data',
    `${name} is too long: expected ${header.totalBytes} bytes for ${sizes}, received ${received}.`,
  )
}

/**
 * Parses the bytes of an unpacked IDX file; `name` is used in errors. Unsigned bytes come back as a view of `bytes`, other
 * types as a new array. Throws GradlineError `data` if the bytes are not exactly one IDX array.
 */
export function parseIdx(bytes: Uint8Array, name = 'the IDX data'): IdxArray {
  if (!(bytes instanceof Uint8Array)) throw expected('a Uint8Array', 'bytes', bytes)
  const header = parseHeader(bytes, name)
  const { type, shape, headerBytes, totalBytes } = header
  if (bytes.length < totalBytes) throw truncated(name, `${totalBytes} bytes for [${shape.join(', ')}]`, bytes.length)
  if (bytes.length > totalBytes) throw tooLong(name, header, `${bytes.length}`)
  const view = new DataView(bytes.buffer, bytes.byteOffset + headerBytes, totalBytes - headerBytes)
  return { shape, data: type.decode(view, view.byteLength / type.bytes) }
}

export interface ReadIdxOptions {
  /** Largest unpacked size accepted, in bytes. Default 2^30 (1 GiB). */
  readonly maxBytes?: number
}

/**
 * Reads an IDX file, plain or gzip (told by its first bytes). Throws GradlineError `missing` or `file` if it cannot be read,
 * `data` if its contents are wrong or larger than `maxBytes`.
 */
export async function readIdx(path: string, options?: ReadIdxOptions): Promise<IdxArray> {
  if (typeof path !== 'string' || path === '') throw expected('a file name', 'path', path)
  const { maxBytes = 2 ** 30 } = checkOptions('readIdx', options, ['maxBytes'])
  checkInteger('maxBytes', maxBytes, { min: 1, where: 'readIdx' })
  try {
    // A pipe or a device could keep the caller waiting for ever.
    if (!(await stat(path)).isFile()) throw new GradlineError('file', `Cannot read ${path}: it is not a regular file.`)
    return parseIdx(await collect(await unpacked(path), path, maxBytes), path)
  } catch (cause) {
    if (cause instanceof GradlineError) throw cause
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
    if (code.startsWith('Z_')) {
      throw new GradlineError('data', `${path} is not a whole gzip file: ${describeZlib(cause)}.`, {
        fix: 'Fetch the file again.',
        cause,
      })
    }
    throw fileError('read', path, cause)
  }
}

function describeZlib(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause)
}

async function unpacked(path: string): Promise<Readable> {
  const start: Buffer[] = []
  for await (const chunk of createReadStream(path, { end: 1 })) if (Buffer.isBuffer(chunk)) start.push(chunk)
  const file = createReadStream(path, { highWaterMark: 2 ** 20 })
  if (!Buffer.concat(start).equals(Buffer.from([0x1f, 0x8b]))) return file
  return Readable.from(gunzip(file))
}

// pipe() does not hand a read error on to the unpacker, so it is handed on here; leaving early closes both.
async function* gunzip(file: Readable): AsyncGenerator<Buffer> {
  const unzip = createGunzip({ chunkSize: 2 ** 18 })
  file.on('error', (error) => unzip.destroy(error))
  file.pipe(unzip)
  try {
    for await (const chunk of unzip) if (Buffer.isBuffer(chunk)) yield chunk
  } finally {
    file.destroy()
    unzip.destroy()
  }
}

// Joins the chunks into one array whose size the header tells; stops at the first byte too many, whatever is packed there.
async function collect(chunks: AsyncIterable<unknown>, path: string, maxBytes: number): Promise<Uint8Array> {
  let start = Buffer.alloc(0)
  let all: Uint8Array | undefined
  let header: IdxHeader | undefined
  let filled = 0
  for await (const piece of chunks) {
    if (!Buffer.isBuffer(piece)) continue
    let chunk: Buffer = piece
    if (header === undefined || all === undefined) {
      start = Buffer.concat([start, chunk])
      if (start.length < longestHeader && (start.length < 4 || start.length < headerLength(start))) continue
      header = parseHeader(start, path)
      if (header.totalBytes > maxBytes) throw overBudget(path, header, maxBytes)
      all = new Uint8Array(header.totalBytes)
      chunk = start
    }
    if (filled + chunk.length > all.length) throw tooLong(path, header, 'more')
    all.set(chunk, filled)
    filled += chunk.length
  }
  return all === undefined ? start : all.subarray(0, filled)
}

function overBudget(path: string, { shape, totalBytes }: IdxHeader, maxBytes: number): GradlineError {
  const text = `${path} announces ${totalBytes} bytes for [${shape.join(', ')}], but at most ${maxBytes} are allowed.`
  return new GradlineError('data', text, { fix: 'If the file is right, raise the option maxBytes.' })
}
