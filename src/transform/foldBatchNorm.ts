// Batch norm in prediction is a gain and a shift per channel; behind a dense layer or a convolution both can be multiplied
// into its weight and bias, and the layer is gone.

import { Shadow } from '../diagnose/shadow.js'
import { type Conv2dOptions, conv2d } from '../layers/conv2d.js'
import { dense } from '../layers/dense.js'
import type { Layer } from '../layers/layer.js'
import { read } from '../memory.js'
import type { Pair } from '../ops/window.js'
import { sizeOf } from '../shape.js'
import type { Tensor } from '../tensor.js'
import type { ModelInput } from '../train/graphModel.js'
import { checkLayered, type Model } from '../train/model.js'
import { denseOptions, named, rebuild, rewrite, type Values } from './rebuild.js'

/**
 * A model for prediction with the same outputs, where every batch norm that directly follows a dense or conv2d layer is
 * merged into it: weight' = weight * gamma / sqrt(variance + eps), bias' = (bias - mean) * gamma / sqrt(variance + eps) +
 * beta, computed in double precision. Batch norms elsewhere stay. The given model is not changed.
 * PyTorch: torch.nn.utils.fuse_conv_bn_eval; Keras: none
 */
export async function foldBatchNorm(net: Model): Promise<Model> {
  checkLayered('foldBatchNorm', net)
  const weights = await net.weights()
  const changed = new Map<string, Values>()
  const layers = rewrite(net.layers, (list) => {
    const kept: Layer[] = []
    for (let i = 0; i < list.length; i++) {
      const { layer: each, name, path } = list[i] as (typeof list)[number]
      const norm = list[i + 1]
      const folded = norm?.kind === 'batchNorm' ? withBias(each, name) : undefined
      if (!folded || !norm) {
        kept.push(named(each, name))
        continue
      }
      const { gain, shift } = affineOf(net, path, norm.path)
      const channels = gain.length
      const weight = (weights.get(`${path}.weight`) as { data: Float32Array }).data
      const bias = weights.get(`${path}.bias`)?.data
      changed.set(`${path}.weight`, { data: Float64Array.from(weight, (w, j) => w * (gain[j % channels] as number)) })
      changed.set(`${path}.bias`, { data: gain.map((g, j) => (bias?.[j] ?? 0) * g + (shift[j] as number)) })
      kept.push(folded)
      i++
    }
    return kept
  })
  return rebuild(net, layers, changed)
}

function withBias(each: Layer, name: string): Layer | undefined {
  const { units, ...options } = denseOptions(each) ?? {}
  if (units !== undefined) return dense(units, { ...options, bias: true, name })
  if (each.kind !== 'conv2d' || !each.options) return undefined
  const { filters, kernel, ...rest } = each.options as Conv2dOptions & { filters: number; kernel: Pair }
  return conv2d(filters, kernel, { ...rest, bias: true, name })
}

// Gain and shift per channel, asked of the layer itself: its results for 0 and 1 in the place of the layer before.
function affineOf(net: Model, before: string, norm: string): { gain: Float64Array; shift: Float64Array } {
  let probe: Tensor | undefined
  const shadow = new Shadow((input) => {
    const found: Tensor[] = []
    net.apply(input('x', [2, ...net.inputShape], (net.inputs.x as ModelInput).dtype), 'predict', ({ path, output }) => {
      if (path === norm) found.push(output)
      if (path !== before) return undefined
      probe = input('probe', output.shape)
      return probe
    })
    return found[0] as Tensor
  })
  for (const variable of shadow.values.keys()) shadow.values.set(variable, Float64Array.from(read(variable)))
  const { shape, size } = probe as Tensor
  const channels = shape.at(-1) as number
  const half = size / 2
  const values = new Float64Array(size).fill(1, half)
  const { data } = shadow.run({ x: new Float64Array(2 * sizeOf(net.inputShape)), probe: values })
  shadow.program.close()
  const shift = Float64Array.from(data.subarray(0, channels))
  return { shift, gain: shift.map((zero, i) => (data[half + i] as number) - zero) }
}
