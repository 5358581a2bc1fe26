// The header of a safetensors file: the names of its types, its budgets, and a parser for exactly the JSON that it may hold.
// It does not judge whether the places of the tensors make sense.

import { describeValue, GradlineError } from '../errors.js'

// Types without a JavaScript array of their own are kept as their bits: F16 and BF16 in 16, F8 in 8; BOOL is 0 or 1.
export const dtypeArrays = {
  F64: Float64Array,
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  F8_E4M3: Uint8Array,
  F8_E5M2: Uint8Array,
  I64: BigInt64Array,
  U64: BigUint64Array,
  I32: Int32Array,
  U32: Uint32Array,
  I16: Int16Array,
  U16: Uint16Array,
  I8: Int8Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
} as const

export type SafetensorsDType = keyof typeof dtypeArrays

export const maxHeaderBytes = 100_000_000
export const maxEntries = 100_000
export const maxRank = 32
export const metadataName = '__metadata__'

export function isDType(name: string): name is SafetensorsDType {
  return Object.hasOwn(dtypeArrays, name)
}

// A lone half of a surrogate pair has no UTF-8 form, so two such names could become one.
export function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text)
}

export interface Entry {
  readonly name: string
  readonly dtype: SafetensorsDType
  readonly shape: readonly number[]
  readonly begin: number
  readonly end: number
}

export interface Header {
  readonly entries: readonly Entry[]
  readonly metadata: ReadonlyMap<string, string>
}

export function damaged(name: string, problem: string): GradlineError {
  return new GradlineError('data', `${name} is not a valid safetensors file: ${problem}.`)
}

/**
 * Reads exactly the JSON that a safetensors header may hold. A general parser would build whatever a hostile header says
 * (100 MB of brackets become gigabytes of arrays) and would hide a name that occurs twice.
 */
export class HeaderParser {
  readonly #text: string
  readonly #file: string
  #at = 0

  constructor(text: string, file: string) {
    this.#text = text
    this.#file = file
  }

  parse(): Header {
    const entries: Entry[] = []
    let metadata: ReadonlyMap<string, string> = new Map()
    this.#object('the header', (name) => {
      if (name === metadataName) metadata = this.#metadata()
      else entries.push(this.#entry(name))
    })
    this.#skipSpace()
    if (this.#at !== this.#text.length) throw this.#wrong('nothing but spaces after the header')
    return { entries, metadata }
  }

  #metadata(): ReadonlyMap<string, string> {
    const texts = new Map<string, string>()
    this.#object('the metadata', (key) => texts.set(key, this.#string()))
    return texts
  }

  #entry(name: string): Entry {
    let dtype: SafetensorsDType | undefined
    let shape: readonly number[] | undefined
    let offsets: readonly number[] | undefined
    const named = `tensor ${describeValue(name)}`
    this.#object(named, (key) => {
      if (key === 'dtype') dtype = this.#dtype(named)
      else if (key === 'shape') shape = this.#integers(maxRank)
      else if (key === 'data_offsets') offsets = this.#integers(2)
      else throw this.#wrong(`dtype, shape or data_offsets in ${named}, not ${describeValue(key)},`)
    })
    const [begin, end] = offsets ?? []
    if (dtype === undefined || shape === undefined || begin === undefined || end === undefined) {
      throw damaged(this.#file, `${named} needs a dtype, a shape and two data_offsets`)
    }
    return { name, dtype, shape, begin, end }
  }

  #dtype(named: string): SafetensorsDType {
    const dtype = this.#string()
    if (isDType(dtype)) return dtype
    throw damaged(
      this.#file,
      `expected one of ${Object.keys(dtypeArrays).join(', ')} for the dtype of ${named}, received ${describeValue(dtype)}`,
    )
  }

  // `member` reads the value of one key. Keys may not repeat.
  #object(what: string, member: (key: string) => void): void {
    const seen = new Set<string>()
    this.#expect('{')
    if (this.#accept('}')) return
    do {
      const key = this.#string()
      if (seen.has(key)) throw damaged(this.#file, `the name ${describeValue(key)} occurs twice in ${what}`)
      if (seen.size === maxEntries + 1) throw damaged(this.#file, `${what} has more than ${maxEntries} names`)
      seen.add(key)
      this.#expect(':')
      member(key)
    } while (this.#accept(','))
    this.#expect('}')
  }

  #integers(most: number): number[] {
    const numbers: number[] = []
    this.#expect('[')
    if (this.#accept(']')) return numbers
    do {
      if (numbers.length === most) throw this.#wrong(`at most ${most} numbers`)
      numbers.push(this.#integer())
    } while (this.#accept(','))
    this.#expect(']')
    return numbers
  }

  #integer(): number {
    this.#skipSpace()
    const start = this.#at
    while (this.#at - start < 17 && isDigit(this.#text.charCodeAt(this.#at))) this.#at += 1
    const digits = this.#text.slice(start, this.#at)
    const value = Number(digits)
    if (digits !== '' && Number.isSafeInteger(value) && String(value) === digits) return value
    this.#at = start
    throw this.#wrong('a non-negative integer below 2^53')
  }

  // Finds the closing quote; escapes and forbidden characters are JSON.parse's to judge, on this one string.
  #string(): string {
    this.#expect('"')
    const start = this.#at
    let end = this.#text.indexOf('"', start)
    while (end !== -1 && this.#isEscaped(start, end)) end = this.#text.indexOf('"', end + 1)
    if (end === -1) throw this.#wrong('a closing quote')
    let value: unknown
    try {
      value = JSON.parse(this.#text.slice(start - 1, end + 1))
    } catch {
      throw this.#wrong('JSON text')
    }
    this.#at = end + 1
    if (typeof value === 'string' && isWellFormed(value)) return value
    throw this.#wrong('well-formed text')
  }

  #isEscaped(start: number, quote: number): boolean {
    let slashes = 0
    while (quote - slashes > start && this.#text[quote - slashes - 1] === '\\') slashes += 1
    return slashes % 2 === 1
  }

  #accept(symbol: string): boolean {
    this.#skipSpace()
    if (this.#text[this.#at] !== symbol) return false
    this.#at += 1
    return true
  }

  #expect(symbol: string): void {
    if (!this.#accept(symbol)) throw this.#wrong(symbol)
  }

  #skipSpace(): void {
    while (isSpace(this.#text.charCodeAt(this.#at))) this.#at += 1
  }

  #wrong(wanted: string): GradlineError {
    const rest = this.#text.slice(this.#at, this.#at + 20)
    const received = rest === '' ? 'its end' : describeValue(rest)
    return damaged(this.#file, `expected ${wanted} at character ${this.#at} of the header, received ${received}`)
  }
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39
}

function isSpace(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d
}
