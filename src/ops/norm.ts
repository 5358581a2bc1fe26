// Normalization: batch norm in training and in inference, and softmax.

import { checkFinite, GradlineError } from '../errors.js'
import { apply, apply1 } from '../graph.js'
import { checkFloat, checkSameShape, defineOp, expectTensor } from '../op.js'
import { sameShape } from '../shape.js'
import type { Tensor } from '../tensor.js'
import { div, mul, neg, scale, sqrt, sub } from './elementwise.js'
import { sum } from './reduce.js'

function checkChannels(op: string, x: Tensor, ...perChannel: Tensor[]): void {
  checkFloat(op, x, ...perChannel)
  if (x.rank < 2) throw expectTensor('a tensor [rows ..., channels]', op, x)
  for (const t of perChannel) {
    if (!sameShape(t.shape, x.shape.slice(-1))) throw expectTensor(`one number per channel [${x.shape.at(-1)}]`, op, t)
  }
}

// All axes but the last.
const leading = (x: Tensor): number[] => x.shape.slice(0, -1).map((_, axis) => axis)

const batchNormOp = defineOp({
  name: 'batchNorm',
  attrs: ['eps'],
  shape: ([x, gamma, beta]) => {
    checkChannels('batchNorm', x as Tensor, gamma as Tensor, beta as Tensor)
    const channels = (gamma as Tensor).shape
    return [
      { shape: (x as Tensor).shape, dtype: 'float32' },
      { shape: channels, dtype: 'float32' },
      { shape: channels, dtype: 'float32' },
    ]
  },
  backward: ([g, ...statistics], { inputs: [x, gamma], outputs: [, mean, variance], attrs }) => {
    if (statistics.some((s) => s !== undefined)) {
      throw new GradlineError(
        'recording',
        'The statistics returned by batchNorm carry no gradient; compute them with ops.mean() where one is needed',
      )
    }
    return apply(batchNormGradOp, [g, x, gamma, mean, variance] as Tensor[], attrs)
  },
})

// Inputs dy, x, gamma, mean, variance. The pass fuseBatchNormGrad adds beta and the slope of the activation.
const batchNormGradOp = defineOp({
  name: 'batchNormGrad',
  attrs: ['eps', 'slope'],
  inPlace: true,
  shape: ([dy, x, ...perChannel]) => {
    checkSameShape('batchNormGrad', dy as Tensor, x as Tensor)
    checkChannels('batchNormGrad', x as Tensor, ...perChannel)
    const channels = (perChannel[0] as Tensor).shape
    return [
      { shape: (x as Tensor).shape, dtype: 'float32' },
      { shape: channels, dtype: 'float32' },
      { shape: channels, dtype: 'float32' },
    ]
  },
})

/**
 * Normalizes each channel (last axis) by the mean and the biased variance over all other axes, then scales and shifts:
 * gamma * (x - mean) / sqrt(variance + eps) + beta (Ioffe & Szegedy 2015). Gives the result and both statistics [c];
 * the statistics carry no gradient. eps default 1e-5.
 */
export function batchNorm(
  x: Tensor,
  gamma: Tensor,
  beta: Tensor,
  eps = 1e-5,
): { y: Tensor; mean: Tensor; variance: Tensor } {
  checkFinite('eps of batchNorm', eps, { min: 0 })
  const [y, mean, variance] = apply(batchNormOp, [x, gamma, beta], { eps }) as [Tensor, Tensor, Tensor]
  return { y, mean, variance }
}

const batchNormInferenceOp = defineOp({
  name: 'batchNormInference',
  attrs: ['eps'],
  shape: ([x, ...perChannel]) => {
    checkChannels('batchNormInference', x as Tensor, ...perChannel)
    return [{ shape: (x as Tensor).shape, dtype: 'float32' }]
  },
  backward: ([grad], { inputs, attrs }) => {
    const [x, gamma, , mean, variance] = inputs as [Tensor, Tensor, Tensor, Tensor, Tensor]
    const g = grad as Tensor
    const deviation = sqrt(scale(variance, 1, attrs.eps as number))
    const centred = sub(x, mean)
    const axes = leading(x)
    const total = sum(g, { axes })
    const weighted = sum(mul(g, centred), { axes })
    const gain = div(gamma, deviation)
    return [
      mul(g, gain),
      div(weighted, deviation),
      total,
      neg(mul(total, gain)),
      scale(div(mul(weighted, gain), mul(deviation, deviation)), -0.5),
    ]
  },
})

/** Batch norm with given statistics: each row is treated alone, so the result does not depend on its batch. */
export function batchNormInference(
  x: Tensor,
  gamma: Tensor,
  beta: Tensor,
  mean: Tensor,
  variance: Tensor,
  eps = 1e-5,
): Tensor {
  checkFinite('eps of batchNormInference', eps, { min: 0 })
  return apply1(batchNormInferenceOp, [x, gamma, beta, mean, variance], { eps })
}

const softmaxOp = defineOp({
  name: 'softmax',
  shape: ([x]) => {
    checkFloat('softmax', x as Tensor)
    if ((x as Tensor).rank === 0) throw expectTensor('a tensor with at least one axis', 'softmax', x as Tensor)
    return [{ shape: (x as Tensor).shape, dtype: 'float32' }]
  },
  backward: ([g], { outputs: [y] }) => [softmaxGrad(g as Tensor, y as Tensor)],
})

const softmaxGradOp = defineOp({
  name: 'softmaxGrad',
  shape: ([dy, y]) => {
    checkFloat('softmaxGrad', dy as Tensor, y as Tensor)
    checkSameShape('softmaxGrad', dy as Tensor, y as Tensor)
    return [{ shape: (y as Tensor).shape, dtype: 'float32' }]
  },
  backward: ([grad], { inputs }) => {
    const [g, dy, y] = [grad as Tensor, inputs[0] as Tensor, inputs[1] as Tensor]
    const last = { axes: -1, keepAxes: true }
    return [softmaxGrad(g, y), sub(mul(g, sub(dy, sum(mul(dy, y), last))), mul(dy, sum(mul(g, y), last)))]
  },
})

/** The product of dy with the (symmetric) Jacobian of softmax at its result y. */
export function softmaxGrad(dy: Tensor, y: Tensor): Tensor {
  return apply1(softmaxGradOp, [dy, y])
}

/** e^x over the sum of e^x along the last axis, shifted by the row's maximum so that nothing overflows. */
export function softmax(x: Tensor): Tensor {
  return apply1(softmaxOp, [x])
}
