// Batches that are made while steps run: asks a source for the next one, puts it into a free slot beside the steps that are
// under way, and hands out what they return. It knows neither models nor the native program.

/** A source of values that come one by one; each `for` over it, or `for await`, begins anew unless it is an iterator itself. */
export type Source<T> = Iterable<T | PromiseLike<T>> | AsyncIterable<T>

/** Where values go: as many slots as may be under way at once. */
export interface Sink<T, R> {
  readonly slots: number
  /** Queues the step of a value; the slot is free again when the promise settles. */
  put(value: T, slot: number, isFirst: boolean): Promise<R>
  /** Ends what is queued at the next step boundary. */
  stop(): void
}

type Event<T, R> =
  | { kind: 'value'; result: IteratorResult<T, unknown> }
  | { kind: 'sourceFailed'; error: unknown }
  | { kind: 'done'; slot: number; outcome: R }
  | { kind: 'stepFailed'; slot: number; error: unknown }
  | { kind: 'stopped' }

// Reading results takes JavaScript some microseconds a call; so often is smooth enough for people.
const reportMilliseconds = 15

/** True for a source of values, whichever way they come. */
export function isSource(value: unknown): value is Source<unknown> {
  const source = value as { [Symbol.iterator]?: unknown; [Symbol.asyncIterator]?: unknown } | null
  if (typeof source !== 'object' || source === null) return false
  return typeof source[Symbol.asyncIterator] === 'function' || typeof source[Symbol.iterator] === 'function'
}

/** A source as an iterator whose steps are promises. */
export function iterate<T>(source: Source<T>): AsyncIterator<T, unknown> {
  if (Symbol.asyncIterator in source) return source[Symbol.asyncIterator]()
  const iterator = source[Symbol.iterator]()
  return {
    async next() {
      const { done, value } = iterator.next()
      return done ? { done, value } : { done: false, value: await value }
    },
    async return() {
      return iterator.return?.() as IteratorResult<T, unknown>
    },
  }
}

/**
 * Steps over all values of a source, at most `slots` of them queued or running, and their outcomes in order, several at a
 * time. While steps run, the next value is asked for. When the source fails, the steps of the values before it are done and
 * their outcomes given; then its error is thrown. When a step fails, or `onStop` is called, those behind it do nothing.
 */
export class Pump<T, R extends { readonly steps: number }> {
  readonly #source: AsyncIterator<T, unknown>
  readonly #sink: Sink<T, R>
  readonly #events: Event<T, R>[] = []
  readonly #free: number[]
  #wake = (): void => {}
  #asking = false

  constructor(source: Source<T>, sink: Sink<T, R>) {
    this.#source = iterate(source)
    this.#sink = sink
    this.#free = Array.from({ length: sink.slots }, (_, slot) => slot)
  }

  /** Ends it at the next step boundary, also while the source keeps everybody waiting. */
  stop(): void {
    this.#post({ kind: 'stopped' })
  }

  async *run(): AsyncGenerator<R[], void> {
    const { slots } = this.#sink
    let outcomes: R[] = []
    let reported = performance.now()
    let first = true
    let more = true
    let ended = false // by the source itself, which then needs no return()
    let failure: { error: unknown } | undefined
    try {
      while (more || this.#free.length < slots) {
        if (more && !this.#asking && this.#free.length > 0) this.#ask()
        const event = await this.#next()
        if (event.kind === 'value') {
          this.#asking = false
          if (event.result.done) {
            ended = true
            more = false
          } else if (more) {
            try {
              this.#put(event.result.value, first)
              first = false
            } catch (error) {
              failure = { error }
              more = false
            }
          }
        } else if (event.kind === 'sourceFailed') {
          this.#asking = false
          ended = true
          if (more) failure = { error: event.error }
          more = false
        } else if (event.kind === 'done') {
          if (event.outcome.steps > 0) outcomes.push(event.outcome)
          else more = false
        } else if (event.kind === 'stepFailed') {
          failure ??= { error: event.error }
          more = false
        } else {
          more = false
        }
        const now = performance.now()
        if (outcomes.length > 0 && (now - reported >= reportMilliseconds || this.#free.length === slots)) {
          const ready = outcomes
          outcomes = []
          yield ready
          reported = performance.now()
        }
      }
      if (failure) throw failure.error
    } finally {
      if (this.#free.length < slots) this.#sink.stop()
      while (this.#free.length < slots) await this.#next()
      if (!ended) await this.#close(failure !== undefined)
    }
  }

  #ask(): void {
    this.#asking = true
    this.#source.next().then(
      (result) => this.#post({ kind: 'value', result }),
      (error: unknown) => this.#post({ kind: 'sourceFailed', error }),
    )
  }

  #put(value: T, isFirst: boolean): void {
    const slot = this.#free.shift() as number
    let step: Promise<R>
    try {
      step = this.#sink.put(value, slot, isFirst)
    } catch (error) {
      this.#free.push(slot)
      throw error
    }
    step.then(
      (outcome) => this.#post({ kind: 'done', slot, outcome }),
      (error: unknown) => this.#post({ kind: 'stepFailed', slot, error }),
    )
  }

  // A source that still owes a value may never give it, so nobody waits for its end.
  async #close(hasFailed: boolean): Promise<void> {
    const closing = Promise.resolve(this.#source.return?.())
    if (this.#asking || hasFailed) closing.catch(() => {})
    if (!this.#asking) await (hasFailed ? closing.catch(() => {}) : closing)
  }

  #post(event: Event<T, R>): void {
    this.#events.push(event)
    this.#wake()
  }

  async #next(): Promise<Event<T, R>> {
    while (this.#events.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    const event = this.#events.shift() as Event<T, R>
    if ('slot' in event) this.#free.push(event.slot)
    return event
  }
}
