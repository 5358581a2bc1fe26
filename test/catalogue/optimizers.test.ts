// Every optimizer by its public name: PyTorch's trajectories, end points of the literature, what clipping, groups and
// averages do. The rules themselves have rows in test/ops/run.test.ts.
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  adadelta,
  adagrad,
  adam,
  adamax,
  adamw,
  amsgrad,
  type CommonOptions,
  grad,
  lion,
  momentum,
  muon,
  nadam,
  nesterov,
  type Optimizer,
  ops,
  radam,
  read,
  readStep,
  record,
  rmsprop,
  sgd,
  Updater,
  write,
} from '../../src/index.js'
import type { Shape } from '../../src/shape.js'
import { Region, type Variable } from '../../src/tensor.js'
import { Random } from '../ops/data.js'
import { everyDevice } from '../ops/harness.js'

const optimizers = {
  sgd,
  momentum,
  nesterov,
  adagrad,
  adadelta,
  rmsprop,
  adam,
  adamw,
  amsgrad,
  adamax,
  nadam,
  radam,
  lion,
  muon,
} as const
type Kind = keyof typeof optimizers
const make = (kind: Kind, options: object): Optimizer => optimizers[kind](options as CommonOptions)

interface Fixture {
  readonly shapes: Shape[]
  readonly start: number[][]
  readonly gradients: number[][][]
  readonly cases: { kind: Kind; pytorch: string; options: object; after: number[][] }[]
}
const fixture = JSON.parse(readFileSync(new URL('../fixtures/optimizers.json', import.meta.url), 'utf8')) as Fixture

const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Math.max(...Array.from(a, (v, i) => Math.abs(v - b[i]!)))
const bitsOf = (values: ArrayLike<number>): number[] => Array.from(new Uint32Array(Float32Array.from(values).buffer))

type Options = { device: ReturnType<typeof everyDevice>[number]['on'] }

/** Variables of the given shapes in one region, and a program that updates them by gradients given as inputs. */
function updated(chosen: Optimizer, shapes: readonly Shape[], options: Options, names?: readonly string[]) {
  const region = new Region('param', 'parameters')
  const variables = shapes.map((shape, i) => region.add(names?.[i] ?? `p${i}`, shape, 'float32'))
  const updater = new Updater(chosen)
  const program = record(
    (given) => {
      updater.apply(variables, Object.values(given))
      return []
    },
    Object.fromEntries(shapes.map((shape, i) => [`g${i}`, shape])),
    { ...options, step: updater.step },
  )
  const apply = (gradients: readonly ArrayLike<number>[]): void => {
    program.runSync(Object.fromEntries(gradients.map((g, i) => [`g${i}`, g])))
  }
  const start = (values: readonly ArrayLike<number>[]): void => {
    variables.forEach((variable, i) => {
      write(variable, values[i]!, options.device)
    })
  }
  return { variables, updater, apply, start, values: () => variables.map((v) => read(v) as Float32Array) }
}

/** `updates` steps on f(x, y) = x^2 / 20 + y^2 from (-7, 2). */
function descend(chosen: Optimizer, options: Options, updates = 30): { ended: number[]; updater: Updater } {
  const region = new Region('param', 'parameters')
  const [x, y] = ['x', 'y'].map((name) => region.add(name, [1], 'float32')) as [Variable, Variable]
  const updater = new Updater(chosen)
  const program = record(
    () => {
      const loss = ops.sum(ops.add(ops.scale(ops.square(x), 1 / 20), ops.square(y)))
      updater.apply([x, y], grad(loss, [x, y]))
      return loss
    },
    {},
    { ...options, step: updater.step },
  )
  write(x, [-7], options.device)
  write(y, [2], options.device)
  program.runManySync(updates)
  return { ended: [x, y].map((v) => read(v)[0]!), updater }
}

describe.each(everyDevice())('on $name', ({ on }) => {
  const options = { device: on }

  it.each(fixture.cases)('$kind is $pytorch for 25 steps', ({ kind, options: given, after }) => {
    const { apply, start, values } = updated(make(kind, given), fixture.shapes, options)
    start(fixture.start)
    // Momentum with the rate inside is PyTorch's while the rate is constant.
    fixture.gradients.forEach((gradients, step) => {
      apply(gradients)
      const got = values().flatMap((list) => Array.from(list))
      after[step]!.forEach((wanted, i) => {
        expect(Math.abs(got[i]! - wanted)).toBeLessThan(1e-5 * Math.max(1, Math.abs(wanted)))
      })
    })
  })

  it.each<[string, Optimizer, [number, number]]>([
    ['sgd', sgd({ lr: 0.95 }), [-0.350393, 0.084782]],
    ['momentum', momentum({ lr: 0.1 }), [0.896414, 0.088086]],
    ['adagrad', adagrad({ lr: 1.5 }), [-0.120162, 0]],
    ['rmsprop', rmsprop({ lr: 0.3 }), [-0.153911, 0]],
    ['adam', adam({ lr: 0.3 }), [0.136015, 0.318245]],
  ])('%s ends where it should after 30 updates on x^2/20 + y^2', (_, chosen, wanted) => {
    expect(distance(descend(chosen, options).ended, wanted)).toBeLessThan(2e-5)
  })

  it('nesterov looks from where the literature has its end point', () => {
    const { ended, updater } = descend(nesterov({ lr: 0.1 }), options)
    const [slot] = [...updater.slots.values()][0]!
    const velocity = read(slot!)
    // Two variables, each at a multiple of 64 bytes.
    const from = ended.map((v, i) => v - 0.9 * velocity[16 * i]!)
    expect(distance(from, [0.613074, 0.005899])).toBeLessThan(2e-5)
  })

  it('nesterov is not the form that moves the velocity first and then counts it as old', () => {
    // v = beta v - lr g; theta += beta^2 v - (1 + beta) lr g, right only for the old v.
    const [lr, beta] = [0.1, 0.9]
    const wrong = [-7, 2]
    const v = [0, 0]
    for (let t = 0; t < 30; t++) {
      for (const i of [0, 1]) {
        const g = i === 0 ? wrong[0]! / 10 : 2 * wrong[1]!
        v[i] = beta * v[i]! - lr * g
        wrong[i] = wrong[i]! + beta * beta * v[i]! - (1 + beta) * lr * g
      }
    }
    expect(distance(descend(nesterov({ lr }), options).ended, wrong)).toBeGreaterThan(0.05)
  })

  it('adam has the rate once and divides by the corrected moment', () => {
    const run = (wrong: boolean): number[] => {
      const at = [-7, 2]
      const [m, v] = [
        [0, 0],
        [0, 0],
      ]
      for (let t = 1; t <= 30; t++) {
        for (const i of [0, 1]) {
          const g = i === 0 ? at[0]! / 10 : 2 * at[1]!
          m[i] = 0.9 * m[i]! + (wrong ? 0.3 : 1) * 0.1 * g
          v[i] = 0.999 * v[i]! + 0.001 * g * g
          const second = wrong ? Math.sqrt(v[i]! + 1e-8) : Math.sqrt(v[i]! / (1 - 0.999 ** t)) + 1e-8
          at[i] = at[i]! - (0.3 * (m[i]! / (1 - 0.9 ** t))) / second
        }
      }
      return at
    }
    const { ended } = descend(adam({ lr: 0.3 }), options)
    expect(distance(ended, run(false))).toBeLessThan(2e-5)
    expect(distance(ended, run(true))).toBeGreaterThan(0.05)
  })

  it.each<[string, Optimizer, (g: number, eps: number) => number]>([
    ['adagrad', adagrad({ lr: 1, eps: 1e-8 }), (g, eps) => g / (g + eps)],
    ['rmsprop', rmsprop({ lr: 1, rho: 0.75, eps: 1e-8 }), (g, eps) => g / (g / 2 + eps)],
    ['rmsprop with momentum', rmsprop({ lr: 1, rho: 0.75, eps: 1e-8, momentum: 0.5 }), (g, eps) => g / (g / 2 + eps)],
    ['adam', adam({ lr: 1 }), (g, eps) => g / (g + eps)],
    ['amsgrad', amsgrad({ lr: 1 }), (g, eps) => g / (g + eps)],
    ['adamax', adamax({ lr: 1 }), (g, eps) => g / (g + eps)],
    ['nadam', nadam({ lr: 1, momentumDecay: 0 }), nadamFirst],
  ])('eps of %s stands outside the root: seen with a gradient of 1e-12', (_, chosen, wanted) => {
    const { apply, start, values } = updated(chosen, [[1]], options)
    const g = 1e-12
    start([[0]])
    apply([[g]])
    const right = -wanted(g, 1e-8)
    expect(values()[0]![0]! / right).toBeCloseTo(1, 3)
    expect(Math.abs(values()[0]![0]!)).toBeGreaterThan(1000 * (g / Math.sqrt(g * g + 1e-8)) * 1e-3)
  })

  it('eps of adadelta stands inside both roots, as in its paper', () => {
    const { apply, start, values } = updated(adadelta(), [[1]], options)
    start([[0]])
    apply([[1]])
    expect(values()[0]![0]! / (-Math.sqrt(1e-6) / Math.sqrt(0.05 + 1e-6))).toBeCloseTo(1, 5)
  })

  it('decoupled decay is not an L2 penalty under adam, and is under sgd', () => {
    const run = (chosen: Optimizer): Float32Array => {
      const { apply, start, values } = updated(chosen, [[3, 5]], options)
      start([fixture.start[0]!])
      for (const gradients of fixture.gradients) apply([gradients[0]!])
      return values()[0]!
    }
    const penalty = { groups: [{ match: '*', l2: 0.1 }] }
    expect(distance(run(sgd({ lr: 0.1, decay: 0.1 })), run(sgd({ lr: 0.1, ...penalty })))).toBeLessThan(2e-6)
    expect(distance(run(adamw({ lr: 0.01, decay: 0.1 })), run(adam({ lr: 0.01, ...penalty })))).toBeGreaterThan(0.01)
    expect(run(adamw({ lr: 0.01, decay: 0 }))).toEqual(run(adam({ lr: 0.01 })))
  })

  it('decay leaves biases alone unless a group says otherwise', () => {
    const run = (given: object): Float32Array[] => {
      const { apply, start, values } = updated(adamw({ lr: 0.1, ...given }), [[2, 2], [2]], options, ['w', 'b'])
      start([
        [1, 1, 1, 1],
        [1, 1],
      ])
      apply([
        [0, 0, 0, 0],
        [0, 0],
      ])
      return values()
    }
    const [w, b] = run({})
    expect(w![0]).toBeCloseTo(0.999, 6)
    expect(Array.from(b!)).toEqual([1, 1])
    expect(run({ groups: [{ match: 'b', decay: 0.5 }] })[1]![0]).toBeCloseTo(0.95, 6)
  })

  it('momentum with the rate inside and outside part when the rate changes, as they should', () => {
    const run = (rateOutside: boolean): number => {
      const { apply, start, values, updater } = updated(momentum({ lr: 0.1, rateOutside }), [[1]], options)
      start([[0]])
      apply([[1]])
      const bytes = read(updater.step)
      new DataView(bytes.buffer, bytes.byteOffset).setFloat64(56, 0.01, true)
      write(updater.step, bytes, on)
      apply([[1]])
      return values()[0]![0]!
    }
    expect(run(false)).toBeCloseTo(-0.1 + (0.9 * -0.1 - 0.01), 6)
    expect(run(true)).toBeCloseTo(-0.1 - 0.01 * 1.9, 6)
  })

  it('groups: own rate, frozen bit for bit, first match wins', () => {
    const names = ['block1.weight', 'block1.bias', 'head.weight']
    const groups = [
      { match: 'block1.*', lr: 0 },
      { match: /weight$/, lr: 0.5 },
    ]
    const { apply, start, values, updater } = updated(sgd({ lr: 0.1, groups }), [[2, 2], [2], [2, 2]], options, names)
    const frozen = [-0, 1e-30, 0.1, -7]
    start([frozen, [3, -0], [1, 1, 1, 1]])
    for (let i = 0; i < 3; i++)
      apply([
        [9, 9, 9, 9],
        [9, 9],
        [1, 0, 0, 0],
      ])
    expect(bitsOf(values()[0]!)).toEqual(bitsOf(frozen))
    expect(bitsOf(values()[1]!)).toEqual(bitsOf([3, -0]))
    expect(Array.from(values()[2]!)).toEqual([-0.5, 1, 1, 1])
    // What is frozen counts in no norm.
    expect(readStep(updater.step).gradNorm).toBe(1)
  })

  it('groups that match nothing, and optimizers that may change nothing, are errors', () => {
    const record = (chosen: Optimizer) => () => updated(chosen, [[2]], options, ['dense1.bias'])
    expect(record(sgd({ groups: [{ match: 'dens.*' }] }))).toThrow(/No parameter matches .*dens.* dense1.bias/)
    expect(record(sgd({ groups: [{ match: '*', lr: 0 }] }))).toThrow('all have lr 0')
  })

  it.each([7, 8, 12])('%i variables, each a region of its own as variable() makes them', (count) => {
    const shapes: Shape[] = Array.from({ length: count }, (_, i) => (i % 2 ? [3] : [2, 3]))
    const train = (region: Region | undefined, accumulate: number) => {
      const place = (i: number): Region => region ?? new Region('param', `p${i}`)
      const variables = shapes.map((shape, i) => place(i).add(`p${i}`, shape, 'float32'))
      const updater = new Updater(adam({ lr: 0.1, clipNorm: 2 }))
      const group = { size: accumulate, rows: 1, samples: 100 }
      const program = record(
        ({ x }) => {
          const losses = variables.map((v, i) => ops.sum(ops.mul(ops.square(v), i === count - 1 ? x : 1)))
          const gradients = grad(losses.reduce(ops.add), variables)
          updater.apply(variables, gradients, accumulate > 1 ? { accumulate: group } : {})
          return []
        },
        { x: [1] },
        { ...options, step: updater.step },
      )
      variables.forEach((v, i) => {
        write(v, new Float32Array(v.size).fill(i + 1), options.device)
      })
      for (let i = 0; i < 4; i++) program.runSync({ x: [1] })
      const { gradNorm } = readStep(updater.step)
      for (let i = 0; i < accumulate; i++) program.runSync({ x: [Infinity] })
      return {
        values: variables.flatMap((v) => Array.from(read(v))),
        gradNorm,
        skipped: readStep(updater.step).skipped,
      }
    }
    for (const accumulate of [1, 2]) {
      const [own, joint] = [train(undefined, accumulate), train(new Region('param', 'all'), accumulate)]
      expect(distance(own.values, joint.values)).toBeLessThan(1e-5)
      expect(own.gradNorm).toBeCloseTo(joint.gradNorm, 3)
      expect(own.skipped).toBe(1)
    }
  })

  it('clips each tensor by its own norm', () => {
    const { apply, start, values } = updated(sgd({ lr: 1, clipTensorNorm: 1 }), [[2], [2], [1]], options)
    start([[0, 0], [0, 0], [0]])
    apply([[3, 4], [0.3, 0.4], [0]])
    const [a, b, c] = values()
    expect(Array.from(a!, Math.abs)).toEqual([0.6, 0.8].map((v) => expect.closeTo(v, 6)))
    expect(Array.from(b!)).toEqual([-0.3, -0.4].map(Math.fround))
    expect(Array.from(c!, Math.abs)).toEqual([0])
  })

  it('lion moves each weight by the rate, against the sign of its blend', () => {
    const { apply, start, values } = updated(lion({ lr: 0.01, decay: 0.1 }), [[2, 3]], options)
    const random = new Random(5)
    const theta = Float32Array.from({ length: 6 }, () => random.normal())
    start([theta])
    const exact = Array.from(theta)
    const m = exact.map(() => 0)
    for (let t = 0; t < 25; t++) {
      const g = Float32Array.from({ length: 6 }, () => random.normal())
      apply([g])
      g.forEach((x, i) => {
        exact[i] = exact[i]! - 0.01 * (Math.sign(0.9 * m[i]! + 0.1 * x) + 0.1 * exact[i]!)
        m[i] = 0.99 * m[i]! + 0.01 * x
      })
    }
    expect(distance(values()[0]!, exact)).toBeLessThan(1e-5)
  })

  it.each([
    [[6, 4], [4]],
    [[3, 7], [7]],
    [[2, 2, 3, 5], [5]],
  ] as [Shape, Shape][])('muon orthogonalizes the momentum of %j and gives the rest to AdamW', (shape, bias) => {
    const given = { lr: 0.05, decay: 0.1, clipNorm: 5 }
    const { apply, start, values } = updated(muon(given), [shape, bias], options)
    const size = shape.reduce((a, b) => a * b, 1)
    const [columns, rows] = [shape.at(-1)!, size / shape.at(-1)!]
    const random = new Random(8)
    const normals = (n: number): Float32Array => Float32Array.from({ length: n }, () => random.normal())
    const [w, b] = [normals(size), normals(columns)]
    start([w, b])
    const [theta, low] = [Array.from(w), Array.from(b)]
    const m = theta.map(() => 0)
    const [m1, v1] = [low.map(() => 0), low.map(() => 0)]
    for (let t = 1; t <= 10; t++) {
      const [g, h] = [normals(size), normals(columns)]
      apply([g, h])
      const norm = Math.sqrt([...g, ...h].reduce((s, x) => s + x * x, 0))
      const factor = Math.min(1, 5 / norm)
      const ahead = Array.from(g, (x, i) => {
        m[i] = 0.95 * m[i]! + 0.05 * factor * x
        return 0.05 * factor * x + 0.95 * m[i]
      })
      const direction = newtonSchulz(ahead, rows, columns)
      theta.forEach((x, i) => {
        theta[i] = x - 0.05 * (Math.sqrt(Math.max(1, columns / rows)) * direction[i]! + 0.1 * x)
      })
      low.forEach((x, i) => {
        const scaled = factor * h[i]!
        m1[i] = 0.9 * m1[i]! + 0.1 * scaled
        v1[i] = 0.95 * v1[i]! + 0.05 * scaled * scaled
        low[i] = x - (3e-4 * (m1[i]! / (1 - 0.9 ** t))) / (Math.sqrt(v1[i]! / (1 - 0.95 ** t)) + 1e-10)
      })
    }
    expect(distance(values()[0]!, theta)).toBeLessThan(1e-4)
    expect(distance(values()[1]!, low)).toBeLessThan(1e-5)
  })

  it('muon leaves out a step whose gradients are not finite', () => {
    const run = (spoil: boolean): Float32Array[] => {
      const { apply, start, values, updater } = updated(muon(), [[2, 3], [3]], options)
      start([fixture.start[0]!.slice(0, 6), [1, 2, 3]])
      apply([
        [1, 2, 3, 4, 5, 6],
        [1, 2, 3],
      ])
      if (spoil)
        apply([
          [1, 2, Number.NaN, 4, 5, 6],
          [1, 2, 3],
        ])
      apply([
        [3, 2, 1, 2, 5, 1],
        [1, -2, 3],
      ])
      expect(readStep(updater.step).skipped).toBe(spoil ? 1 : 0)
      return values()
    }
    expect(run(true)).toEqual(run(false))
  })

  it('keeps the average of the weights', () => {
    const { apply, start, variables, updater } = updated(sgd({ lr: 1, ema: { decay: 0.9 } }), [[1]], options)
    start([[0]])
    let average = 0
    for (let t = 1; t <= 10; t++) {
      apply([[-1]])
      average = t === 1 ? 1 : 0.9 * average + 0.1 * t
    }
    const [kept] = [...updater.averages.values()]
    expect(read(kept!)[0]).toBeCloseTo(average, 5)
    expect(read(variables[0]!)[0]).toBe(10)
  })
})

/** The first step of NAdam without growing momentum, for a gradient g: both parts share one divisor. */
function nadamFirst(g: number, eps: number): number {
  const mu = 0.45
  return ((1 - mu) / (1 - mu)) * (g / (g + eps)) + (mu / (1 - mu * mu)) * ((0.1 * g) / (g + eps))
}

function newtonSchulz(x: readonly number[], rows: number, columns: number): number[] {
  const norm = Math.sqrt(x.reduce((s, v) => s + v * v, 0)) + 1e-7
  let at = x.map((v) => v / norm)
  const product = (a: number[], b: number[], n: number, k: number, m: number): number[] =>
    Array.from({ length: n * m }, (_, i) => {
      let total = 0
      for (let j = 0; j < k; j++) total += a[Math.floor(i / m) * k + j]! * b[j * m + (i % m)]!
      return total
    })
  const flipped = (a: number[]): number[] =>
    Array.from({ length: a.length }, (_, i) => a[(i % rows) * columns + Math.floor(i / rows)]!)
  for (let i = 0; i < 5; i++) {
    // X (a + b G + c G^2) with G = X^T X; for either shape the same in exact arithmetic.
    const gram = product(flipped(at), at, columns, rows, columns)
    const squared = product(gram, gram, columns, columns, columns)
    const inner = gram.map((v, j) => -4.775 * v + 2.0315 * squared[j]!)
    const moved = product(at, inner, rows, columns, columns)
    at = at.map((v, j) => 3.4445 * v + moved[j]!)
  }
  return at
}

describe('options', () => {
  it.each<[string, () => unknown, RegExp]>([
    ['negative lr', () => sgd({ lr: -1 }), /at least 0 for lr of sgd but received -1/],
    ['beta of 1', () => adam({ beta1: 1 }), /at least 0 and below 1 for beta1 of adam/],
    ['rho', () => rmsprop({ rho: 2 }), /below 1 for rho of rmsprop but received 2/],
    ['eps of 0', () => adagrad({ eps: 0 }), /above 0 for eps of adagrad/],
    ['a misspelt name', () => adamw({ weigthDecay: 1 } as object), /adamw/],
    ['a near name', () => lion({ beta: 1 } as object), /Did you mean "beta1"/],
    ['ema', () => adam({ ema: { decay: 1 } }), /below 1 for decay of ema of adam/],
    ['a match', () => adam({ groups: [{ match: 3 as unknown as string }] }), /match of a parameter group/],
    ['an option of a group', () => adam({ groups: [{ match: '*', rate: 1 } as never] }), /a group of adam/],
    ['a penalty', () => adam({ groups: [{ match: '*', l2: -1 }] }), /l2 of a group of adam but received -1/],
    ['a group with a rate of an optimizer without', () => sgd({ lr: 0, groups: [{ match: '*', lr: 1 }] }), /above 0/],
    ['iterations', () => muon({ iterations: 0 }), /iterations of muon/],
    ['nested options', () => muon({ adam: { beta3: 1 } as never }), /Did you mean "beta[12]"/],
  ])('refuses %s', (_, call, text) => {
    expect(call).toThrow(text)
  })

  it('every optimizer takes what all have in common', () => {
    for (const kind of Object.keys(optimizers) as Kind[]) {
      const made = make(kind, { lr: 0.5, clipNorm: 1, clipValue: 2, clipTensorNorm: 3, decay: 0.1, groups: [] })
      expect(made).toMatchObject({ kind, lr: 0.5, clipNorm: 1, clipValue: 2, clipTensorNorm: 3, decay: 0.1 })
    }
  })

  it('default rates and decays', () => {
    const rates = Object.fromEntries((Object.keys(optimizers) as Kind[]).map((kind) => [kind, make(kind, {}).lr]))
    expect(rates).toEqual({
      sgd: 0.01,
      momentum: 0.01,
      nesterov: 0.01,
      adagrad: 0.01,
      adadelta: 1,
      rmsprop: 0.001,
      adam: 0.001,
      adamw: 0.001,
      amsgrad: 0.001,
      adamax: 0.002,
      nadam: 0.002,
      radam: 0.001,
      lion: 0.0001,
      muon: 0.02,
    })
    const decays = (Object.keys(optimizers) as Kind[]).filter((kind) => make(kind, {}).decay !== 0)
    expect(decays).toEqual(['adamw'])
    expect(adamw().decay).toBe(0.01)
  })
})
