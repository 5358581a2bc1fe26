// A small network trained in plain JavaScript and float64, written from the formulas and from nothing of the library: what
// the numbers of training are compared with. No tests.

export interface Layer64 {
  readonly weight: Float64Array
  readonly bias: Float64Array
  readonly inputs: number
  readonly units: number
}

export type Rule = (theta: Float64Array, gradient: Float64Array, slot: Map<string, Float64Array>, t: number) => void

const slotOf = (slot: Map<string, Float64Array>, name: string, size: number): Float64Array => {
  const found = slot.get(name) ?? new Float64Array(size)
  slot.set(name, found)
  return found
}

export const sgdRule =
  (lr: number): Rule =>
  (theta, g) => {
    for (let i = 0; i < g.length; i++) theta[i]! -= lr * g[i]!
  }

/** v = beta v - lr g; theta += v */
export const momentumRule =
  (lr: number, beta: number): Rule =>
  (theta, g, slot) => {
    const v = slotOf(slot, 'v', g.length)
    for (let i = 0; i < g.length; i++) {
      v[i] = beta * v[i]! - lr * g[i]!
      theta[i]! += v[i]!
    }
  }

/** For the shifted parameters: v = beta v - lr g; theta += beta v - lr g */
export const nesterovRule =
  (lr: number, beta: number): Rule =>
  (theta, g, slot) => {
    const v = slotOf(slot, 'v', g.length)
    for (let i = 0; i < g.length; i++) {
      v[i] = beta * v[i]! - lr * g[i]!
      theta[i]! += beta * v[i]! - lr * g[i]!
    }
  }

/** Kingma & Ba 2015, algorithm 1; t counts from 1. */
export const adamRule =
  (lr: number, beta1 = 0.9, beta2 = 0.999, eps = 1e-8): Rule =>
  (theta, g, slot, t) => {
    const [m, v] = [slotOf(slot, 'm', g.length), slotOf(slot, 'v', g.length)]
    for (let i = 0; i < g.length; i++) {
      m[i] = beta1 * m[i]! + (1 - beta1) * g[i]!
      v[i] = beta2 * v[i]! + (1 - beta2) * g[i]! * g[i]!
      theta[i]! -= (lr * (m[i]! / (1 - beta1 ** t))) / (Math.sqrt(v[i]! / (1 - beta2 ** t)) + eps)
    }
  }

/** Two dense layers with tanh between them, one sample after the other. */
export class Net64 {
  readonly layers: readonly [Layer64, Layer64]
  readonly #slots: Map<string, Float64Array>[]
  #t = 0

  constructor(first: Layer64, second: Layer64) {
    this.layers = [first, second]
    this.#slots = [0, 1, 2, 3].map(() => new Map())
  }

  /** Outputs of one sample and its hidden values. */
  forward(x: ArrayLike<number>): { hidden: number[]; output: number[] } {
    const of = ({ weight, bias, inputs, units }: Layer64, from: ArrayLike<number>): number[] =>
      Array.from({ length: units }, (_, k) => {
        let sum = bias[k]!
        for (let i = 0; i < inputs; i++) sum += from[i]! * weight[i * units + k]!
        return sum
      })
    const hidden = of(this.layers[0], x).map(Math.tanh)
    return { hidden, output: of(this.layers[1], hidden) }
  }

  /** Loss of one sample, and its gradient by the outputs. */
  static crossEntropy(output: number[], label: number): { loss: number; gradient: number[] } {
    const top = Math.max(...output)
    const total = output.reduce((sum, value) => sum + Math.exp(value - top), 0)
    const p = output.map((value) => Math.exp(value - top) / total)
    return { loss: -Math.log(p[label]!), gradient: p.map((value, k) => value - (k === label ? 1 : 0)) }
  }

  static mse(output: number[], target: ArrayLike<number>): { loss: number; gradient: number[] } {
    const errors = output.map((value, k) => value - target[k]!)
    const share = 1 / output.length
    return { loss: errors.reduce((sum, e) => sum + e * e * share, 0), gradient: errors.map((e) => 2 * e * share) }
  }

  /** One step on a batch; gives the mean loss before the update. `clipNorm` 0: none. */
  step(
    batch: readonly { x: ArrayLike<number>; lossOf: (output: number[]) => { loss: number; gradient: number[] } }[],
    rule: Rule,
    clipNorm = 0,
  ): number {
    const [first, second] = this.layers
    const gradients = [first.weight, first.bias, second.weight, second.bias].map(
      ({ length }) => new Float64Array(length),
    )
    const [dw1, db1, dw2, db2] = gradients as [Float64Array, Float64Array, Float64Array, Float64Array]
    let total = 0
    for (const { x, lossOf } of batch) {
      const { hidden, output } = this.forward(x)
      const { loss, gradient } = lossOf(output)
      total += loss / batch.length
      const dz2 = gradient.map((g) => g / batch.length)
      dz2.forEach((g, k) => {
        db2[k]! += g
        for (let j = 0; j < second.inputs; j++) dw2[j * second.units + k]! += hidden[j]! * g
      })
      for (let j = 0; j < first.units; j++) {
        let dh = 0
        for (let k = 0; k < second.units; k++) dh += dz2[k]! * second.weight[j * second.units + k]!
        const dz = dh * (1 - hidden[j]! * hidden[j]!)
        db1[j]! += dz
        for (let i = 0; i < first.inputs; i++) dw1[i * first.units + j]! += x[i]! * dz
      }
    }
    const norm = Math.sqrt(gradients.reduce((sum, part) => part.reduce((s, g) => s + g * g, sum), 0))
    const scale = clipNorm > 0 && norm > clipNorm ? clipNorm / norm : 1
    this.#t++
    ;[first.weight, first.bias, second.weight, second.bias].forEach((theta, i) => {
      rule(
        theta,
        gradients[i]!.map((g) => g * scale),
        this.#slots[i]!,
        this.#t,
      )
    })
    return total
  }
}
