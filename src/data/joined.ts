// Data sets of the same samples side by side, each under a name: what a model of several inputs and outputs is trained on.
// It holds no numbers of its own; rows are chosen by the training program, the same for all parts.

import { checkOptions, expected } from '../errors.js'
import { Dataset, type SplitOptions } from './dataset.js'

/** Made by `joined()`. */
export class Joined<P extends Readonly<Record<string, Dataset>> = Readonly<Record<string, Dataset>>> {
  readonly parts: P
  readonly name: string

  constructor(parts: P, name = 'joined') {
    const entries = Object.entries(parts ?? {})
    if (entries.length === 0) throw expected('at least one data set by name', name, parts)
    const rows = entries[0]?.[1]?.length
    for (const [part, data] of entries) {
      const where = `${name}.${part}`
      if (!(data instanceof Dataset)) throw expected('a data set made by dataset()', part, data, { where: name })
      if (data.labels) {
        throw expected('a data set without labels', part, 'one with labels', {
          where,
          fix: 'Give the labels as a part of their own: { x: dataset(inputs), y: dataset(labels) }',
        })
      }
      if (data.length !== rows) {
        throw expected(`${rows} samples, as in the first part,`, part, data.length, { code: 'shape', where })
      }
    }
    this.parts = { ...parts }
    this.name = name
  }

  /** Number of samples. */
  get length(): number {
    return (Object.values(this.parts)[0] as Dataset).length
  }

  /** The first `count` samples, as a view. */
  take(count: number): Joined<P> {
    return this.#each((data) => data.take(count))
  }

  /** Samples from `begin` up to but without `end` (default: all the rest), as a view. */
  slice(begin: number, end: number = this.length): Joined<P> {
    return this.#each((data) => data.slice(begin, end))
  }

  /** Two disjoint parts that together hold every sample, as of a single data set; samples stay whole. */
  split(options: SplitOptions): { readonly train: Joined<P>; readonly validation: Joined<P> } {
    // The permutation follows from seed and number of samples alone, so every part is cut in the same way.
    return {
      train: this.#each((data) => data.split(options).train),
      validation: this.#each((data) => data.split(options).validation),
    }
  }

  #each(change: (data: Dataset) => Dataset): Joined<P> {
    const parts = Object.entries(this.parts).map(([part, data]) => [part, change(data)])
    return new Joined(Object.fromEntries(parts) as P, this.name)
  }
}

/**
 * Joins data sets of the same samples: `joined({ image: dataset(pixels, null, { shape }), age: dataset(ages), digit:
 * dataset(classes, null, { shape: [n] }) })`. Parts named like inputs of a model are given to it, the loss gets all of them.
 * Class labels are Int32Arrays of shape [n]. Parts with labels, or of different lengths, are errors.
 */
export function joined<P extends Readonly<Record<string, Dataset>>>(
  parts: P,
  options: { name?: string } = {},
): Joined<P> {
  checkOptions('joined', options, ['name'])
  return new Joined(parts, options.name)
}
