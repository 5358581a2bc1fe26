// How a training run is shown: the pure functions that make text, and what reaches a terminal and a log file.

import { afterEach, describe, expect, it, vi } from 'vitest'
import type { EpochEvent, Model, ProgressEvent, RunControl, StartEvent } from '../../src/index.js'
import { progress } from '../../src/index.js'
import {
  columnsOf,
  factsOf,
  formatDuration,
  formatMeasure,
  formatRate,
  headingOf,
  liveLine,
  plainEpoch,
  plainProgress,
  remainingSeconds,
  rowOf,
} from '../../src/train/progress.js'

const MiB = 2 ** 20
const unused = { state: 0, step: 0, input: 0, metric: 0, workspace: 0 }
const start: StartEvent = {
  kind: 'start',
  device: 'cpu avx512, 2 threads',
  samples: 55_000,
  validationSamples: 5_000,
  parameters: 433_890,
  epochs: 20,
  batchSize: 100,
  stepsPerEpoch: 550,
  memory: { ...unused, param: 2 * MiB, grad: MiB, opt: 4 * MiB, act: 16 * MiB, data: 41 * MiB, total: 66 * MiB },
}
const epochEvent: EpochEvent = {
  kind: 'epoch',
  epoch: 3,
  epochs: 20,
  train: { loss: 0.06234, accuracy: 0.98123 },
  validation: { loss: 0.07, accuracy: 0.979 },
  samplesPerSecond: 40_123.4,
  seconds: 1.371,
  skipped: 0,
}
const progressEvent: ProgressEvent = {
  kind: 'progress',
  epoch: 3,
  epochs: 20,
  step: 275,
  stepsPerEpoch: 550,
  train: { loss: 0.06234, accuracy: 0.98123 },
  samplesPerSecond: 40_000,
}
const run = {
  model: { inputShape: [28, 28, 1], outputShape: [10] } as unknown as Model,
  stop() {},
} as unknown as RunControl

/** Keeps what was written, with the escape character as `<esc>`. */
class Screen {
  text = ''
  readonly isTTY: boolean
  readonly columns: number
  readonly #colors: boolean

  constructor(isTTY: boolean, columns = 100, colors = false) {
    this.isTTY = isTTY
    this.columns = columns
    this.#colors = colors
  }

  write(text: string): void {
    this.text += text.replaceAll('\x1b', '<esc>')
  }

  hasColors(): boolean {
    return this.#colors
  }
}

afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllEnvs()
})

describe('numbers', () => {
  it.each([
    [0, '0.0000'],
    [0.98126, '0.9813'],
    [2.30256, '2.3026'],
    [999.99994, '999.9999'],
    [1234.5, '1.23e+3'],
    [0.00012345, '1.23e-4'],
    [Number.NaN, 'NaN'],
  ])('measure %d is shown as %s', (value, text) => expect(formatMeasure(value)).toBe(text))

  it.each([
    [0.04, '0.0s'],
    [14.26, '14.3s'],
    [59.46, '59.5s'],
    [59.6, '1:00'],
    [287.4, '4:47'],
    [3599.7, '1:00:00'],
    [3723, '1:02:03'],
    [Number.POSITIVE_INFINITY, '-'],
  ])('%d seconds are shown as %s', (value, text) => expect(formatDuration(value)).toBe(text))

  it('shows rates without needless digits', () => {
    expect([formatRate(3.11), formatRate(99.94), formatRate(3120.6), formatRate(1e6)]).toEqual([
      '3.1',
      '99.9',
      '3,121',
      '1,000,000',
    ])
  })
})

describe('facts', () => {
  it('tell device, data, model, run and memory', () => {
    expect(factsOf(start, [28, 28, 1], [10])).toEqual({
      device: 'cpu avx512, 2 threads',
      data: '55,000 samples for training + 5,000 for validation',
      model: '433,890 parameters, [28, 28, 1] -> [10]',
      run: '20 epochs of 550 steps, batch 100',
      memory: '66.0 MiB: data 41.0, activations 16.0, optimizer 4.0, weights 2.0, other 3.0',
    })
  })

  it('count one in the singular', () => {
    expect(factsOf({ ...start, epochs: 1, stepsPerEpoch: 1 }, [1], [1]).run).toBe('1 epoch of 1 step, batch 100')
  })
})

describe('the table', () => {
  it('has a column per measure, each row as wide as its heading', () => {
    const columns = columnsOf(['loss', 'accuracy'], start, 88)
    expect(headingOf(columns)).toBe('  epoch      loss  accuracy  val loss  val accuracy  samples/s    time')
    expect(rowOf(columns, epochEvent)).toBe('   3/20    0.0623    0.9812    0.0700        0.9790     40,123    1.4s')
  })

  it('has no validation columns without validation', () => {
    const columns = columnsOf(['loss'], { ...start, validationSamples: 0, epochs: 3 }, 88)
    expect(headingOf(columns)).toBe('  epoch      loss  samples/s    time')
  })

  it('leaves out what does not fit, but never the losses', () => {
    const names = ['loss', 'accuracy', 'top5', 'someLongMetricName']
    const titles = (width: number): string[] => columnsOf(names, start, width).map(({ title }) => title)
    expect(titles(200)).toHaveLength(3 + 2 * names.length)
    expect(titles(88)).toEqual(['epoch', 'loss', 'val loss', 'val accuracy', 'val top5', 'samples/s', 'time'])
    expect(titles(10)).toEqual(['epoch', 'loss', 'val loss', 'samples/s', 'time'])
  })
})

describe('the live line', () => {
  it('tells place, measures, pace and time left', () => {
    expect(liveLine(progressEvent, start, 88)).toBe(
      '   3/20  ━━━━━━━━━━──────────  275/550  loss 0.0623  accuracy 0.9812  40,000/s  ETA 24s',
    )
  })

  it('never exceeds the width', () => {
    const train = { loss: 0.1, ...Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`metric${i}`, i])) }
    for (let width = 20; width <= 120; width++) {
      expect(liveLine({ ...progressEvent, train }, start, width).length).toBeLessThanOrEqual(width)
    }
  })

  it('counts the epochs to come into the time left', () => {
    expect(remainingSeconds(progressEvent, start)).toBeCloseTo((17.5 * 55_000) / 40_000, 9)
    expect(remainingSeconds({ ...progressEvent, epoch: 20, step: 550 }, start)).toBe(0)
  })
})

describe('plain lines', () => {
  it('are key=value', () => {
    expect(plainEpoch(epochEvent, start)).toBe(
      'epoch=3/20 loss=0.0623 accuracy=0.9812 val_loss=0.0700 val_accuracy=0.9790 samples_s=40123 seconds=1.4 eta=23',
    )
    expect(plainProgress(progressEvent, start)).toBe(
      'epoch=3/20 step=275/550 loss=0.0623 accuracy=0.9812 samples_s=40000 eta=24',
    )
  })
})

describe('progress()', () => {
  const show = (screen: Screen): ReturnType<typeof progress> => {
    const shown = progress({ stream: screen, facts: { test: '10,000 samples' } })
    shown.onStart?.(start, run)
    return shown
  }
  const end = { epochs: [epochEvent], seconds: 1.371 }

  it('writes plain text and no control characters where there is no terminal', () => {
    const screen = new Screen(false)
    const shown = show(screen)
    for (let i = 0; i < 5; i++) shown.onProgress?.(progressEvent, run)
    shown.onEpoch?.(epochEvent, run)
    shown.onEnd?.(end, run)
    expect(screen.text).not.toMatch(/[^\n\x20-\x7e]/)
    expect(screen.text).toContain('  device  cpu avx512, 2 threads\n')
    expect(screen.text).toContain('  test    10,000 samples\n')
    expect(screen.text.match(/^epoch=/gm)).toHaveLength(1)
  })

  it('reports within epochs of more than a minute, once a minute', () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    const screen = new Screen(false)
    const shown = show(screen)
    for (let second = 0; second < 150; second++) {
      vi.advanceTimersByTime(1000)
      shown.onProgress?.(progressEvent, run)
    }
    expect(screen.text.match(/^epoch=3\/20 step=/gm)).toHaveLength(2)
  })

  it('redraws one line at most ten times a second on a terminal, and clears it for the line of the epoch', () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    const screen = new Screen(true)
    const shown = show(screen)
    for (let i = 0; i < 200; i++) {
      vi.advanceTimersByTime(5)
      shown.onProgress?.(progressEvent, run)
    }
    const drawn = screen.text.match(/\r {3}3\/20 /g) ?? []
    expect(drawn.length).toBeGreaterThanOrEqual(8)
    expect(drawn.length).toBeLessThanOrEqual(10)
    expect(screen.text.match(/samples\/s/g)).toHaveLength(1)
    shown.onEpoch?.(epochEvent, run)
    expect(screen.text).toMatch(/\r<esc>\[K {3}3\/20 {4}0\.0623.*\n$/)
  })

  it('leaves the last live line to be read when the run fails', () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    const screen = new Screen(true)
    const shown = show(screen)
    shown.onProgress?.(progressEvent, run)
    vi.advanceTimersByTime(1000)
    shown.onProgress?.(progressEvent, run)
    shown.onError?.(new Error('x'), run)
    expect(screen.text).toMatch(/ETA 24s<esc>\[K\n$/)
  })

  it('keeps within 88 columns and colours only where the terminal has colours', () => {
    const visible = (colors: boolean): string => {
      const screen = new Screen(true, 300, colors)
      const shown = show(screen)
      shown.onEpoch?.({ ...epochEvent, skipped: 2 }, run)
      shown.onEnd?.(end, run)
      expect(/<esc>\[\d+m/.test(screen.text)).toBe(colors)
      return screen.text.replaceAll(/<esc>\[\d*[mK]|\r/g, '')
    }
    const text = visible(true)
    expect(text).toBe(visible(false))
    expect(text).toContain('2 updates skipped: gradient not finite\n')
    for (const line of text.split('\n')) if (!line.includes('skipped')) expect(line.length).toBeLessThanOrEqual(88)
  })

  it('takes a terminal without cursor for a log file', () => {
    vi.stubEnv('TERM', 'dumb')
    const screen = new Screen(true)
    const shown = show(screen)
    shown.onEpoch?.(epochEvent, run)
    expect(screen.text).toContain('\nepoch=3/20 ')
  })

  it('refuses options it does not know', () => {
    expect(() => progress({ steam: 1 } as object)).toThrow(/Did you mean "stream"/)
    expect(() => progress({ stream: {} as never })).toThrow(/Expected a stream/)
  })
})
