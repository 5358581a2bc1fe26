// A stack of linear layers is one linear layer.

import { dense } from '../layers/dense.js'
import type { Layer } from '../layers/layer.js'
import { checkLayered, type Model } from '../train/model.js'
import { denseOptions, named, type Placed, rebuild, rewrite, type Values } from './rebuild.js'

/**
 * A model with the same outputs where dense layers that follow each other without an activation are one:
 * W = W1 W2 ... Wk, b = (b1 W2 + b2) ... Wk + bk, multiplied in double precision. It takes the name of the last of them. The
 * given model is not changed. PyTorch: none; Keras: none
 */
export async function fuseLinear(net: Model): Promise<Model> {
  checkLayered('fuseLinear', net)
  const weights = await net.weights()
  const changed = new Map<string, Values>()
  const layers = rewrite(net.layers, (list) => {
    const kept: Layer[] = []
    for (let i = 0; i < list.length; ) {
      const run = list.slice(i).findIndex(({ layer }) => !denseOptions(layer))
      const stack = list.slice(i, run === -1 ? list.length : i + run)
      const last = stack.at(-1)
      if (!last || stack.length === 1) {
        const { layer, name } = list[i] as Placed
        kept.push(named(layer, name))
        i++
        continue
      }
      const { units, ...options } = denseOptions(last.layer) as { units: number }
      const bias = stack.some(({ path }) => weights.has(`${path}.bias`))
      kept.push(dense(units, { ...options, bias, name: last.name }))
      const { weight, shift } = product(stack, weights)
      changed.set(`${last.path}.weight`, { data: weight })
      if (bias) changed.set(`${last.path}.bias`, { data: shift })
      i += stack.length
    }
    return kept
  })
  return rebuild(net, layers, changed)
}

// The bias goes through the stack as one more row of the matrix.
function product(
  stack: readonly Placed[],
  weights: Awaited<ReturnType<Model['weights']>>,
): { weight: Float64Array; shift: Float64Array } {
  const [first, ...rest] = stack.map(({ path }) => {
    const { shape, data } = weights.get(`${path}.weight`) as { shape: readonly [number, number]; data: Float32Array }
    const bias = weights.get(`${path}.bias`)?.data ?? new Float32Array(shape[1])
    return { inputs: shape[0], units: shape[1], weight: data, bias }
  }) as [Dense, ...Dense[]]
  let rows = Float64Array.from([...first.weight, ...first.bias])
  for (const { inputs, units, weight, bias } of rest) {
    const next = new Float64Array((first.inputs + 1) * units)
    for (let row = 0; row <= first.inputs; row++) {
      for (let j = 0; j < inputs; j++) {
        const left = rows[row * inputs + j] as number
        for (let k = 0; k < units; k++) {
          next[row * units + k] = (next[row * units + k] as number) + left * (weight[j * units + k] as number)
        }
      }
    }
    for (let k = 0; k < units; k++) {
      next[first.inputs * units + k] = (next[first.inputs * units + k] as number) + (bias[k] as number)
    }
    rows = next
  }
  const units = rows.length / (first.inputs + 1)
  return { weight: rows.slice(0, first.inputs * units), shift: rows.slice(first.inputs * units) }
}

interface Dense {
  readonly inputs: number
  readonly units: number
  readonly weight: Float32Array
  readonly bias: Float32Array
}
