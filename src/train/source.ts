// Batches that a user makes while the model trains: every epoch goes through the source anew, and each batch is checked
// against the first one. It runs nothing.

import type { Batch, NamedBatch, Parts } from '../data/batch.js'
import { storedDtype, toNamed, toPair } from '../data/batch.js'
import type { DType, TypedArray } from '../dtype.js'
import { checkInteger, expected, GradlineError } from '../errors.js'
import { add, mul } from '../ops/elementwise.js'
import { cast } from '../ops/move.js'
import { type Shape, sameShape } from '../shape.js'
import { isSource, iterate, type Source } from '../stream.js'
import type { Tensor } from '../tensor.js'
import type { ModelInput } from './graphModel.js'

/**
 * Batches of an epoch: something to iterate over, at once or as it comes (a list, a generator, an object with
 * [Symbol.asyncIterator]), or a function that gives it, such as a generator function. What can be gone through only once is
 * good for one epoch.
 */
export type BatchSource<B = Batch | NamedBatch> = Source<B> | (() => Source<B>)

export const isBatchSource = (value: unknown): value is BatchSource => typeof value === 'function' || isSource(value)

/** What is the same in all batches of a part. */
interface Layout {
  readonly shape: Shape
  readonly dtype: DType
  readonly scale: { readonly factor: number; readonly offset: number }
}

/** A batch as the inputs of a program. */
export interface Drawn {
  readonly rows: number
  /** Fewer rows than the first batch had, so the last of its epoch. */
  readonly isShort: boolean
  readonly inputs: Readonly<Record<string, TypedArray>>
}

export interface SourceOptions {
  /** Said in messages. */
  readonly what: string
  readonly model: {
    readonly name: string
    readonly isLayered: boolean
    readonly inputs: Readonly<Record<string, ModelInput>>
  }
  /** How often it will be gone through. */
  readonly epochs: number
  /** Batches of an epoch at most. */
  readonly limit?: number | undefined
}

export class Batches {
  readonly #source: BatchSource
  readonly #options: SourceOptions
  #layouts: Readonly<Record<string, Layout>> | undefined
  #rows: number | undefined
  #epochs = 0
  /** The iterator of a source that is one itself and goes on in the next epoch. */
  #kept: AsyncIterator<unknown, unknown> | undefined

  constructor(source: BatchSource, options: SourceOptions) {
    const { what, epochs, limit } = options
    if (limit !== undefined) checkInteger('stepsPerEpoch', limit, { min: 1 })
    this.#source = source
    this.#options = options
    if (epochs > 1 && isOnce(source) && limit === undefined) {
      const received = 'an iterator, which can be gone through only once'
      throw new GradlineError(
        'argument',
        `Expected batches for ${epochs} epochs for ${what} but received ${received}`,
        {
          fix: 'Pass the generator function itself instead of calling it, or say how many batches an epoch has (stepsPerEpoch)',
        },
      )
    }
  }

  /** Rows of every batch but the last of an epoch; known from the first batch on. */
  get rows(): number {
    return this.#rows as number
  }

  /** The batches of one more epoch. */
  begin(): EpochOfBatches {
    this.#epochs++
    const { what, limit } = this.#options
    if (this.#kept) return new EpochOfBatches(this.#kept, (batch, i) => this.#draw(batch, i), limit, true)
    const source: unknown = typeof this.#source === 'function' ? this.#source() : this.#source
    if (!isSource(source)) throw expected('something to iterate over', `the function of the ${what}`, source)
    const iterator = iterate(source)
    const goesOn = limit !== undefined && isOnce(this.#source)
    if (goesOn) this.#kept = iterator
    return new EpochOfBatches(iterator, (batch, i) => this.#draw(batch, i), limit, goesOn)
  }

  /** The error of an epoch without a batch. */
  empty(): GradlineError {
    return new GradlineError('data', `Expected at least one batch but received none from ${this.#place()}`, {
      fix:
        this.#epochs > 1
          ? 'Each epoch goes through the source anew: pass a function that gives a new iterator each time'
          : undefined,
    })
  }

  /** Ends the iterator of a source that was to go on. */
  async close(): Promise<void> {
    await this.#kept?.return?.()
  }

  /** Inputs of a program for a batch of so many rows. */
  specs(rows: number): Record<string, { shape: Shape; dtype: DType }> {
    const entries = Object.entries(this.#layouts ?? {})
    return Object.fromEntries(entries.map(([name, { shape, dtype }]) => [name, { shape: [rows, ...shape], dtype }]))
  }

  /** Those inputs inside a recording, as a model and its loss take them. */
  record(tensors: Readonly<Record<string, Tensor>>): { inputs: Tensor; labels: Tensor } {
    const layouts = this.#layouts as Readonly<Record<string, Layout>>
    const parts = Object.fromEntries(
      Object.entries(tensors).map(([name, tensor]) => [name, scaled(tensor, (layouts[name] as Layout).scale)]),
    )
    if (this.#options.model.isLayered) return { inputs: parts.x as Tensor, labels: parts.y as Tensor }
    return { inputs: parts as unknown as Tensor, labels: parts as unknown as Tensor }
  }

  #place(batch?: number): string {
    const of = this.#options.epochs > 1 ? ` of epoch ${this.#epochs}` : ''
    return `${batch === undefined ? '' : `batch ${batch}${of} of `}the ${this.#options.what}${batch === undefined ? of : ''}`
  }

  #draw(batch: unknown, index: number): Drawn {
    const { model } = this.#options
    const where = this.#place(index + 1)
    const parts = model.isLayered
      ? toPair(batch, model.inputs.x as ModelInput, where)
      : toNamed(batch, model.inputs, where)
    const rows = (Object.values(parts)[0] as Parts[string]).shape[0] as number
    const layouts = Object.fromEntries(
      Object.entries(parts).map(([name, part]) => [
        name,
        { shape: part.shape.slice(1), dtype: storedDtype(part), scale: part.scale },
      ]),
    )
    if (rows === 0) throw expected('at least one sample', where, 0, { code: 'data' })
    this.#layouts ??= layouts
    this.#rows ??= rows
    checkAlike(this.#layouts, layouts, where)
    if (rows > this.#rows) {
      throw expected(`at most ${this.#rows} samples, as in the first batch,`, where, rows, { code: 'shape' })
    }
    const inputs = Object.fromEntries(Object.entries(parts).map(([name, { data }]) => [name, data]))
    return { rows, isShort: rows < this.#rows, inputs }
  }
}

/** The batches of one epoch, looked at before they are taken. */
export class EpochOfBatches {
  readonly #iterator: AsyncIterator<unknown, unknown>
  readonly #draw: (batch: unknown, index: number) => Drawn
  readonly #limit: number
  readonly #goesOn: boolean
  readonly #ahead: Drawn[] = []
  #asked = 0
  #owes = false
  #ended = false
  #short: number | undefined

  constructor(
    iterator: AsyncIterator<unknown, unknown>,
    draw: (batch: unknown, index: number) => Drawn,
    limit = Number.POSITIVE_INFINITY,
    goesOn = false,
  ) {
    this.#iterator = iterator
    this.#draw = draw
    this.#limit = limit
    this.#goesOn = goesOn
  }

  /** The next batch, or the one behind it; undefined where there is none. A batch looked past is copied. */
  async peek(past: 0 | 1 = 0): Promise<Drawn | undefined> {
    while (this.#ahead.length <= past && !this.#ended && this.#asked < this.#limit) {
      // Its arrays may be filled anew as soon as the next batch is asked for.
      const held = this.#ahead[0]
      if (held) this.#ahead[0] = copied(held)
      this.#owes = true
      let next: IteratorResult<unknown, unknown>
      try {
        next = await this.#iterator.next()
      } catch (error) {
        this.#ended = true
        throw error
      } finally {
        this.#owes = false
      }
      if (next.done) {
        this.#ended = true
        break
      }
      const drawn = this.#draw(next.value, this.#asked++)
      if (this.#short !== undefined) {
        throw new GradlineError(
          'shape',
          `Expected nothing behind batch ${this.#asked - 1}, which has only ${this.#short} samples, but received another batch`,
          {
            fix: 'Only the last batch of an epoch may be smaller; join smaller ones, or leave out what does not fill one',
          },
        )
      }
      if (drawn.isShort) this.#short = drawn.rows
      this.#ahead.push(drawn)
    }
    return this.#ahead[past]
  }

  take(): void {
    this.#ahead.shift()
  }

  /** Closes the source, unless it has ended or goes on. What it still owes nobody waits for. */
  async close(): Promise<void> {
    if (this.#ended || this.#goesOn) return
    this.#ended = true
    const closing = Promise.resolve(this.#iterator.return?.())
    if (this.#owes) closing.catch(() => {})
    else await closing
  }
}

const isOnce = (source: BatchSource): boolean => {
  if (typeof source === 'function') return false
  const iterate = (
    Symbol.asyncIterator in source ? source[Symbol.asyncIterator] : source[Symbol.iterator]
  ) as () => unknown
  // An iterator gives itself, whatever is asked of it.
  return typeof (source as { next?: unknown }).next === 'function' && iterate.call(source) === source
}

const copied = ({ inputs, ...rest }: Drawn): Drawn => ({
  ...rest,
  inputs: Object.fromEntries(Object.entries(inputs).map(([name, data]) => [name, data.slice()])),
})

function checkAlike(
  first: Readonly<Record<string, Layout>>,
  layouts: Readonly<Record<string, Layout>>,
  where: string,
): void {
  const show = (layout: Layout | undefined): string =>
    layout ? `${layout.dtype} [n${layout.shape.map((size) => `, ${size}`).join('')}]` : 'none'
  for (const name of new Set([...Object.keys(first), ...Object.keys(layouts)])) {
    const [a, b] = [first[name], layouts[name]]
    if (a && b && a.dtype === b.dtype && sameShape(a.shape, b.shape)) {
      if (a.scale.factor === b.scale.factor && a.scale.offset === b.scale.offset) continue
      throw expected('the scale of the first batch', `${name} of ${where}`, b.scale)
    }
    throw new GradlineError(
      'shape',
      `Expected ${show(a)} for ${name} of ${where}, as in the first batch, but received ${show(b)}`,
    )
  }
}

// Bytes become floats inside the step, so that a fourth of the memory is moved.
function scaled(tensor: Tensor, { factor, offset }: Layout['scale']): Tensor {
  if (tensor.dtype === 'int32') return tensor
  const floats = cast(tensor, 'float32')
  const multiplied = factor === 1 ? floats : mul(floats, factor)
  return offset === 0 ? multiplied : add(multiplied, offset)
}
