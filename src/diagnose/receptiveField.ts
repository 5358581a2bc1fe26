// How much of the input an output of each layer sees, read off the recorded ops, so that it holds for every layer that is
// made of them. It is the theoretical field; nothing is run.

import { Graph, type Node, recordInto } from '../graph.js'
import type { Shape } from '../shape.js'
import { Tensor } from '../tensor.js'
import type { ModelInput } from '../train/graphModel.js'
import { checkLayered, type Model } from '../train/model.js'

/** One line per layer, in order. Pairs are [vertical, horizontal], in pixels of the model's input. */
export interface ReceptiveField {
  readonly layer: string
  readonly kind: string
  /** Output without the batch axis. */
  readonly output: Shape
  /** Extent of the input that one output depends on; with padding it may reach beyond the image. */
  readonly size: readonly [number, number]
  /** Distance of the fields of neighbouring outputs. */
  readonly stride: readonly [number, number]
}

interface Field {
  readonly size: readonly [number, number]
  readonly stride: readonly [number, number]
}

/**
 * The receptive field of every layer of a model of images [h, w, channels]: a window of k taps at dilation d adds
 * d (k - 1) times the stride before it, and multiplies the stride by its own (Dumoulin & Visin 2016). After a dense
 * layer or a global pooling it is the whole input. PyTorch: none; Keras: none
 */
export function receptiveField(net: Model): ReceptiveField[] {
  checkLayered('receptiveField', net)
  const graph = new Graph()
  const { dtype } = net.inputs.x as ModelInput
  const x = graph.input('x', new Tensor([1, ...net.inputShape], dtype))
  const [height = 1, width = 1] = net.inputShape
  const whole: Field = { size: net.inputShape.length > 2 ? [height, width] : [height, 1], stride: [0, 0] }
  const fields = new Map<Tensor, Field>([[x, net.inputShape.length > 2 ? point : whole]])
  const seen: { path: string; kind: string; output: Tensor }[] = []
  recordInto(graph, () => net.apply(x, 'predict', (layer) => void seen.push(layer)))
  for (const node of graph.nodes) {
    // Weights depend on no pixel.
    const before = node.inputs.flatMap((input) => fields.get(input) ?? [])
    if (before.length === 0) continue
    const field = through(node, before.reduce(union), whole)
    for (const output of node.outputs) fields.set(output, field)
  }
  return seen.map(({ path, kind, output }) => ({
    layer: path,
    kind,
    output: output.shape.slice(1),
    ...(fields.get(output) ?? whole),
  }))
}

const point: Field = { size: [1, 1], stride: [1, 1] }

// Branches that meet: the larger field, and the larger stride.
const union = (a: Field, b: Field): Field => ({
  size: [Math.max(a.size[0], b.size[0]), Math.max(a.size[1], b.size[1])],
  stride: [Math.max(a.stride[0], b.stride[0]), Math.max(a.stride[1], b.stride[1])],
})

function through({ op, attrs, inputs }: Node, field: Field, whole: Field): Field {
  const [operand, filter] = inputs as [Tensor, Tensor | undefined]
  const attr = (name: string, otherwise = 1): number => attrs[name] ?? otherwise
  const stride = [attr('strideH'), attr('strideW')] as const
  const taps = (kernelH: number, kernelW: number): [number, number] => [
    attr('dilationH') * (kernelH - 1),
    attr('dilationW') * (kernelW - 1),
  ]
  const widen = (by: readonly [number, number], factor: (axis: 0 | 1) => number): Field => ({
    size: [field.size[0] + by[0] * field.stride[0], field.size[1] + by[1] * field.stride[1]],
    stride: [field.stride[0] * factor(0), field.stride[1] * factor(1)],
  })
  switch (op.name) {
    case 'conv2d':
      return widen(taps(filter?.shape[0] ?? 1, filter?.shape[1] ?? 1), (axis) => stride[axis])
    case 'maxPool2d':
    case 'avgPool2d':
      return widen(taps(attr('kernelH'), attr('kernelW')), (axis) => stride[axis])
    case 'conv2dInputGrad': {
      // A transposed convolution: an output meets every stride-th tap.
      const [down, across] = taps(filter?.shape[0] ?? 1, filter?.shape[1] ?? 1)
      return widen([Math.floor(down / stride[0]), Math.floor(across / stride[1])], (axis) => 1 / stride[axis])
    }
    case 'matmul':
      return whole
    case 'sum':
    case 'max':
      // Over rows or columns of an image: all of it. Over channels: no more than before.
      return operand.rank === 4 && (attr('axes', 0) & 0b0110) !== 0 ? whole : field
    default:
      return field
  }
}
