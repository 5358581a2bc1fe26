// What the tests of the cuBLAS binding share: the stand-in under the names of the libraries, and products in double
// precision to compare with. The stand-in and the binding are built by `npm run build -- cublas --cublas`.

import { copyFileSync, existsSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const built = (name: string): string => fileURLToPath(new URL(`../../build/Release/${name}.node`, import.meta.url))

export const binding: string = built('gradline_cublas')
const library = built('cublas_standin')

/** The binding is for Linux; elsewhere the tests are left out. */
export const here: boolean = process.platform === 'linux'

export interface Report {
  calls: number
  /** The call that was made to fail. */
  failed: string
  alive: Record<string, number>
  counts: Record<string, number>
  violations: string[]
}

/** The stand-in of this process. */
export function control(): {
  report(): Report
  reset(options?: { failAt?: number; rude?: boolean; onlyRight?: boolean; unsupported?: number }): void
  /** From now on it computes on the emulated card of the backend at this path. */
  attach(path: string): void
} {
  for (const path of [binding, library]) {
    if (!existsSync(path)) throw new Error(`${path} is missing: npm run build -- cublas --cublas`)
  }
  const native = createRequire(import.meta.url)(library) as {
    report(): string
    reset(options: object): void
    attach(path: string): boolean
  }
  return {
    report: () => JSON.parse(native.report()) as Report,
    reset: (options = {}) => native.reset(options),
    attach: (path) => {
      if (!native.attach(path)) throw new Error(`${path} has no emulated card`)
    },
  }
}

/** A folder with the stand-in as libcublas, libcublasLt (of `major`) and libcuda; `without` takes a function away. */
export function folder({ major = 13, driver = true, without = '' } = {}): string {
  const made = mkdtempSync(join(tmpdir(), 'gradline-cublas-'))
  let source = library
  if (without) {
    // The name is spoilt where the loader looks for it.
    source = join(made, 'standin.so')
    copyFileSync(library, source)
    const bytes = readFileSync(source)
    for (let at = bytes.indexOf(`\0${without}\0`); at >= 0; at = bytes.indexOf(`\0${without}\0`, at + 1))
      bytes[at + 1] = 88
    writeFileSync(source, bytes)
  }
  const names = [`libcublas.so.${major}`, `libcublasLt.so.${major}`, ...(driver ? ['libcuda.so.1'] : [])]
  for (const name of names) symlinkSync(source, join(made, name))
  return made
}

/** Integers from -3 to 3, whose products are exact; no two places alike. */
export function integers(length: number, seed: number): Float32Array {
  let state = seed * 2654435761
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return ((state >>> 16) % 7) - 3
  })
}

export interface Sizes {
  m: number
  n: number
  k: number
  transposeA?: boolean
  transposeB?: boolean
  lda?: number
  ldb?: number
  ldc?: number
  alpha?: number
  beta?: number
}

/** Elements a matrix of this many rows takes in memory. */
export const span = (rows: number, columns: number, ld = columns): number => (rows - 1) * ld + columns

/** op(a) [m, k] and op(b) [k, n] as functions of row and column. */
export function operands(s: Sizes, a: ArrayLike<number>, b: ArrayLike<number>) {
  const lda = s.lda ?? (s.transposeA ? s.m : s.k)
  const ldb = s.ldb ?? (s.transposeB ? s.k : s.n)
  return {
    a: (i: number, p: number): number => a[s.transposeA ? p * lda + i : i * lda + p] as number,
    b: (p: number, j: number): number => b[s.transposeB ? j * ldb + p : p * ldb + j] as number,
  }
}

/** alpha * op(a) * op(b) + beta * c as rows without gaps. */
export function product(s: Sizes, a: ArrayLike<number>, b: ArrayLike<number>, c?: ArrayLike<number>): Float64Array {
  const op = operands(s, a, b)
  const out = new Float64Array(s.m * s.n)
  for (let i = 0; i < s.m; i++) {
    for (let j = 0; j < s.n; j++) {
      let sum = 0
      for (let p = 0; p < s.k; p++) sum += op.a(i, p) * op.b(p, j)
      const before = s.beta ? s.beta * (c?.[i * (s.ldc ?? s.n) + j] as number) : 0
      out[i * s.n + j] = (s.alpha ?? 1) * sum + before
    }
  }
  return out
}

/** The elements of a matrix whose rows lie `ld` apart. */
export const packed = (values: ArrayLike<number>, m: number, n: number, ld = n): number[] =>
  Array.from({ length: m * n }, (_, i) => values[Math.floor(i / n) * ld + (i % n)] as number)
