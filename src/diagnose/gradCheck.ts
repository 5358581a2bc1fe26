// Compares the gradients of a model with central differences, on a double-precision copy of its training step. The model
// itself is read, never changed.

import type { Dataset } from '../data/dataset.js'
import { convert } from '../dtype.js'
import { checkFinite, checkInteger, checkOptions, expected, GradlineError } from '../errors.js'
import { grad } from '../grad.js'
import type { Mode } from '../layers/layer.js'
import type { Loss } from '../losses/loss.js'
import { read } from '../memory.js'
import { add } from '../ops/elementwise.js'
import { type Shape, sizeOf } from '../shape.js'
import type { Tensor, Variable } from '../tensor.js'
import type { ModelInput } from '../train/graphModel.js'
import { checkLayered, type Model } from '../train/model.js'
import { Shadow } from './shadow.js'

export interface GradCheckOptions {
  loss: Loss
  /** Elements compared per parameter and per layer output, chosen at random. Default 10. */
  samples?: number
  /** Chooses the elements. Default 0. */
  seed?: number
  /** 'predict' checks batch norm with its running statistics. Default 'train'. */
  mode?: Mode
  /**
   * Every parameter and every layer's output is first moved by up to this much, in the copy: fresh biases and dropped units
   * are exactly 0, where ReLU has a kink and no derivative exists. Default 0.01.
   */
  nudge?: number
  /** Largest relative error of a right gradient. Default 1e-6. */
  tolerance?: number
}

/** The element with the largest error of one tensor. */
export interface GradientError {
  /** Path of the parameter, or of the layer whose output this is; 'input' for the model's input. */
  readonly path: string
  readonly kind: 'parameter' | 'output'
  /** |gradient - difference| over the larger of the two, or over 1/1000 of the largest gradient of all where both are less. */
  readonly error: number
  readonly index: number
  readonly gradient: number
  readonly difference: number
  /** Elements compared. */
  readonly checked: number
}

export interface GradCheck {
  /** True when every error is at most the tolerance. */
  readonly ok: boolean
  /** The largest error of all. */
  readonly error: number
  readonly errors: readonly GradientError[]
  /** Paths of the layers whose own derivative is wrong: wrong below or inside them, while right above. */
  readonly faulty: readonly string[]
  /** The verdict in words. */
  readonly message: string
}

interface Probe {
  readonly path: string
  readonly name: string
  readonly shape: Shape
}

// Steps of the differences. A kink between the two points spoils a long step, rounding a short one; a right gradient agrees
// with one of them, a wrong gradient with none.
const steps = [1e-4, 1e-5, 1e-6]

/**
 * Checks the gradients of `net` on `batch` (all of its samples at once; a few are enough) against central differences in
 * double precision, for a random subset of the elements of every parameter and of every layer's output, so that a wrong
 * derivative is told by the name of its layer.
 * PyTorch: torch.autograd.gradcheck; Keras: none
 */
export async function gradCheck(net: Model, batch: Dataset, options: GradCheckOptions): Promise<GradCheck> {
  checkOptions('gradCheck', options, ['loss', 'samples', 'seed', 'mode', 'nudge', 'tolerance'])
  if (typeof options?.loss !== 'function') throw expected('a loss such as crossEntropy()', 'loss', options?.loss)
  const samples = checkInteger('samples', options.samples ?? 10, { min: 1 })
  const nudge = checkFinite('nudge', options.nudge ?? 0.01, { min: 0 })
  const tolerance = checkFinite('tolerance', options.tolerance ?? 1e-6, { above: 0 })
  const random = uniform(checkInteger('seed', options.seed ?? 0, { min: 0 }))
  checkLayered('gradCheck', net)
  net.checkData('batch', batch, options.loss)
  await net.initialize()

  const labels = batch.labels as NonNullable<Dataset['labels']>
  const labelType = labels.data instanceof Int32Array ? 'int32' : 'float32'
  const { dtype: inputType } = net.inputs.x as ModelInput
  const probes: Probe[] = []
  const applied: string[] = []
  // Something is added to the input and to every layer's output: its gradient is that of this place.
  const lossOf = (input: (name: string, shape: Shape, dtype?: 'float32' | 'int32') => Tensor) => {
    const wrt: Tensor[] = []
    probes.length = 0
    applied.length = 0
    const probed = (path: string, value: Tensor): Tensor => {
      if (value.dtype !== 'float32') return value
      const probe = { path, name: `probe ${probes.length}`, shape: value.shape }
      probes.push(probe)
      const added = input(probe.name, probe.shape)
      wrt.push(added)
      return add(value, added)
    }
    const x = probed('input', input('x', batch.inputs.shape, inputType))
    const y = net.apply(x, options.mode ?? 'train', ({ path, output }) => {
      applied.push(path)
      return probed(path, output)
    })
    return { loss: options.loss(y, input('labels', labels.shape, labelType)), wrt }
  }
  const derived = new Shadow((input) => {
    const { loss, wrt } = lossOf(input)
    return { loss, gradients: grad(loss, [...wrt, ...net.params]) }
  })
  const forward = new Shadow((input) => lossOf(input).loss)

  const point = new Map<Variable, Float64Array>()
  for (const variable of [...derived.values.keys(), ...forward.values.keys()]) {
    if (point.has(variable)) continue
    const isParameter = net.params.includes(variable)
    const move = (): number => (isParameter ? nudge * (2 * random() - 1) : 0)
    point.set(
      variable,
      Float64Array.from(read(variable), (value) => value + move()),
    )
  }
  for (const shadow of [derived, forward]) {
    for (const variable of shadow.values.keys()) shadow.values.set(variable, point.get(variable) as Float64Array)
  }
  const { factor, offset } = batch.inputs.scale
  const given: Record<string, ArrayLike<number>> = {
    x:
      inputType === 'int32'
        ? batch.inputs.data
        : Float64Array.from(batch.inputs.data, (value) => factor * value + offset),
    labels: labelType === 'int32' ? labels.data : convert(labels.data, 'float32', 'fp64'),
  }
  const added = probes.map(({ path, shape }) => {
    const values = new Float64Array(sizeOf(shape))
    return path === 'input' ? values : values.map(() => nudge * (2 * random() - 1))
  })
  probes.forEach(({ name }, i) => {
    given[name] = added[i] as Float64Array
  })

  try {
    const { loss, gradients } = derived.run(given)
    if (!Number.isFinite(loss.item())) {
      throw new GradlineError('data', `The loss of this batch is ${loss.item()}; its gradients cannot be checked`)
    }
    const places = [
      ...probes.map(({ path }, i) => ({ path, kind: 'output' as const, values: added[i] as Float64Array })),
      ...net.params.map((variable) => {
        // A parameter that the layers create but do not use.
        const values = point.get(variable) ?? new Float64Array(variable.size)
        return { path: variable.name, kind: 'parameter' as const, values }
      }),
    ]
    const largest = gradients.reduce((most, { data }) => {
      return (data as Float64Array).reduce((m, g) => Math.max(m, Math.abs(g)), most)
    }, 0)
    const floor = 1e-3 * largest || 1
    const errors = places.map(({ path, kind, values }, i): GradientError => {
      const gradient = (gradients[i] as Tensor).data as Float64Array
      // Class numbers and positions in a table: between integers there is nothing to differ by.
      const isDiscrete = path === 'input' && gradient.every((g) => g === 0) && isIntegral(batch.inputs.data)
      const chosen = isDiscrete ? [] : choose(values.length, samples, random)
      let worst: GradientError = { path, kind, error: 0, index: 0, gradient: 0, difference: 0, checked: chosen.length }
      for (const index of chosen) {
        const exact = gradient[index] as number
        let best = { error: Number.POSITIVE_INFINITY, difference: Number.NaN }
        for (const h of steps) {
          const difference = differenceAt(values, index, h, () => forward.run(given).item())
          const error = Math.abs(exact - difference) / Math.max(Math.abs(exact), Math.abs(difference), floor)
          if (error < best.error) best = { error, difference }
          if (best.error <= tolerance / 10) break
        }
        if (best.error >= worst.error) worst = { ...worst, ...best, index, gradient: exact }
      }
      return worst
    })
    const faulty = blame(errors, applied, tolerance)
    const worst = errors.reduce((a, b) => (b.error > a.error ? b : a))
    const ok = worst.error <= tolerance
    const message = ok
      ? `All gradients of ${net.name} are right: the largest relative error is ${worst.error.toExponential(1)} (${worst.path})`
      : `Wrong derivative in ${faulty.join(', ') || net.name}: the gradient of ${worst.path}[${worst.index}] is ` +
        `${worst.gradient}, its central difference ${worst.difference} (relative error ${worst.error.toExponential(1)})`
    return { ok, error: worst.error, errors, faulty, message }
  } finally {
    derived.program.close()
    forward.program.close()
  }
}

const isIntegral = (data: ArrayLike<number>): boolean => Array.prototype.every.call(data, Number.isInteger)

function differenceAt(values: Float64Array, index: number, h: number, f: () => number): number {
  const at = values[index] as number
  values[index] = at + h
  const above = f()
  values[index] = at - h
  const below = f()
  values[index] = at
  return (above - below) / (2 * h)
}

// Gradients flow from the last layer to the first: a layer is at fault when the gradient of its output is right, but that
// of one of its parameters, or of the output before it, is wrong. `applied` are the layers in the order of application;
// layers inside another come before it.
function blame(errors: readonly GradientError[], applied: readonly string[], tolerance: number): string[] {
  const wrong = errors.filter(({ error }) => error > tolerance)
  const outputIsWrong = (path: string): boolean => wrong.some((e) => e.kind === 'output' && e.path === path)
  const isInner = (inner: string, outer: string): boolean => inner.startsWith(`${outer}.`)
  const faulty = applied.filter((path, i) => {
    if (outputIsWrong(path) || applied.some((other) => isInner(other, path))) return false
    const before = applied.slice(0, i).findLast((other) => !isInner(path, other)) ?? 'input'
    return outputIsWrong(before) || wrong.some((e) => e.kind === 'parameter' && isInner(e.path, path))
  })
  return faulty
}

// `count` distinct indices below `size`, all of them when there are no more.
function choose(size: number, count: number, random: () => number): number[] {
  if (size <= count) return Array.from({ length: size }, (_, i) => i)
  const chosen = new Set<number>()
  while (chosen.size < count) chosen.add(Math.floor(random() * size))
  return [...chosen]
}

// Numbers in [0, 1) from the top 32 bits of a 64-bit linear congruential generator (multiplier by Knuth).
function uniform(seed: number): () => number {
  let state = BigInt(seed)
  return () => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn
    return Number(state >> 32n) / 2 ** 32
  }
}
