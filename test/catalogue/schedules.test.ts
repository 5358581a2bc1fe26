// Learning-rate schedules by value: against the rates PyTorch gives (fixtures/make_schedules.py), against closed forms for
// the others, at boundaries, and inside one native call of many steps.
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  adam,
  chain,
  cosine,
  cosineRestarts,
  device,
  exponential,
  GradlineError,
  momentum,
  multiStep,
  oneCycle,
  ops,
  piecewise,
  polynomial,
  power,
  read,
  readStep,
  record,
  type Schedule,
  sgd,
  stepDecay,
  stepState,
  table,
  Updater,
  variable,
  warmup,
  writeStep,
} from '../../src/index.js'

const steps = 60

/** One parameter under SGD with gradient g; the rate of each update, as the step state has it. */
function updated(schedule: Schedule | undefined, lr: number, on = 'cpu') {
  const p = variable([1], { name: 'p' })
  const updater = new Updater(sgd({ lr, ...(schedule ? { schedule } : {}) }))
  const program = record(
    ({ g }) => {
      updater.apply([p], [g])
      return ops.add(p, 0)
    },
    { g: [1] },
    { step: updater.step, device: on },
  )
  return { p, updater, program }
}

function ratesOf(schedule: Schedule, lr = 0.1, count = steps, on = 'cpu'): number[] {
  const { updater, program } = updated(schedule, lr, on)
  const rates = Array.from({ length: count }, () => {
    program.runSync({ g: [1] })
    return readStep(updater.step).rate
  })
  program.close()
  return rates
}

/** Expects equal lists to a relative 1e-12 of the base rate or of the value itself. */
function expectRates(got: readonly number[], wanted: readonly number[], size = 0): void {
  expect(got.length).toBe(wanted.length)
  got.forEach((rate, t) => {
    const off = Math.abs(rate - wanted[t]!)
    expect({ t, rate, wanted: wanted[t], near: off <= 1e-12 * Math.max(size, Math.abs(wanted[t]!)) }).toMatchObject({
      near: true,
    })
  })
}

const upTo = (count: number, f: (t: number) => number): number[] => Array.from({ length: count }, (_, t) => f(t))

interface Fixture {
  readonly lr: number
  readonly schedules: readonly { name: string; options: unknown; rates: number[] }[]
}
const fixture = JSON.parse(readFileSync(new URL('../fixtures/schedules.json', import.meta.url), 'utf8')) as Fixture

const makers: Record<string, (options: never) => Schedule> = {
  stepDecay,
  multiStep,
  exponential,
  polynomial,
  cosine,
  cosineRestarts,
  oneCycle,
  warmup,
  chain: (parts: { name: string; options: never }[]) =>
    chain(parts.map(({ name, options }) => (makers[name] as (options: never) => Schedule)(options))),
}

describe('60 steps as PyTorch has them', () => {
  it.each(fixture.schedules.map((row) => [row.name, JSON.stringify(row.options), row] as const))(
    '%s %s',
    (name, _, row) => {
      // PyTorch goes from each rate to the next, which adds up its rounding.
      const maker = makers[name] as (options: unknown) => Schedule
      expectRates(ratesOf(maker(row.options), fixture.lr), row.rates, fixture.lr)
    },
  )
})

describe('closed forms', () => {
  it('exponential: lr 10^(-t / r), a tenth at t = r', () => {
    const rates = ratesOf(exponential({ r: 25 }))
    expectRates(
      rates,
      upTo(steps, (t) => 0.1 * 10 ** (-t / 25)),
    )
    expect(Math.abs(rates[25]! / 0.01 - 1)).toBeLessThan(1e-12)
    expect(Math.abs(rates[50]! / 0.001 - 1)).toBeLessThan(1e-12)
  })

  it('power: lr (1 + t / r)^-c, a half at t = r for c = 1', () => {
    const rates = ratesOf(power({ r: 20 }))
    expectRates(
      rates,
      upTo(steps, (t) => 0.1 / (1 + t / 20)),
    )
    expect(Math.abs(rates[20]! / 0.05 - 1)).toBeLessThan(1e-12)
    expectRates(
      ratesOf(power({ r: 20, c: 2.5 })),
      upTo(steps, (t) => 0.1 * (1 + t / 20) ** -2.5),
    )
  })

  it('power is slower than exponential', () => {
    const [slow, fast] = [ratesOf(power({ r: 20 })), ratesOf(exponential({ r: 20 }))]
    expect(slow[0]).toBe(fast[0])
    for (let t = 1; t < steps; t++) expect(slow[t]!).toBeGreaterThan(fast[t]!)
  })

  it('power has the whole bracket under its exponent, not only t / r or r', () => {
    const [r, c] = [7, 1.5]
    const rates = ratesOf(power({ r, c }))
    const wrong: Record<string, (t: number) => number> = {
      'lr (1 + t / r^-c)': (t) => 0.1 * (1 + t / r ** -c),
      'lr (1 + (t / r)^-c)': (t) => 0.1 * (1 + (t / r) ** -c),
      'lr 1 + t / r^-c': (t) => 0.1 + t / r ** -c,
    }
    for (const [name, f] of Object.entries(wrong)) {
      for (let t = 1; t < steps; t++)
        expect({ name, t, apart: Math.abs(rates[t]! - f(t)) > 1e-3 * rates[t]! }).toMatchObject({ apart: true })
    }
  })

  it('piecewise: at a boundary the new value', () => {
    const rates = ratesOf(piecewise({ boundaries: [10, 11, 40], values: [0.5, 0.4, 0.2, 0.05] }))
    expectRates(
      rates,
      upTo(steps, (t) => (t < 10 ? 0.5 : t < 11 ? 0.4 : t < 40 ? 0.2 : 0.05)),
    )
  })

  it('table: each value, then the last', () => {
    const values = upTo(13, (t) => Math.fround(1 / (3 + t)))
    expectRates(
      ratesOf(table(values)),
      upTo(steps, (t) => values[Math.min(t, 12)]!),
    )
    expectRates(
      ratesOf(table([0.25])),
      upTo(steps, () => 0.25),
    )
  })

  it('cosine, polynomial, warm-up and one cycle stay at their end', () => {
    expect(ratesOf(cosine({ steps: 20, min: 0.03 })).slice(20)).toEqual(upTo(40, () => 0.03))
    expect(ratesOf(polynomial({ steps: 20, power: 0.5, end: 0.02 })).slice(20)).toEqual(upTo(40, () => 0.02))
    expect(ratesOf(warmup({ steps: 20 })).slice(20)).toEqual(upTo(40, () => 0.1))
    expectRates(
      ratesOf(oneCycle({ steps: 20 })).slice(19),
      upTo(41, () => 4e-7),
      1e-7,
    )
    expect(ratesOf(warmup({ steps: 20 }))[0]).toBe(0)
  })

  it('cosine with restarts is at lr again at the first step of every period', () => {
    const starts = (period: number, multiplier: number): number[] =>
      ratesOf(cosineRestarts({ period, multiplier }), 0.1, 500).flatMap((rate, t) => (rate === 0.1 ? [t] : []))
    expect(starts(1, 2)).toEqual([0, 1, 3, 7, 15, 31, 63, 127, 255])
    expect(starts(10, 3)).toEqual([0, 10, 40, 130, 400])
    expect(starts(100, 1)).toEqual([0, 100, 200, 300, 400])
    // Periods of 8, 12, 18, 27, 40.5 ...: the restart lies between two steps.
    const rates = ratesOf(cosineRestarts({ period: 8, multiplier: 1.5 }), 0.1, 200)
    const wanted = upTo(200, (t) => {
      let [begin, period] = [0, 8]
      while (begin + period <= t) {
        begin += period
        period *= 1.5
      }
      return 0.05 * (1 + Math.cos((Math.PI * (t - begin)) / period))
    })
    expectRates(rates, wanted, 0.1)
  })

  it('a chain of a chain, with lengths given', () => {
    const inner = chain([warmup({ steps: 5 }), { schedule: exponential({ r: 10 }), steps: 10 }])
    const rates = ratesOf(chain([inner, { schedule: table([1, 2, 3, 4]), steps: 3 }, power({ r: 4 })]))
    const wanted = (t: number): number => {
      if (t < 5) return 0.02 * t
      if (t < 15) return 0.1 * 10 ** (-(t - 5) / 10)
      if (t < 18) return t - 14
      return 0.1 / (1 + (t - 18) / 4)
    }
    expectRates(rates, upTo(steps, wanted), 0.1)
  })
})

describe('inside the step', () => {
  const schedule = chain([warmup({ steps: 10, from: 0.1 }), power({ r: 8 })])

  it('changes the rate within one native call', () => {
    const wanted = ratesOf(schedule)
    const { updater, program } = updated(schedule, 0.1)
    const values = [...program.runManySync(steps, { g: [-1] })].map((tensor) => tensor.item())
    expect(readStep(updater.step)).toMatchObject({ step: steps, updates: steps, rate: wanted.at(-1) })
    let [sum, before] = [0, 0]
    values.forEach((value, t) => {
      expect(Math.abs(value - before - wanted[t]!)).toBeLessThan(1e-6)
      sum += wanted[t]!
      before = value
    })
    expect(Math.abs(values.at(-1)! - sum)).toBeLessThan(1e-5)
  })

  it('is the same on ref and cpu, and asynchronously', async () => {
    expect(ratesOf(schedule, 0.1, steps, 'ref')).toEqual(ratesOf(schedule))
    const [one, many] = [updated(schedule, 0.1), updated(schedule, 0.1)]
    for (let i = 0; i < steps; i++) await one.program.run({ g: [1] })
    await many.program.runMany(steps, { g: [1] })
    expect(read(many.p)).toEqual(read(one.p))
  })

  it('counts updates, not steps whose gradient was not finite', () => {
    const { updater, program } = updated(table([1, 2, 3, 4]), 0.1)
    const rates = [1, Number.NaN, 1, Number.POSITIVE_INFINITY, 1].map((g) => {
      program.runSync({ g: [g] })
      return readStep(updater.step).rate
    })
    expect(rates).toEqual([1, 2, 2, 3, 3])
    expect(readStep(updater.step)).toMatchObject({ step: 5, updates: 3, skipped: 2 })
  })

  it("counts epochs with unit 'epoch'", () => {
    const p = variable([1])
    const updater = new Updater(sgd({ lr: 0.1, schedule: table([4, 3, 2], { unit: 'epoch' }) }))
    const program = record(
      () => {
        ops.sampleRows(2, 5, 'none', updater.step)
        updater.apply([p], [ops.fill([1], 1)])
        return []
      },
      {},
      { step: updater.step },
    )
    const rates = upTo(10, () => {
      program.runSync()
      return readStep(updater.step).rate
    })
    expect(rates).toEqual([4, 4, 4, 3, 3, 3, 2, 2, 2, 2])
  })

  it('is multiplied by the rate factor of the step state', () => {
    for (const on of ['ref', 'cpu']) {
      const { p, updater, program } = updated(table([1, 2, 4]), 0.1, on)
      writeStep(updater.step, { rateFactor: 0.25 }, device(on))
      const values = [...program.runManySync(3, { g: [-1] })].map((tensor) => tensor.item())
      expect(values).toEqual([0.25, 0.75, 1.75])
      expect(readStep(updater.step)).toMatchObject({ rate: 4, rateFactor: 0.25 })
      expect(read(p)[0]).toBe(1.75)
    }
    expect(readStep(stepState('fresh')).rateFactor).toBe(1)
  })

  it.each([
    ['sgd', sgd],
    ['momentum', momentum],
    ['adam', adam],
  ] as const)('%s obeys it: rate 0 moves nothing, then it moves', (_, make) => {
    const p = variable([3])
    const updater = new Updater(make({ lr: 0.1, schedule: piecewise({ boundaries: [4], values: [0, 0.1] }) }))
    const program = record(
      () => {
        updater.apply([p], [ops.fill([3], 1)])
        return ops.add(p, 0)
      },
      {},
      { step: updater.step },
    )
    const values = [...program.runManySync(6)].map((tensor) => tensor.data[0]!)
    expect(values.slice(0, 4)).toEqual([0, 0, 0, 0])
    expect(values[4]!).toBeLessThan(-0.05)
  })

  it('may be left out: the rate of the step state stays as written', () => {
    const { updater, program } = updated(undefined, 0.3)
    program.runManySync(3, { g: [1] })
    expect(readStep(updater.step).rate).toBe(0.3)
    writeStep(updater.step, { rate: 0.2 })
    program.runManySync(3, { g: [1] })
    expect(readStep(updater.step).rate).toBe(0.2)
  })
})

describe('wrong options are refused', () => {
  it.each<[string, () => unknown]>([
    ['Did you mean "gamma"', () => stepDecay({ size: 3, gama: 0.5 } as never)],
    ['size of stepDecay', () => stepDecay(undefined as never)],
    ['size of stepDecay', () => stepDecay({ size: 0 })],
    ['rising', () => multiStep({ milestones: [3, 3] })],
    ['milestones[0]', () => multiStep({ milestones: [0] })],
    ['3 rates', () => piecewise({ boundaries: [1, 2], values: [1, 2] })],
    ['values[1]', () => piecewise({ boundaries: [1], values: [1, -2] })],
    ['either r or gamma', () => exponential({})],
    ['either r or gamma', () => exponential({ r: 1, gamma: 1 })],
    ['r of power', () => power({ r: 0 })],
    ['steps of polynomial', () => polynomial({} as never)],
    ['min of cosine', () => cosine({ steps: 3, min: -1 })],
    ['unit of cosine', () => cosine({ steps: 3, unit: 'epochs' as never })],
    ['steps of oneCycle', () => oneCycle({ steps: 1 })],
    ['pctStart', () => oneCycle({ steps: 3 })],
    ['multiplier', () => cosineRestarts({ period: 3, multiplier: 0.5 })],
    ['period of cosineRestarts', () => cosineRestarts({ period: 0.5 })],
    ['from of warmup', () => warmup({ steps: 3, from: -1 })],
    ['at least one rate', () => table([])],
    ['values[1] of table', () => table([1, Number.NaN])],
    ['a list of schedules', () => chain([])],
    ['part 1 of chain', () => chain([5 as never])],
    ['has no end', () => chain([power({ r: 3 }), cosine({ steps: 3 })])],
    ["units of 'step'", () => chain([warmup({ steps: 3 }), cosine({ steps: 3, unit: 'epoch' })])],
    ['schedule of adam', () => adam({ schedule: 'cosine' as never })],
    ['Did you mean "schedule"', () => sgd({ shedule: cosine({ steps: 3 }) } as never)],
  ])('%s', (text, make) => {
    expect(make).toThrow(GradlineError)
    expect(make).toThrow(text)
  })
})
