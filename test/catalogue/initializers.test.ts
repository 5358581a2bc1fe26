// First weights of the initializers beyond He, Glorot and LeCun: their distributions, orthogonality, and the warning about
// layers whose weights are all equal.
import { describe, expect, it } from 'vitest'
import {
  batchNorm,
  constant,
  conv2d,
  dense,
  GradlineError,
  heNormal,
  type Initializer,
  identity,
  model,
  orthogonal,
  record,
  truncatedNormal,
  varianceScaling,
} from '../../src/index.js'

function draw(init: Initializer, shape: number[], fans = { in: 500, out: 2000 }, seed = 1): Float32Array {
  const program = record(() => init(shape, fans), {}, { seed })
  const { data } = program.runSync()
  program.close()
  return data as Float32Array
}

function moments(data: Float32Array): { mean: number; std: number; largest: number } {
  const mean = data.reduce((sum, x) => sum + x, 0) / data.length
  const variance = data.reduce((sum, x) => sum + (x - mean) ** 2, 0) / data.length
  return { mean, std: Math.sqrt(variance), largest: data.reduce((most, x) => Math.max(most, Math.abs(x)), 0) }
}

// Distribution function of the normal distribution, by its series (absolute error below 1e-12 for |x| <= 2).
function phi(x: number): number {
  let [term, sum] = [x, x]
  for (let k = 1; k < 60; k++) {
    term *= (-x * x) / (2 * k)
    sum += term / (2 * k + 1)
  }
  return 0.5 + sum / Math.sqrt(2 * Math.PI)
}

describe('truncatedNormal', () => {
  it('is a normal distribution cut at 2 std: std 0.8796, no element beyond, the right quantiles', () => {
    const data = draw(truncatedNormal({ std: 0.5 }), [1000, 1000])
    const { mean, std, largest } = moments(data)
    expect(Math.abs(std / (0.5 * 0.8796256610342398) - 1)).toBeLessThan(0.003)
    expect(Math.abs(mean)).toBeLessThan(0.002)
    expect(largest).toBeLessThanOrEqual(1)
    expect(largest).toBeGreaterThan(0.999)
    const sorted = data.sort()
    const within = phi(2) - phi(-2)
    for (const x of [-1.9, -1.5, -1, -0.5, 0, 0.3, 0.9, 1.4, 1.8]) {
      const below = sorted.findIndex((value) => value >= 0.5 * x) / data.length
      expect(Math.abs(below - (phi(x) - phi(-2)) / within)).toBeLessThan(0.002)
    }
  })

  it('is neither clipped (a pile at 2 std) nor uniform, and has a mean', () => {
    const data = draw(truncatedNormal({ std: 1, mean: 3 }), [200_000])
    const piled = data.filter((x) => Math.abs(x - 3) > 1.999).length / data.length
    expect(piled).toBeLessThan(0.0005)
    expect(Math.abs(moments(data).mean - 3)).toBeLessThan(0.01)
    expect([...draw(truncatedNormal({ std: 0 }), [3])].every((x) => x === 0)).toBe(true)
  })
})

describe('varianceScaling', () => {
  const fans = { in: 500, out: 2000 }
  const n = { fanIn: 500, fanOut: 2000, fanAvg: 1250 } as const
  const limits = { truncatedNormal: 2 / 0.8796256610342398, normal: Number.POSITIVE_INFINITY, uniform: Math.sqrt(3) }
  for (const mode of ['fanIn', 'fanOut', 'fanAvg'] as const) {
    for (const distribution of ['truncatedNormal', 'normal', 'uniform'] as const) {
      it(`${mode}, ${distribution}: variance scale / n`, () => {
        const { std, largest } = moments(draw(varianceScaling({ scale: 3, mode, distribution }), [500, 2000], fans))
        const wanted = Math.sqrt(3 / n[mode])
        expect(Math.abs(std / wanted - 1)).toBeLessThan(0.003)
        expect(largest).toBeLessThanOrEqual(wanted * limits[distribution] * (1 + 1e-6))
      })
    }
  }

  it('is He normal for scale 2, number by number', () => {
    const he = draw(heNormal(), [50, 20], fans)
    expect(draw(varianceScaling({ scale: 2, distribution: 'normal' }), [50, 20], fans)).toEqual(he)
  })
})

/** Largest element of w'w - gain^2 I, or of ww' - gain^2 I, whichever is smaller. */
function apart(w: Float32Array, rows: number, columns: number, gain: number): number {
  const [few, many] = rows < columns ? [rows, columns] : [columns, rows]
  const at = (vector: number, i: number): number =>
    rows < columns ? w[vector * columns + i]! : w[i * columns + vector]!
  let largest = 0
  for (let a = 0; a < few; a++) {
    for (let b = 0; b <= a; b++) {
      let dot = 0
      for (let i = 0; i < many; i++) dot += at(a, i) * at(b, i)
      largest = Math.max(largest, Math.abs(dot - (a === b ? gain * gain : 0)))
    }
  }
  return largest
}

describe('orthogonal', () => {
  it.each([
    [[64, 64], 1],
    [[200, 30], 1],
    [[30, 200], Math.SQRT2],
    [[3, 3, 16, 32], 0.5],
    [[1, 7], 1],
    [[7, 1], 2],
    [[1, 1], 3],
    [[300, 301], 1],
  ])('%j has orthonormal rows or columns, times gain %f', (shape, gain) => {
    const columns = shape.at(-1)!
    for (const seed of [1, 2, 3]) {
      const w = draw(orthogonal({ gain }), shape, undefined, seed)
      expect(apart(w, w.length / columns, columns, gain)).toBeLessThan(1e-5 * gain * gain)
    }
  })

  it('is drawn from all directions alike, and differs by seed', () => {
    // The elements of a uniform orthogonal matrix of 2 x 2 are cosines of a uniform angle: mean 0, mean square 1/2.
    let [sum, squares, determinants] = [0, 0, 0]
    const program = record(() => orthogonal()([2, 2], { in: 2, out: 2 }), {}, { seed: 5 })
    const count = 4000
    for (const { data } of program.runManySync(count)) {
      sum += data[0]!
      squares += data[0]! ** 2
      determinants += data[0]! * data[3]! - data[1]! * data[2]! > 0 ? 1 : 0
    }
    expect(Math.abs(sum / count)).toBeLessThan(0.04)
    expect(Math.abs(squares / count - 0.5)).toBeLessThan(0.02)
    expect(Math.abs(determinants / count - 0.5)).toBeLessThan(0.03)
  })
})

describe('identity', () => {
  it.each([
    [
      [3, 3],
      [1, 0, 0, 0, 1, 0, 0, 0, 1],
    ],
    [
      [2, 4],
      [1, 0, 0, 0, 0, 1, 0, 0],
    ],
    [
      [4, 2],
      [1, 0, 0, 1, 0, 0, 0, 0],
    ],
    [[1, 1], [1]],
    [[3], [1, 0, 0]],
  ])('of %j', (shape, wanted) => {
    expect([...draw(identity(), shape)]).toEqual(wanted)
    expect([...draw(identity({ gain: -0.5 }), shape)]).toEqual(wanted.map((x) => (x === 0 ? 0 : -0.5)))
  })

  it('of a filter gives the image back', async () => {
    for (const kernel of [1, 3, 4] as const) {
      const net = model([5, 6, 3], [conv2d(3, kernel, { init: identity(), padding: 'same' })])
      const x = Float32Array.from({ length: 90 }, (_, i) => Math.sin(i))
      expect((await net.predict(x)).data).toEqual(x)
    }
  })
})

describe('options', () => {
  it.each<[string, () => unknown]>([
    ['std of truncatedNormal', () => truncatedNormal({} as never)],
    ['Did you mean "mean"', () => truncatedNormal({ std: 1, maen: 0 } as never)],
    ['mode of varianceScaling', () => varianceScaling({ mode: 'fan_in' as never })],
    ['scale of varianceScaling', () => varianceScaling({ scale: 0 })],
    ['distribution', () => varianceScaling({ distribution: 'gauss' as never })],
    ['gain of orthogonal', () => orthogonal({ gain: Number.NaN })],
    ['gain of identity', () => identity({ gain: '1' as never })],
  ])('%s is refused', (text, make) => {
    expect(make).toThrow(GradlineError)
    expect(make).toThrow(text)
  })
})

describe('a layer whose weights are all equal', () => {
  async function warnings(...layers: Parameters<typeof model>[1]): Promise<string[]> {
    const heard: string[] = []
    const listen = (warning: Error): void => void (warning.name === 'GradlineWarning' && heard.push(warning.message))
    process.on('warning', listen)
    try {
      const net = model([4], layers)
      await net.initialize()
      await net.weights()
      await new Promise((resolve) => setImmediate(resolve))
    } finally {
      process.off('warning', listen)
    }
    return heard
  }

  it('is named in one warning', async () => {
    const heard = await warnings(dense(3), dense(5, { init: constant(0.1), name: 'flat' }), batchNorm(), dense(2))
    expect(heard).toHaveLength(1)
    expect(heard[0]).toContain('flat.weight')
    expect(await warnings(dense(3, { init: constant(0) }))).toHaveLength(1)
  })

  it('is not one with a single unit, nor one of biases and norms', async () => {
    expect(await warnings(dense(3), batchNorm(), dense(1, { init: constant(0) }))).toEqual([])
  })
})
