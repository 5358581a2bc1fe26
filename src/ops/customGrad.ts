// Gradients of one's own: a function composed of ops whose derivative is written by hand instead of derived. It is no op of
// native code: in a program only the function's own ops and those of its gradient appear.

import { checkOptions, expected, GradlineError } from '../errors.js'
import { apply1 } from '../graph.js'
import { checkFloat, type Op } from '../op.js'
import { sameShape, showShape } from '../shape.js'
import { Tensor } from '../tensor.js'

export interface CustomGrad {
  /** Used in messages and printouts. Default 'customGrad'. */
  readonly name?: string
  /** The value, of any inputs. */
  readonly forward: (...inputs: Tensor[]) => Tensor
  /**
   * One gradient per input, of its shape, from the gradient g of the output; undefined where none flows. `inputs` are those
   * of the call, `output` what forward returned.
   */
  readonly backward: (g: Tensor, inputs: Tensor[], output: Tensor) => readonly (Tensor | undefined)[]
}

/**
 * A function of tensors with its own gradient:
 *
 *     const clippedExp = customGrad({
 *       forward: (x) => ops.exp(ops.minimum(x, 10)),
 *       backward: (g, [x], y) => [ops.mul(g, y)],          // straight through the clipping
 *     })
 *     const layer = (x, scope) => clippedExp(scope.apply(dense(10), x))
 *
 * Everything a gradient is wanted for must be an input of the call: what forward merely closes over gets none. The
 * backward function is written in ops too, so a gradient of the gradient can be asked for.
 * PyTorch: torch.autograd.Function; Keras: tf.custom_gradient.
 * @throws while the gradient is recorded, when backward returns another number of gradients or other shapes.
 */
export function customGrad(definition: CustomGrad): (...inputs: Tensor[]) => Tensor {
  const {
    name = 'customGrad',
    forward,
    backward,
  } = checkOptions('customGrad', definition, ['name', 'forward', 'backward'])
  if (typeof forward !== 'function') throw expected('a function of tensors', `forward of ${name}`, forward)
  if (typeof backward !== 'function') throw expected('a function of the gradient', `backward of ${name}`, backward)
  // Another view of the output: the walk of grad() meets it before the ops of forward, and sends nothing on to those.
  const op: Op = {
    name,
    attrs: [],
    alias: true,
    inPlace: false,
    epilogue: false,
    effect: undefined,
    shape: ([output]) => [{ shape: (output as Tensor).shape, dtype: 'float32' }],
    backward: ([g], { inputs: [output, ...inputs] }) => {
      const gradients = backward(g as Tensor, inputs, output as Tensor)
      if (!Array.isArray(gradients) || gradients.length !== inputs.length) {
        throw expected(`one gradient per input (${inputs.length})`, `backward of ${name}`, gradients)
      }
      gradients.forEach((gradient: Tensor | undefined, i) => {
        const { shape } = inputs[i] as Tensor
        if (gradient === undefined || (gradient instanceof Tensor && sameShape(gradient.shape, shape))) return
        throw new GradlineError(
          'shape',
          `Expected gradient ${i + 1} of ${name} to have its input's shape ${showShape(shape)} but received ${gradient}`,
        )
      })
      return [undefined, ...gradients]
    },
  }
  return (...inputs) => {
    for (const input of inputs)
      if (!(input instanceof Tensor)) throw expected('tensors', `the inputs of ${name}`, input)
    const output = forward(...inputs)
    if (!(output instanceof Tensor)) throw expected('a tensor', `the result of ${name}`, output)
    checkFloat(name, output)
    return apply1(op, [output, ...inputs])
  }
}
