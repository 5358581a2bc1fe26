// What a peer can be asked to do, described without any library: it travels to the peers as JSON, and our own networks are
// built from the same words, so that both sides do the same work. Nothing here measures or computes.

import type { Layer } from 'gradline'
import type { Library } from '../measure.js'

/** A layer and its sizes: units; filters, kernel and padding; window. */
export type LayerOf =
  | readonly ['dense', number]
  | readonly ['conv', number, number, 'same' | 'valid']
  | readonly ['maxPool', number]
  | readonly ['batchNorm' | 'relu' | 'flatten' | 'globalAveragePool']

export type Optimized = 'sgd' | 'momentum' | 'adam'

export interface NetworkTask {
  readonly input: readonly number[]
  readonly layers: readonly LayerOf[]
  readonly batch: number
  readonly classes: number
  readonly optimizer: Optimized
  /** Rows of the data that batches are drawn from. */
  readonly samples: number
}

export interface ConvTask {
  readonly kind: 'conv'
  readonly part: 'forward' | 'image gradient' | 'filter gradient' | 'both gradients'
  readonly batch: number
  readonly side: number
  readonly kernel: number
  readonly from: number
  readonly to: number
  readonly padding: 'same' | 'valid'
}

export interface MatmulTask {
  readonly kind: 'matmul'
  readonly m: number
  readonly k: number
  readonly n: number
  /** 'NN': both as they lie; 'NT': b [n, k] read transposed; 'TN': a [k, m]. */
  readonly form: 'NN' | 'NT' | 'TN'
}

/** One iteration of a case, or for 'memory' bytes of activations. */
export type Task =
  | MatmulTask
  | ConvTask
  | { readonly kind: 'batchNorm'; readonly shape: readonly number[] }
  | { readonly kind: 'crossEntropy'; readonly rows: number; readonly classes: number }
  | { readonly kind: 'update'; readonly optimizer: 'adam' | 'momentum'; readonly parameters: number }
  | ({ readonly kind: 'step' | 'memory' } & NetworkTask)
  | {
      readonly kind: 'inference'
      readonly input: readonly number[]
      readonly layers: readonly LayerOf[]
      readonly batch: number
    }

/** Numbers in +-0.5 that every peer makes for itself. */
export const pattern = (size: number): Float32Array =>
  Float32Array.from({ length: size }, (_, i) => ((i * 7919) % 1009) / 1008 - 0.5)

/** Our layers of that description. */
export const layersOf = (lib: Library, layers: readonly LayerOf[]): Layer[] =>
  layers.map((each) => {
    switch (each[0]) {
      case 'dense':
        return lib.dense(each[1])
      case 'conv':
        return lib.conv2d(each[1], each[2], { padding: each[3] })
      case 'maxPool':
        return lib.maxPool2d(each[1])
      case 'globalAveragePool':
        return lib.globalAvgPool2d()
      default:
        return lib[each[0]]()
    }
  })

/** Multiply-adds of one sample forward, by layer with weights, first to last. */
export function productsOf(input: readonly number[], layers: readonly LayerOf[]): number[] {
  let shape = [...input]
  const products: number[] = []
  for (const each of layers) {
    const [height = 1, width = 1, channels = 1] = shape
    if (each[0] === 'dense') {
      products.push((shape[0] as number) * each[1])
      shape = [each[1]]
    } else if (each[0] === 'conv') {
      const lost = each[3] === 'same' ? 0 : each[2] - 1
      shape = [height - lost, width - lost, each[1]]
      products.push(shape.reduce((size, n) => size * n, each[2] * each[2] * channels))
    } else if (each[0] === 'maxPool') {
      shape = [Math.floor(height / each[1]), Math.floor(width / each[1]), channels]
    } else if (each[0] === 'globalAveragePool') {
      shape = [channels]
    } else if (each[0] === 'flatten') {
      shape = [height * width * channels]
    }
  }
  return products
}
