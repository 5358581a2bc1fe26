// Optimizer updates against closed forms, and against the mistakes that are known to pass for them.
import { describe, expect, it } from 'vitest'
import { ops, read, readStep, record, write, writeStep } from '../../src/index.js'
import { everyDevice } from './harness.js'
import {
  adam,
  descend,
  momentum,
  Optimized,
  type Rule,
  randomSetup,
  type Setup,
  train,
  trainExactly,
} from './optimizer.js'

const nesterov = { ...momentum, nesterov: true }
const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.max(...Array.from(a, (v, i) => Math.abs(v - b[i]!)))

/** One parameter, one gradient per step, all in float64, with any rule. */
function follow(setup: Setup, rule: (g: number, t: number, m: number[], v: number[]) => number): number[] {
  const [m, v] = [[0], [0]]
  let theta = setup.start[0]![0]!
  setup.gradients.forEach((list, i) => {
    theta += rule(list[0]![0]!, i + 1, m, v)
  })
  return [theta]
}

describe.each(everyDevice())('on $name', ({ on }) => {
  const options = { device: on }

  // Dauphin's narrow valley as the textbooks have it; the end points were computed in float64.
  it.each<[string, Rule, number, [number, number]]>([
    ['sgd', { kind: 'sgd' }, 0.95, [-0.350393, 0.084782]],
    ['momentum', momentum, 0.1, [0.896414, 0.088086]],
    ['adam', adam, 0.3, [0.136015, 0.318245]],
  ])('%s ends where it should after 30 updates on x^2/20 + y^2', (_, rule, rate, wanted) => {
    const { ended } = descend(rule, rate, options)
    expect(distance(ended, wanted)).toBeLessThan(1e-5)
    // A widely copied Adam without the corrections ends here, with a LOWER loss.
    expect(distance(ended, [-0.614796, 0.222995])).toBeGreaterThan(0.2)
  })

  it('nesterov holds the point it looks ahead to; the point it looks from ends where it should', () => {
    const { ended, velocity } = descend(nesterov, 0.1, options)
    expect(distance(ended, [0.689615, -0.00068])).toBeLessThan(1e-5)
    const from = ended.map((x, i) => x - nesterov.beta * velocity[i]!)
    expect(distance(from, [0.613074, 0.005899])).toBeLessThan(1e-5)
  })

  it('momentum with the rate outside differs only when the rate changes', () => {
    const outside = { ...momentum, rateOutside: true }
    const constant = randomSetup(momentum, [[9]], 25)
    const [a, b] = [momentum, outside].map((rule) => train({ ...constant, rule }, options).values[0]!)
    expect(distance(a!, b!)).toBeLessThan(1e-6)
    const changing = { ...constant, rate: (step: number) => (step < 10 ? 0.1 : 0.001) }
    const [c, d] = [momentum, outside].map((rule) => train({ ...changing, rule }, options).values[0]!)
    expect(distance(c!, d!)).toBeGreaterThan(0.01)
    expect(distance(d!, trainExactly({ ...changing, rule: outside }).values[0]!)).toBeLessThan(1e-5)
  })

  it('nesterov is the exact look-ahead form, read at the shifted parameter', () => {
    // v = beta v - rate f'(theta + beta v), theta += v, of f = (a x^2 + b sin x) per element; phi = theta + beta v.
    const [rate, beta, steps] = [0.05, 0.9, 25]
    const slope = (x: number): number => 0.3 * x + 0.5 * Math.cos(x)
    const start = [-3, -0.5, 0.25, 1, 4].map(Math.fround)
    const theta = [...start]
    const v = start.map(() => 0)
    const optimized = new Optimized(nesterov, [[5]])
    const [phi] = optimized.variables
    const program = record(
      ({ g }) => {
        optimized.update([g])
        return []
      },
      { g: [5] },
      { ...options, step: optimized.step },
    )
    write(phi!, start, on)
    writeStep(optimized.step, { rate }, on)
    for (let t = 0; t < steps; t++) {
      program.runSync({ g: Array.from(read(phi!), slope) })
      theta.forEach((x, i) => {
        v[i] = beta * v[i]! - rate * slope(x + beta * v[i]!)
        theta[i] = x + v[i]!
      })
    }
    const shifted = theta.map((x, i) => x + beta * v[i]!)
    expect(distance(read(phi!), shifted)).toBeLessThan(3e-6)
    expect(distance(read(phi!), theta)).toBeGreaterThan(1e-3)
  })

  it('the first step of adam has the size of the rate, whatever the gradient', () => {
    const gradients = [1e-4, -1e-4, 3, -70, 1e6, -1e10]
    const { values } = train(
      { rule: adam, shapes: [[6]], rate: () => 0.01, start: [new Float32Array(6)], gradients: [[gradients]] },
      options,
    )
    gradients.forEach((g, i) => {
      expect(values[0]![i]).toBeCloseTo(-0.01 * Math.sign(g), 5)
    })
  })

  it('eps of adam stands outside the root: seen with gradients of 1e-12', () => {
    const [g, rate, eps] = [1e-12, 1, 1e-8]
    const setup = { rule: adam, shapes: [[1]], rate: () => rate, start: [[0]], gradients: [[[g]], [[g]], [[g]]] }
    const [moved] = train(setup, options).values[0]!
    const outside = (-3 * rate * g) / (g + eps)
    const inside = (-3 * rate * g) / Math.sqrt(g * g + eps)
    expect(moved! / outside).toBeCloseTo(1, 4)
    expect(Math.abs(moved! / inside)).toBeGreaterThan(1000)
  })

  it('adam is none of its wrong variants', () => {
    const { beta1, beta2, eps } = adam
    const setup = randomSetup(adam, [[1]], 25, { rate: () => 0.1 })
    const moments = (g: number, m: number[], v: number[]): void => {
      m[0] = beta1 * m[0]! + (1 - beta1) * g
      v[0] = beta2 * v[0]! + (1 - beta2) * g * g
    }
    const right = follow(setup, (g, t, m, v) => {
      moments(g, m, v)
      return (-0.1 * (m[0]! / (1 - beta1 ** t))) / (Math.sqrt(v[0]! / (1 - beta2 ** t)) + eps)
    })
    const wrong: Record<string, number[]> = {
      'no correction': follow(setup, (g, _, m, v) => {
        moments(g, m, v)
        return (-0.1 * m[0]!) / (Math.sqrt(v[0]!) + eps)
      }),
      'correction counted from 0': follow(setup, (g, t, m, v) => {
        moments(g, m, v)
        const c = t === 1 ? 1 : 1 - beta1 ** (t - 1)
        return (-0.1 * (m[0]! / c)) / (Math.sqrt(v[0]! / (1 - beta2 ** t)) + eps)
      }),
      'only the first moment corrected': follow(setup, (g, t, m, v) => {
        moments(g, m, v)
        return (-0.1 * (m[0]! / (1 - beta1 ** t))) / (Math.sqrt(v[0]!) + eps)
      }),
      'no root': follow(setup, (g, t, m, v) => {
        moments(g, m, v)
        return (-0.1 * (m[0]! / (1 - beta1 ** t))) / (v[0]! / (1 - beta2 ** t) + eps)
      }),
    }
    const [moved] = train(setup, options).values
    expect(distance(moved!, right)).toBeLessThan(1e-5)
    for (const [name, end] of Object.entries(wrong)) {
      expect({ name, apart: distance(moved!, end) > 1e-3 }).toEqual({ name, apart: true })
    }
  })

  it('leaves what has no gradient alone, and the gaps between parameters', () => {
    const optimized = new Optimized(adam, [[3], [5], [2]])
    const program = record(
      ({ a }) => {
        optimized.update([a])
        return []
      },
      { a: [3] },
      { ...options, step: optimized.step },
    )
    const [moved, ...frozen] = optimized.variables
    for (const variable of frozen) write(variable, new Float32Array(variable.size).fill(1.5), on)
    writeStep(optimized.step, { rate: 0.1 }, on)
    program.runSync({ a: [1, 1, 1] })
    program.runSync({ a: [1, 1, 1] })
    expect(Array.from(read(moved!))).toEqual([-0.2, -0.2, -0.2].map((v) => expect.closeTo(v, 6)))
    for (const variable of frozen) expect(read(variable).every((v) => v === 1.5)).toBe(true)
  })

  it('counts steps and updates in many steps of one call as in single ones', () => {
    const run = (calls: number, steps: number) => {
      const optimized = new Optimized(adam, [[7]])
      const [p] = optimized.variables
      const program = record(
        () => {
          optimized.update([ops.add(p!, ops.fill([7], 1))])
          return []
        },
        {},
        { ...options, step: optimized.step },
      )
      writeStep(optimized.step, { rate: 0.01 }, on)
      for (let i = 0; i < calls; i++) program.runManySync(steps)
      return { values: Array.from(read(p!)), state: readStep(optimized.step) }
    }
    const [single, many] = [run(12, 1), run(2, 6)]
    expect(many).toEqual(single)
    expect(single.state).toMatchObject({ step: 12, updates: 12, skipped: 0, rate: 0.01 })
    expect(single.values[0]).toBeCloseTo(-0.12, 2)
  })
})
