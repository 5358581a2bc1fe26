// Losses that are kernels of their own, and the measures computed beside them.

import { checkInteger, checkOptions, GradlineError } from '../errors.js'
import { apply, apply1 } from '../graph.js'
import { checkFloat, checkRank, checkTensors, defineOp, expectTensor } from '../op.js'
import { checkShape, sameShape, showShape } from '../shape.js'
import type { Tensor } from '../tensor.js'
import { add, equal, log, mul, neg, square, sub } from './elementwise.js'
import { reshape } from './move.js'
import { softmaxGrad } from './norm.js'
import { argmax, mean } from './reduce.js'

function checkLabels(op: string, logits: Tensor, labels: Tensor): void {
  checkTensors(op, logits, labels)
  const wanted = labels.dtype === 'int32' ? logits.shape.slice(0, 1) : logits.shape
  if (labels.dtype === 'uint8' || !sameShape(labels.shape, wanted)) {
    throw new GradlineError(
      'shape',
      `Expected int32 labels [${logits.shape[0]}] or float labels ${showShape(logits.shape)} for ${op} of scores ` +
        `${showShape(logits.shape)} but received ${labels.dtype} ${showShape(labels.shape)}`,
    )
  }
}

const softmaxCrossEntropyOp = defineOp({
  name: 'softmaxCrossEntropy',
  shape: ([logits, labels]) => {
    checkFloat('softmaxCrossEntropy', logits as Tensor)
    checkRank('softmaxCrossEntropy', logits as Tensor, 2, '[n, classes]')
    checkLabels('softmaxCrossEntropy', logits as Tensor, labels as Tensor)
    const { shape } = logits as Tensor
    return [
      { shape: shape.slice(0, 1), dtype: 'float32' },
      { shape, dtype: 'float32' },
    ]
  },
  backward: ([dloss, dp], { inputs: [, labels], outputs: [, probabilities] }) => {
    const [p, t] = [probabilities as Tensor, labels as Tensor]
    const fromLoss = dloss && apply1(softmaxCrossEntropyGradOp, [dloss, p, t])
    const fromP = dp && softmaxGrad(dp, p)
    const dlabels =
      dloss && t.dtype === 'float32' ? neg(mul(reshape(dloss, [p.shape[0] as number, 1]), log(p))) : undefined
    return [fromLoss && fromP ? add(fromLoss, fromP) : (fromLoss ?? fromP), dlabels]
  },
})

const softmaxCrossEntropyGradOp = defineOp({
  name: 'softmaxCrossEntropyGrad',
  shape: ([dloss, probabilities, labels]) => {
    checkFloat('softmaxCrossEntropyGrad', dloss as Tensor, probabilities as Tensor)
    checkLabels('softmaxCrossEntropyGrad', probabilities as Tensor, labels as Tensor)
    return [{ shape: (probabilities as Tensor).shape, dtype: 'float32' }]
  },
})

/**
 * Cross-entropy of softmax(logits) against labels, without ever forming log(0): logits [n, k] and int32 labels [n], or
 * float labels [n, k] (soft or one-hot), give loss [n] = -sum_k t log p and the probabilities p [n, k]. A label outside
 * 0..k-1 fails the step.
 */
export function softmaxCrossEntropy(logits: Tensor, labels: Tensor): { loss: Tensor; probabilities: Tensor } {
  const [loss, probabilities] = apply(softmaxCrossEntropyOp, [logits, labels]) as [Tensor, Tensor]
  return { loss, probabilities }
}

const oneHotOp = defineOp({
  name: 'oneHot',
  attrs: ['ignore'],
  shape: ([labels], _, asked) => {
    if ((labels as Tensor).dtype !== 'int32') throw expectTensor('int32 labels', 'oneHot', labels as Tensor)
    return [{ shape: asked, dtype: 'float32' }]
  },
  backward: () => [undefined],
})

/**
 * int32 labels [...] give [..., classes]: 1 at the label and 0 elsewhere. The label `ignore`, where given, gives zeros; any
 * other label outside 0..classes-1 fails the step. No gradient flows.
 */
export function oneHot(labels: Tensor, classes: number, options: { ignore?: number } = {}): Tensor {
  checkTensors('oneHot', labels)
  checkOptions('oneHot', options, ['ignore'])
  checkInteger('classes of oneHot', classes, { min: 1, max: maxLabel })
  // A number that is no int32 ignores none.
  const ignore = options.ignore === undefined ? maxLabel + 1 : checkLabel('ignore of oneHot', options.ignore)
  return apply1(oneHotOp, [labels], { ignore }, checkShape('shape of oneHot', [...labels.shape, classes]))
}
const maxLabel = 2 ** 31 - 1

/** Checks that a number can stand among int32 labels. */
export function checkLabel(name: string, value: unknown): number {
  return checkInteger(name, value, { min: -(2 ** 31), max: maxLabel })
}

const requireFiniteOp = defineOp({
  name: 'requireFinite',
  shape: ([x]) => {
    checkFloat('requireFinite', x as Tensor)
    return [{ shape: (x as Tensor).shape, dtype: 'float32' }]
  },
  backward: ([g]) => [g],
})

/**
 * x itself; a NaN or an infinity in it fails the step before anything is changed.
 */
export function requireFinite(x: Tensor): Tensor {
  return apply1(requireFiniteOp, [x])
}

/** Mean of (prediction - target)^2 over all elements. */
export function meanSquaredError(prediction: Tensor, target: Tensor): Tensor {
  checkTensors('meanSquaredError', prediction, target)
  if (!sameShape(prediction.shape, target.shape)) {
    throw new GradlineError(
      'shape',
      `Expected targets ${showShape(prediction.shape)} for a prediction of that shape but received ${showShape(target.shape)}`,
    )
  }
  return mean(square(sub(prediction, target)))
}

/** Share of rows whose largest score is at the label: scores [n, k], int32 labels [n] or float labels [n, k]. */
export function accuracy(scores: Tensor, labels: Tensor): Tensor {
  checkLabels('accuracy', scores, labels)
  return mean(equal(argmax(scores), labels.dtype === 'int32' ? labels : argmax(labels)))
}
