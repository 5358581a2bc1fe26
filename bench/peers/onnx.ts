// Writes a network of a task as an ONNX model (onnx.proto of the ONNX project, operator set 13), batch norm folded into the
// convolution before it. Just enough of Protocol Buffers for that; it reads nothing and knows no other layers.

import { type LayerOf, pattern, type Task } from './task.js'

type Inference = Extract<Task, { kind: 'inference' }>

const varint = (value: number): number[] => {
  const bytes: number[] = []
  let rest = value
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128)
  return [...bytes, rest]
}
const int = (field: number, value: number): Uint8Array => Uint8Array.from([...varint(field * 8), ...varint(value)])
const bytes = (field: number, value: Uint8Array): Uint8Array =>
  Buffer.concat([Uint8Array.from([...varint(field * 8 + 2), ...varint(value.length)]), value])
const text = (field: number, value: string): Uint8Array => bytes(field, Buffer.from(value))
const message = (field: number, ...parts: Uint8Array[]): Uint8Array => bytes(field, Buffer.concat(parts))

const float = 1

const tensor = (name: string, dims: readonly number[], data: Float32Array): Uint8Array =>
  message(
    5,
    ...dims.map((dim) => int(1, dim)),
    int(2, float),
    text(8, name),
    bytes(9, new Uint8Array(data.buffer, data.byteOffset, data.byteLength)),
  )

const attribute = (name: string, values: readonly number[]): Uint8Array =>
  message(5, text(1, name), ...values.map((value) => int(8, value)), int(20, 7))

const node = (type: string, inputs: string[], output: string, attributes: Uint8Array[] = []): Uint8Array =>
  message(1, ...inputs.map((name) => text(1, name)), text(2, output), text(4, type), ...attributes)

const value = (field: number, name: string, dims: readonly number[]): Uint8Array => {
  const shape = message(2, ...dims.map((dim) => message(1, int(1, dim))))
  return message(field, text(1, name), message(2, message(1, int(1, float), shape)))
}

/** Weights [kernel, kernel, from, to] as ours, scaled as He et al. (2015), in the order [to, from, kernel, kernel]. */
function filtersOf(kernel: number, from: number, to: number, scale: number): Float32Array {
  const given = pattern(kernel * kernel * from * to)
  const window = kernel * kernel
  return given.map((_, at) => {
    const place = at % window
    const channel = Math.floor(at / window) % from
    const filter = Math.floor(at / (window * from))
    return (given[(place * from + channel) * to + filter] as number) * scale
  })
}

/** Deviation of the pattern is 1 / sqrt(12). */
const he = (fanIn: number): number => Math.sqrt(24 / fanIn)

/** A model with input 'x' [batch, channels, height, width] or [batch, features] and output 'y'. */
export function onnxModel({ input, layers, batch }: Inference): Uint8Array {
  const nodes: Uint8Array[] = []
  const tensors: Uint8Array[] = []
  let [height = 0, width = 0, channels = 0] = input.length === 3 ? input : [0, 0, input[0]]
  let last = 'x'
  const add = (type: string, weights: string[] = [], attributes: Uint8Array[] = []): void => {
    const output = `${type}${nodes.length}`
    nodes.push(node(type, [last, ...weights], output, attributes))
    last = output
  }
  const weighted = (
    type: string,
    dims: number[],
    data: Float32Array,
    units: number,
    attributes: Uint8Array[],
  ): void => {
    const names = [`weight${nodes.length}`, `bias${nodes.length}`] as const
    tensors.push(tensor(names[0], dims, data), tensor(names[1], [units], new Float32Array(units)))
    add(type, [...names], attributes)
  }
  const kinds: Record<LayerOf[0], (sizes: LayerOf, next: LayerOf | undefined) => void> = {
    conv: (each, next) => {
      const [, units, kernel, padding] = each as Extract<LayerOf, readonly ['conv', ...unknown[]]>
      const folded = next?.[0] === 'batchNorm' ? 1 / Math.sqrt(1 + 1e-5) : 1
      const data = filtersOf(kernel, channels, units, he(kernel * kernel * channels) * folded)
      const pad = padding === 'same' ? (kernel - 1) / 2 : 0
      weighted('Conv', [units, channels, kernel, kernel], data, units, [
        attribute('kernel_shape', [kernel, kernel]),
        attribute('pads', [pad, pad, pad, pad]),
      ])
      height += 2 * pad - kernel + 1
      width += 2 * pad - kernel + 1
      channels = units
    },
    dense: (each) => {
      const units = each[1] as number
      const scale = he(channels)
      const data = pattern(channels * units).map((weight) => weight * scale)
      weighted('Gemm', [channels, units], data, units, [])
      channels = units
    },
    maxPool: (each) => {
      const size = each[1] as number
      add('MaxPool', [], [attribute('kernel_shape', [size, size]), attribute('strides', [size, size])])
      height = Math.floor(height / size)
      width = Math.floor(width / size)
    },
    globalAveragePool: () => {
      add('GlobalAveragePool')
      add('Flatten')
    },
    flatten: () => {
      add('Flatten')
      channels *= height * width
    },
    relu: () => add('Relu'),
    batchNorm: () => {},
  }
  for (const [i, each] of layers.entries()) kinds[each[0]](each, layers[i + 1])
  nodes.push(node('Identity', [last], 'y'))
  const [h = 0, w = 0, c = 0] = input
  const dims = input.length === 3 ? [batch, c, h, w] : [batch, ...input]
  const graph = message(
    7,
    ...nodes,
    text(2, 'network'),
    ...tensors,
    value(11, 'x', dims),
    value(12, 'y', [batch, channels]),
  )
  return Buffer.concat([int(1, 7), graph, message(8, int(2, 13))])
}
