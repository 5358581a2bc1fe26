// The meaning of every op in float64, written from its definition and independent of the native code. Beside each value
// stands the size of its terms: the sum of the absolute values that were added and subtracted to make it. A result in
// precision u may be off by c * u * sqrt(K) times that (K terms), as in Higham's analysis of sums.
import type { Shape } from '../../src/shape.js'

export interface Nd {
  readonly shape: Shape
  readonly data: ArrayLike<number>
}

export interface Exact {
  readonly values: Float64Array
  readonly terms: Float64Array
}

export const sizeOf = (shape: Shape): number => shape.reduce((a, b) => a * b, 1)

/** Calls visit(index, position) for every element of a shape, row by row. */
export function eachIndex(shape: Shape, visit: (index: readonly number[], i: number) => void): void {
  const index = shape.map(() => 0)
  const size = sizeOf(shape)
  for (let i = 0; i < size; i++) {
    visit(index, i)
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis] = index[axis]! + 1
      if (index[axis]! < shape[axis]!) break
      index[axis] = 0
    }
  }
}

/** Position of an index; an axis of length 1 repeats and missing leading axes do too. */
export function positionOf(shape: Shape, index: readonly number[]): number {
  let at = 0
  const missing = index.length - shape.length
  shape.forEach((dim, axis) => {
    at = at * dim + (dim === 1 ? 0 : index[axis + missing]!)
  })
  return at
}

export const at = (x: Nd, ...index: number[]): number => x.data[positionOf(x.shape, index)]!

/** Each element of the result by itself: `value` gives it, and the size of its terms where that is not its own size. */
export function table(shape: Shape, value: (index: readonly number[], i: number) => number | [number, number]): Exact {
  const values = new Float64Array(sizeOf(shape))
  const terms = new Float64Array(values.length)
  eachIndex(shape, (index, i) => {
    const made = value(index, i)
    const [v, t] = typeof made === 'number' ? [made, Math.abs(made)] : made
    values[i] = v
    terms[i] = t
  })
  return { values, terms }
}

export const map = (x: Nd, f: (x: number) => number | [number, number]): Exact =>
  table(x.shape, (_, i) => f(x.data[i]!))

export function joint(...shapes: Shape[]): Shape {
  const rank = Math.max(...shapes.map((s) => s.length))
  return Array.from({ length: rank }, (_, i) => Math.max(...shapes.map((s) => s[i - rank + s.length] ?? 1)))
}

/** f of operands that broadcast. */
export function combine(f: (...x: number[]) => number | [number, number], ...operands: Nd[]): Exact {
  return table(joint(...operands.map((x) => x.shape)), (index) =>
    f(...operands.map((x) => x.data[positionOf(x.shape, index)]!)),
  )
}

/** Sums of products or of single numbers: visit(add) calls add(position of the result, term) for every term. */
export function sums(shape: Shape, visit: (add: (i: number, term: number) => void) => void): Exact {
  const values = new Float64Array(sizeOf(shape))
  const terms = new Float64Array(values.length)
  visit((i, term) => {
    values[i] = values[i]! + term
    terms[i] = terms[i]! + Math.abs(term)
  })
  return { values, terms }
}

// ---- Reductions ----------------------------------------------------------------------------------------------------

const kept = (shape: Shape, axes: readonly number[]): Shape => shape.map((dim, i) => (axes.includes(i) ? 1 : dim))

/** Axes keep length 1 here; the order of elements is the same without them. */
export function sumOver(x: Nd, axes: readonly number[], factor = 1): Exact {
  const shape = kept(x.shape, axes)
  return sums(shape, (add) => {
    eachIndex(x.shape, (index, i) => {
      add(positionOf(shape, index), factor * x.data[i]!)
    })
  })
}

export function maxOver(x: Nd, axes: readonly number[]): Exact {
  const shape = kept(x.shape, axes)
  const values = new Float64Array(sizeOf(shape)).fill(Number.NEGATIVE_INFINITY)
  eachIndex(x.shape, (index, i) => {
    const to = positionOf(shape, index)
    values[to] = Math.max(values[to]!, x.data[i]!)
  })
  return { values, terms: values.map(Math.abs) }
}

export function argmaxOf(x: Nd): Exact {
  const k = x.shape.at(-1)!
  return table(x.shape.slice(0, -1), (_, row) => {
    let best = 0
    for (let j = 1; j < k; j++) if (x.data[row * k + j]! > x.data[row * k + best]!) best = j
    return best
  })
}

// ---- Products ------------------------------------------------------------------------------------------------------

export function product(a: Nd, b: Nd, transposeA = false, transposeB = false): Exact {
  const [m, k] = transposeA ? [a.shape[1]!, a.shape[0]!] : [a.shape[0]!, a.shape[1]!]
  const n = transposeB ? b.shape[0]! : b.shape[1]!
  return table([m, n], ([i, j]) => {
    let value = 0
    let terms = 0
    for (let p = 0; p < k; p++) {
      const left = a.data[transposeA ? p * m + i! : i! * k + p]!
      const right = b.data[transposeB ? j! * k + p : p * n + j!]!
      value += left * right
      terms += Math.abs(left * right)
    }
    return [value, terms]
  })
}

export interface Window {
  readonly x: Shape
  readonly y: Shape
  readonly kernel: readonly [number, number]
  readonly stride: readonly [number, number]
  /** Before the first row and column. */
  readonly pad: readonly [number, number]
  readonly dilation?: readonly [number, number]
}

// Calls visit(oy, ox, iy, ix, ky, kx) for each pair of a result pixel and an image pixel under its window.
function eachTap(
  { x, y, kernel, stride, pad, dilation = [1, 1] }: Window,
  visit: (oy: number, ox: number, iy: number, ix: number, ky: number, kx: number) => void,
): void {
  for (let oy = 0; oy < y[1]!; oy++)
    for (let ox = 0; ox < y[2]!; ox++)
      for (let ky = 0; ky < kernel[0]; ky++)
        for (let kx = 0; kx < kernel[1]; kx++) {
          const iy = oy * stride[0] - pad[0] + ky * dilation[0]
          const ix = ox * stride[1] - pad[1] + kx * dilation[1]
          if (iy >= 0 && iy < x[1]! && ix >= 0 && ix < x[2]!) visit(oy, ox, iy, ix, ky, kx)
        }
}

/**
 * A convolution is the trilinear form sum y[i] x[j] w[k] over the triples visited here; the op and its two adjoints each
 * leave one of the three open.
 */
export function eachProduct(
  window: Window,
  w: Shape,
  groups: number,
  visit: (y: number, x: number, w: number) => void,
) {
  const [n, h, width, ci] = window.x as [number, number, number, number]
  const [, oh, ow, co] = window.y as [number, number, number, number]
  const perGroup = ci / groups
  const outPerGroup = co / groups
  for (let image = 0; image < n; image++)
    eachTap(window, (oy, ox, iy, ix, ky, kx) => {
      for (let o = 0; o < co; o++) {
        const group = Math.floor(o / outPerGroup)
        for (let c = 0; c < perGroup; c++) {
          visit(
            ((image * oh + oy) * ow + ox) * co + o,
            ((image * h + iy) * width + ix) * ci + group * perGroup + c,
            ((ky * w[1]! + kx) * perGroup + c) * co + o,
          )
        }
      }
    })
}

// ---- Pools ---------------------------------------------------------------------------------------------------------

/** For each element of y the positions in x that its window covers, row by row. */
export function windowsOf(window: Window): number[][] {
  const [n, h, w, c] = window.x as [number, number, number, number]
  const [, oh, ow] = window.y as [number, number, number, number]
  const covered: number[][] = Array.from({ length: sizeOf(window.y) }, () => [])
  for (let image = 0; image < n; image++)
    eachTap(window, (oy, ox, iy, ix) => {
      for (let channel = 0; channel < c; channel++) {
        covered[((image * oh + oy) * ow + ox) * c + channel]!.push(((image * h + iy) * w + ix) * c + channel)
      }
    })
  return covered
}

export function divisors(window: Window, countPadding: boolean): number[] {
  const whole = window.kernel[0] * window.kernel[1]
  return windowsOf(window).map((covered) => (countPadding ? whole : covered.length))
}

// ---- Rows of channels ----------------------------------------------------------------------------------------------

const rowsOf = (x: Nd): { rows: number; k: number } => ({ k: x.shape.at(-1)!, rows: sizeOf(x.shape) / x.shape.at(-1)! })

/** softmax, and log of the sum of exponentials, of every row. */
export function softmaxRows(x: Nd): { p: Exact; logTotal: number[]; largest: number[] } {
  const { k, rows } = rowsOf(x)
  const largest: number[] = []
  const logTotal: number[] = []
  for (let r = 0; r < rows; r++) {
    const row = Array.from({ length: k }, (_, j) => x.data[r * k + j]!)
    largest[r] = Math.max(...row)
    logTotal[r] = Math.log(row.reduce((total, v) => total + Math.exp(v - largest[r]!), 0))
  }
  // The exponent is rounded before e is raised to it, which costs as many units as it is large.
  const p = table(x.shape, (_, i) => {
    const r = Math.floor(i / k)
    const shifted = x.data[i]! - largest[r]!
    const value = Math.exp(shifted - logTotal[r]!)
    return [value, value * (1 + Math.abs(shifted))]
  })
  return { p, logTotal, largest }
}

/** Weights of the classes [n, k] whichever way labels are given. */
export function classWeights(labels: Nd, n: number, k: number): Nd {
  if (labels.shape.length === 2) return labels
  const data = new Float64Array(n * k)
  for (let r = 0; r < n; r++) data[r * k + labels.data[r]!] = 1
  return { shape: [n, k], data }
}

export function crossEntropy(logits: Nd, labels: Nd): Exact[] {
  const [n, k] = logits.shape as [number, number]
  const { p, logTotal, largest } = softmaxRows(logits)
  const t = classWeights(labels, n, k)
  const loss = table([n], ([r]) => {
    let value = 0
    let terms = 0
    for (let j = 0; j < k; j++) {
      const shifted = at(logits, r!, j) - largest[r!]!
      value += at(t, r!, j) * (logTotal[r!]! - shifted)
      terms += Math.abs(at(t, r!, j)) * (1 + logTotal[r!]! + Math.abs(shifted))
    }
    return [value, terms]
  })
  return [loss, p]
}

export interface Statistics {
  readonly mean: Exact
  readonly variance: Exact
}

/** Mean and biased variance per channel over all rows. */
export function statistics(x: Nd): Statistics {
  const { k, rows } = rowsOf(x)
  const column = (c: number): number[] => Array.from({ length: rows }, (_, r) => x.data[r * k + c]!)
  const average = (values: number[]): number => values.reduce((a, b) => a + b, 0) / values.length
  const mean = table([k], ([c]) => [average(column(c!)), average(column(c!).map(Math.abs))])
  const variance = table([k], ([c]) => {
    const deviations = column(c!).map((v) => (v - mean.values[c!]!) ** 2)
    return [average(deviations), average(column(c!).map((v) => (Math.abs(v) + mean.terms[c!]!) ** 2))]
  })
  return { mean, variance }
}

export function batchNorm(x: Nd, gamma: Nd, beta: Nd, eps: number): Exact[] {
  const k = x.shape.at(-1)!
  const { mean, variance } = statistics(x)
  const y = table(x.shape, (_, i) => {
    const c = i % k
    const spread = variance.values[c]! + eps
    const scale = gamma.data[c]! / Math.sqrt(spread)
    const normalized = scale * (x.data[i]! - mean.values[c]!)
    const terms =
      Math.abs(scale) * (Math.abs(x.data[i]!) + mean.terms[c]!) +
      Math.abs(normalized) * (variance.terms[c]! / spread) +
      Math.abs(beta.data[c]!)
    return [normalized + beta.data[c]!, terms]
  })
  return [y, mean, variance]
}

export function batchNormGrad(dy: Nd, x: Nd, gamma: Nd, mean: Nd, variance: Nd, eps: number): Exact[] {
  const { k, rows } = rowsOf(x)
  const inverse = (c: number): number => 1 / Math.sqrt(variance.data[c]! + eps)
  const z = (i: number): number => (x.data[i]! - mean.data[i % k]!) * inverse(i % k)
  const zTerms = (i: number): number => (Math.abs(x.data[i]!) + Math.abs(mean.data[i % k]!)) * inverse(i % k)
  const perChannel = (f: (i: number) => number): Float64Array => {
    const total = new Float64Array(k)
    for (let i = 0; i < rows * k; i++) total[i % k] = total[i % k]! + f(i)
    return total
  }
  const dbeta = { values: perChannel((i) => dy.data[i]!), terms: perChannel((i) => Math.abs(dy.data[i]!)) }
  const dgamma = {
    values: perChannel((i) => dy.data[i]! * z(i)),
    terms: perChannel((i) => Math.abs(dy.data[i]!) * zTerms(i)),
  }
  const dx = table(x.shape, (_, i) => {
    const c = i % k
    const scale = gamma.data[c]! * inverse(c)
    const inner = dy.data[i]! - dbeta.values[c]! / rows - (z(i) * dgamma.values[c]!) / rows
    const terms = Math.abs(dy.data[i]!) + dbeta.terms[c]! / rows + (zTerms(i) * dgamma.terms[c]!) / rows
    return [scale * inner, Math.abs(scale) * terms]
  })
  return [dx, dgamma, dbeta]
}

// ---- Random numbers ------------------------------------------------------------------------------------------------

/** One block of Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011). */
export function philox(counter: readonly number[], key: readonly number[]): number[] {
  const word = (value: bigint): number => Number(value & 0xffffffffn)
  let [c0, c1, c2, c3] = counter as [number, number, number, number]
  let [k0, k1] = key as [number, number]
  for (let round = 0; round < 10; round++) {
    const a = 0xd2511f53n * BigInt(c0)
    const b = 0xcd9e8d57n * BigInt(c2)
    ;[c0, c1, c2, c3] = [(word(b >> 32n) ^ c1 ^ k0) >>> 0, word(b), (word(a >> 32n) ^ c3 ^ k1) >>> 0, word(a)]
    k0 = (k0 + 0x9e3779b9) >>> 0
    k1 = (k1 + 0xbb67ae85) >>> 0
  }
  return [c0, c1, c2, c3]
}

export const purposes = { dropout: 1, uniform: 2, normal: 3, shuffle: 4, choice: 5, window: 6 }

/** The 32 random bits of each of the first `count` elements of a stream in a step. */
export function randomBits(
  { seed, step }: { seed: number; step: number },
  stream: number,
  purpose: keyof typeof purposes,
  count: number,
  firstBlock = 0,
): number[] {
  const key = [seed >>> 0, Math.floor(seed / 2 ** 32)]
  const bits: number[] = []
  for (let block = firstBlock; bits.length < count; block++) {
    const high = ((purposes[purpose] << 24) | (Math.floor(step / 2 ** 32) & 0xffff)) >>> 0
    bits.push(...philox([block, stream, step >>> 0, high], key))
  }
  return bits.slice(0, count)
}

/** 24 bits as a number in [0, 1). */
export const fraction = (bits: number): number => (bits >>> 8) / 2 ** 24

/** Image of i under the permutation of 0..n-1 of an epoch: six rounds of a Feistel network, repeated until below n. */
export function permuted(i: number, n: number, seed: number, epoch: number): number {
  let half = 1
  while (2 ** (2 * half) < n) half++
  const size = 2 ** half
  let at = i
  do {
    let [left, right] = [Math.floor(at / size), at % size]
    for (let round = 0; round < 6; round++) {
      const [f] = randomBits({ seed, step: epoch }, round, 'shuffle', 1, right)
      ;[left, right] = [right, ((left ^ f!) >>> 0) % size]
    }
    at = left * size + right
  } while (at >= n)
  return at
}
