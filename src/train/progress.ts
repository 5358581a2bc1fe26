// Shows a training run to a person: facts before the first step, one live line while steps run, one lasting line per epoch.
// What is not a terminal gets plain lines without control characters. It writes to stderr: the results of a run are for its
// caller to print. Nothing here measures or steers anything.

import { styleText } from 'node:util'
import { checkOptions, expected } from '../errors.js'
import type { ProgramMemory } from '../program.js'
import { type Shape, showShape } from '../shape.js'
import type { Callback, RunControl } from './callbacks.js'
import type { EpochEvent, Measures, ProgressEvent, StartEvent } from './events.js'

/** Where progress is written; `process.stderr` is one. */
export interface ProgressStream {
  write(text: string): unknown
  readonly isTTY?: boolean
  /** Width of the terminal in characters. */
  readonly columns?: number
  hasColors?(): boolean
}

export interface ProgressOptions {
  /** More to say before the first step, by name, e.g. { test: '10,000 samples' }. */
  facts?: Readonly<Record<string, string>>
  /** Default `process.stderr`. */
  stream?: ProgressStream
}

const widest = 88
const redrawMilliseconds = 100
const plainMilliseconds = 60_000
const barWidth = 20

/**
 * Prints a run as it goes. On a terminal: facts, a table with a line per epoch, and below it a line that is redrawn at most
 * ten times a second. Elsewhere: the facts, then `key=value` lines, one per epoch and one per minute within long epochs.
 * Colours follow the terminal and NO_COLOR. Columns follow from the metrics of the run.
 * PyTorch: none; Keras: keras.callbacks.ProgbarLogger
 */
export function progress(options: ProgressOptions = {}): Callback {
  checkOptions('progress', options, ['facts', 'stream'])
  const stream: ProgressStream = options.stream ?? process.stderr
  if (typeof stream.write !== 'function') throw expected('a stream such as process.stderr', 'stream', stream)
  const given = checkOptions('facts', options.facts, Object.keys(options.facts ?? {}))
  for (const [name, fact] of Object.entries(given)) {
    if (typeof fact !== 'string') throw expected('a text', `the fact ${name} of progress`, fact)
  }
  const live = stream.isTTY === true && process.env.TERM !== 'dumb'
  const paint: Paint =
    live && stream.hasColors?.() === true ? (format, text) => styleText(format, text, { validateStream: false }) : plain
  const width = (): number => Math.min(widest, (stream.columns ?? widest) - 1)
  let start: StartEvent
  let columns: Column[] | undefined
  let drawn = false
  let wroteAt = 0

  const clear = (): void => {
    if (drawn) stream.write('\r\x1b[K')
    drawn = false
  }
  const line = (text: string): void => {
    clear()
    stream.write(`${text}\n`)
    wroteAt = performance.now()
  }
  // The first measures tell the columns.
  const table = (train: Measures): Column[] => {
    if (!columns) {
      columns = columnsOf(Object.keys(train), start, width())
      if (live) line(paint('bold', headingOf(columns)))
    }
    return columns
  }
  return {
    onStart(event: StartEvent, { model }: RunControl): void {
      start = event
      columns = undefined
      const facts = { ...factsOf(event, model.inputShape, model.outputShape), ...options.facts }
      const names = Object.keys(facts)
      const longest = Math.max(...names.map((name) => name.length))
      const lines = Object.entries(facts).map(([name, fact]) => `  ${paint('dim', name.padEnd(longest))}  ${fact}\n`)
      line(lines.join(''))
    },

    onProgress(event: ProgressEvent): void {
      table(event.train)
      const now = performance.now()
      if (now - wroteAt < (live ? redrawMilliseconds : plainMilliseconds)) return
      if (live) {
        stream.write(`\r${liveLine(event, start, width(), paint)}\x1b[K`)
        drawn = true
        wroteAt = now
      } else line(plainProgress(event, start))
    },

    onEpoch(event: EpochEvent): void {
      const row = live ? rowOf(table(event.train), event) : plainEpoch(event, start)
      line(
        row +
          (event.skipped > 0
            ? paint('yellow', `  ${plural(event.skipped, 'update')} skipped: gradient not finite`)
            : ''),
      )
    },

    onEnd({ epochs, seconds, stopped }): void {
      if (stopped) line(`\n  stopped after epoch ${epochs.length}: ${stopped}`)
      if (seconds > 0) {
        const samples = epochs.reduce((sum, event) => sum + Math.round(event.samplesPerSecond * event.seconds), 0)
        const rate = `${formatCount(samples)} samples, ${formatRate(samples / seconds)} samples/s`
        line(`${live ? '\n' : ''}  trained ${formatDuration(seconds)}: ${rate}`)
      }
    },

    // What the live line said last stays to be read.
    onError(): void {
      if (drawn) stream.write('\n')
      drawn = false
    },
  }
}

type Paint = (format: 'bold' | 'dim' | 'cyan' | 'yellow', text: string) => string
const plain: Paint = (_format, text) => text

const plural = (count: number, noun: string): string => `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`

/** What is known before the first step, by name. */
export function factsOf(start: StartEvent, inputShape: Shape, outputShape: Shape): Record<string, string> {
  const { memory, parameters, samples, validationSamples } = start
  const held = validationSamples ? ` + ${formatCount(validationSamples)} for validation` : ''
  const steps = start.stepsPerEpoch === undefined ? 'as many steps as there are' : plural(start.stepsPerEpoch, 'step')
  return {
    device: start.device,
    data: samples === undefined ? `batches for training${held}` : `${formatCount(samples)} samples for training${held}`,
    model: `${formatCount(parameters)} parameters, ${showShape(inputShape)} -> ${showShape(outputShape)}`,
    run: `${plural(start.epochs, 'epoch')} of ${steps}, batch ${start.batchSize}`,
    memory: memoryText(memory),
  }
}

const memoryUses = { param: 'weights', grad: 'gradients', opt: 'optimizer', act: 'activations', data: 'data' } as const
const usesShown = 4

// The total and its largest parts: `66.4 MiB: data 41.3, activations 16.8, ...`.
function memoryText({ total, ...bytes }: ProgramMemory): string {
  const mebibytes = (size: number): string => (size / 2 ** 20).toFixed(1)
  const uses = Object.keys(memoryUses) as (keyof typeof memoryUses)[]
  const shown = uses.sort((a, b) => bytes[b] - bytes[a]).slice(0, usesShown)
  const other = shown.reduce((rest, use) => rest - bytes[use], total)
  const parts = shown.map((use) => `${memoryUses[use]} ${mebibytes(bytes[use])}`)
  return `${mebibytes(total)} MiB: ${parts.join(', ')}, other ${mebibytes(other)}`
}

/** One column of the table of epochs. */
export interface Column {
  readonly title: string
  readonly width: number
  cell(event: EpochEvent): string
}

/** The columns for these measures. What does not fit goes, further metrics of the training data first. */
export function columnsOf(
  measures: readonly string[],
  { epochs, validationSamples }: StartEvent,
  width: number,
): Column[] {
  const column = (title: string, narrowest: number, cell: Column['cell']): Column => {
    return { title, width: Math.max(narrowest, title.length), cell }
  }
  const measured = (title: string, find: (event: EpochEvent) => number | undefined): Column =>
    column(title, 8, (event) => formatMeasure(find(event) ?? Number.NaN))
  const train = measures.map((name) => measured(name, (event) => event.train[name]))
  const validation = measures.map((name) => measured(`val ${name}`, (event) => event.validation?.[name]))
  const all = (): Column[] => [
    column('epoch', 2 * String(epochs).length + 1, (event) => `${event.epoch}/${event.epochs}`),
    ...train,
    ...(validationSamples === 0 ? [] : validation),
    column('samples/s', 9, (event) => formatRate(event.samplesPerSecond)),
    column('time', 6, (event) => formatDuration(event.seconds)),
  ]
  while (headingOf(all()).length > width && train.length + validation.length > 2) {
    if (train.length > 1) train.pop()
    else validation.pop()
  }
  return all()
}

export const headingOf = (columns: readonly Column[]): string =>
  columns.map(({ title, width }) => title.padStart(width + 2)).join('')

export const rowOf = (columns: readonly Column[], event: EpochEvent): string =>
  columns.map(({ width, cell }) => cell(event).padStart(width + 2)).join('')

/** The line below the table: how far the epoch is, means so far, and when the run should end. */
export function liveLine(event: ProgressEvent, start: StartEvent, width: number, paint: Paint = plain): string {
  const { epoch, epochs, step, stepsPerEpoch, train, samplesPerSecond } = event
  const head = `  ${`${epoch}/${epochs}`.padStart(5)}  `
  const steps =
    stepsPerEpoch === undefined
      ? plural(step, 'step')
      : `${String(step).padStart(String(stepsPerEpoch).length)}/${stepsPerEpoch}`
  const left = remainingSeconds(event, start)
  const measures = Object.entries(train).map(([name, value]) => `${name} ${formatMeasure(value)}`)
  const ending = [
    `${formatRate(samplesPerSecond)}/s`,
    ...(left === undefined ? [] : [`ETA ${formatDuration(left, true)}`]),
  ]
  // In a narrow terminal the measures give way from the last, then the bar; the rest is cut.
  const bar = width < 60 || stepsPerEpoch === undefined ? 0 : barWidth
  const tail = (): string => [steps, ...measures, ...ending].join('  ')
  const room = Math.max(0, width - head.length - (bar && bar + 2))
  while (tail().length > room && measures.length > 1) measures.pop()
  const filled = stepsPerEpoch === undefined ? 0 : Math.round((bar * step) / stepsPerEpoch)
  const drawing = paint('cyan', '━'.repeat(filled)) + paint('dim', '─'.repeat(bar - filled))
  return `${head}${bar ? `${drawing}  ` : ''}${tail().slice(0, room)}`
}

/** Seconds of training until the last epoch ends, at the pace of this one; undefined where only a source knows its size. */
export function remainingSeconds(
  { epoch, epochs, step, stepsPerEpoch, samplesPerSecond }: ProgressEvent,
  { samples, batchSize }: StartEvent,
): number | undefined {
  if (stepsPerEpoch === undefined) return undefined
  const each = samples ?? stepsPerEpoch * batchSize
  return ((epochs - epoch + 1 - step / stepsPerEpoch) * each) / samplesPerSecond
}

/** `epoch=1/20 loss=0.1834 ... seconds=14.3 eta=272`, for logs. */
export function plainEpoch(event: EpochEvent, { samples }: StartEvent): string {
  const seconds = samples === undefined ? event.seconds : samples / event.samplesPerSecond
  const left = (event.epochs - event.epoch) * seconds
  return pairs({
    epoch: `${event.epoch}/${event.epochs}`,
    ...plainMeasures('', event.train),
    ...plainMeasures('val_', event.validation ?? {}),
    samples_s: plainRate(event.samplesPerSecond),
    seconds: event.seconds.toFixed(1),
    eta: left.toFixed(0),
  })
}

/** The same for a moment within an epoch. */
export function plainProgress(event: ProgressEvent, start: StartEvent): string {
  const { stepsPerEpoch } = event
  const left = remainingSeconds(event, start)
  return pairs({
    epoch: `${event.epoch}/${event.epochs}`,
    step: stepsPerEpoch === undefined ? `${event.step}` : `${event.step}/${stepsPerEpoch}`,
    ...plainMeasures('', event.train),
    samples_s: plainRate(event.samplesPerSecond),
    ...(left === undefined ? {} : { eta: left.toFixed(0) }),
  })
}

const pairs = (fields: Readonly<Record<string, string>>): string =>
  Object.entries(fields)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ')

const plainMeasures = (prefix: string, measures: Readonly<Record<string, number>>): Record<string, string> =>
  Object.fromEntries(Object.entries(measures).map(([name, value]) => [prefix + name, formatMeasure(value)]))

const plainRate = (rate: number): string => rate.toFixed(rate < 100 ? 1 : 0)

/** Four decimals, or three digits and an exponent where those would say nothing. */
export function formatMeasure(value: number): string {
  const size = Math.abs(value)
  return size !== 0 && (size < 0.001 || size >= 1000) ? value.toExponential(2) : value.toFixed(4)
}

export const formatCount = (count: number): string => count.toLocaleString('en')

/** Whole numbers, with one decimal below 100. */
export const formatRate = (rate: number): string => (rate < 100 ? rate.toFixed(1) : formatCount(Math.round(rate)))

/** `14.3s`, `4:47` or `1:02:03`; rough leaves the tenths out. */
export function formatDuration(seconds: number, rough = false): string {
  if (!Number.isFinite(seconds)) return '-'
  if (seconds < 59.5) return `${seconds.toFixed(rough ? 0 : 1)}s`
  const whole = Math.round(seconds)
  const two = (value: number): string => String(value).padStart(2, '0')
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60]
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`
}
