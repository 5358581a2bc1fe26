// The error model of numerics class 'fast' for convolutions 3x3 of stride 1: that of fp32, with the largest number of a tile
// in place of every factor. It says what may be off by how much, not how the kernels come to it.
import type { Shape } from '../../src/shape.js'
import { type Nd, sizeOf } from './oracle.js'

/** By image, tile and channel [n, rows, cols, c], the largest |x| of `side` x `side` pixels; tiles are 2 pixels apart. */
function tileMaxima(images: Nd, side: number, [rows, cols]: Pair, [top, left]: Pair): Nd {
  const [n, height, width, channels] = images.shape as [number, number, number, number]
  const shape = [n, rows, cols, channels]
  const data = new Float64Array(sizeOf(shape))
  for (let i = 0; i < data.length; i++) {
    const [c, col] = [i % channels, Math.floor(i / channels) % cols]
    const [row, image] = [Math.floor(i / channels / cols) % rows, Math.floor(i / channels / cols / rows)]
    for (let y = Math.max(0, top + 2 * row); y < Math.min(height, top + 2 * row + side); y++)
      for (let x = Math.max(0, left + 2 * col); x < Math.min(width, left + 2 * col + side); x++)
        data[i] = Math.max(data[i]!, Math.abs(images.data[((image * height + y) * width + x) * channels + c]!))
  }
  return { shape, data }
}

type Pair = readonly [number, number]
const tilesOf = (places: Shape): Pair => [Math.ceil(places[1]! / 2), Math.ceil(places[2]! / 2)]

/**
 * For outputs [n, h, w, outs]: 9 products a channel, of the largest |x| of the 4x4 pixels that the tile of an output reads
 * and the largest tap of channel and output, which `tap` gives by its index.
 */
function outputTerms(x: Nd, outputs: Shape, first: Pair, tap: (t: number, channel: number, out: number) => number) {
  const [, height, width, outs] = outputs as [number, number, number, number]
  const channels = x.shape[3]!
  const tiles = tileMaxima(x, 4, tilesOf(outputs), first)
  const largest = Float64Array.from({ length: channels * outs }, (_, i) =>
    Math.max(...Array.from({ length: 9 }, (_, t) => Math.abs(tap(t, Math.floor(i / outs), i % outs)))),
  )
  return Float64Array.from({ length: sizeOf(outputs) }, (_, i) => {
    const [o, col, row] = [i % outs, Math.floor(i / outs) % width, Math.floor(i / outs / width) % height]
    const image = Math.floor(i / outs / width / height)
    const tile = (image * tiles.shape[1]! + (row >> 1)) * tiles.shape[2]! + (col >> 1)
    let sum = 0
    for (let c = 0; c < channels; c++) sum += 9 * tiles.data[tile * channels + c]! * largest[c * outs + o]!
    return sum
  })
}

export function forwardTerms(x: Nd, w: Nd, y: Shape, [top, left]: Pair): Float64Array {
  const [, , inputs, outs] = w.shape as [number, number, number, number]
  return outputTerms(x, y, [-top, -left], (t, c, o) => w.data[(t * inputs + c) * outs + o]!)
}

export function inputGradTerms(dy: Nd, w: Nd, x: Shape, [top, left]: Pair): Float64Array {
  const [, , inputs, outs] = w.shape as [number, number, number, number]
  return outputTerms(dy, x, [top - 2, left - 2], (t, o, c) => w.data[(t * inputs + c) * outs + o]!)
}

/** For every tap: 4 products a tile, of the largest |x| of its 4x4 pixels and the largest |dy| of its 2x2. */
export function filterGradTerms(x: Nd, dy: Nd, w: Shape, [top, left]: Pair): Float64Array {
  const [inputs, outs] = [w[2]!, w[3]!]
  const [pixels, gradients] = [
    tileMaxima(x, 4, tilesOf(dy.shape), [-top, -left]),
    tileMaxima(dy, 2, tilesOf(dy.shape), [0, 0]),
  ]
  const tiles = pixels.data.length / inputs
  const sums = new Float64Array(inputs * outs)
  for (let t = 0; t < tiles; t++)
    for (let i = 0; i < sums.length; i++)
      sums[i] = sums[i]! + 4 * pixels.data[t * inputs + Math.floor(i / outs)]! * gradients.data[t * outs + (i % outs)]!
  return Float64Array.from({ length: sizeOf(w) }, (_, i) => sums[i % sums.length]!)
}
