// Data sets: what is stored for every kind of input, the parts they are cut into, and an error for each mistake.
import { describe, expect, it } from 'vitest'
import {
  Dataset,
  type DatasetOptions,
  dataset,
  type InputData,
  type LabelData,
  type SplitOptions,
} from '../../src/data/dataset.js'
import { GradlineError } from '../../src/errors.js'

const plain = { factor: 1, offset: 0 }

function numbered(rows: number): Dataset {
  const inputs = Float32Array.from({ length: rows * 2 }, (_, i) => i)
  return dataset(
    inputs,
    Int32Array.from({ length: rows }, (_, i) => i % 3),
    { shape: [rows, 2], name: 'numbered' },
  )
}

function rowIds(part: Dataset): number[] {
  return Array.from({ length: part.length }, (_, i) => Number(part.inputs.data[2 * i]) / 2)
}

describe('inputs', () => {
  it('keeps bytes as bytes, scaled to 0..1', () => {
    const bytes = Uint8Array.from([0, 1, 2, 255, 4, 5, 6, 7])
    const made = dataset(bytes, null, { shape: [2, 2, 2, 1] })
    expect(made.inputs.data).toBe(bytes)
    expect(made.inputs).toMatchObject({ shape: [2, 2, 2, 1], scale: { factor: 1 / 255, offset: 0 } })
    expect([made.length, made.sampleShape, made.classes, made.labels]).toEqual([2, [2, 2, 1], null, null])
  })

  it('takes each stored type as it is', () => {
    const floats = new Float32Array([1, 2])
    const indices = new Int32Array([1, 2])
    expect(dataset(floats, null, { shape: [2, 1] }).inputs.data).toBe(floats)
    expect(dataset(indices, null, { shape: [1, 2] }).inputs).toEqual({ data: indices, shape: [1, 2], scale: plain })
  })

  it('turns other types into stored ones', () => {
    expect(dataset(new Float64Array([0.1, 2]), null, { shape: [2] }).inputs.data).toEqual(new Float32Array([0.1, 2]))
    const clamped = new Uint8ClampedArray([1, 2])
    const stored = dataset(clamped, null, { shape: [2, 1] }).inputs.data
    expect([stored.constructor, stored.buffer]).toEqual([Uint8Array, clamped.buffer])
    const pooled = Buffer.from([7, 8])
    const bytes = dataset(pooled, null, { shape: [2, 1] }).inputs.data
    expect([bytes.constructor, bytes.buffer === pooled.buffer, [...bytes]]).toEqual([Uint8Array, true, [7, 8]])
  })

  it('reads shapes from nested arrays', () => {
    const nested = dataset([
      [
        [1, 2],
        [3, 4],
      ],
    ])
    expect(nested.inputs).toEqual({ data: new Float32Array([1, 2, 3, 4]), shape: [1, 2, 2], scale: plain })
    expect(dataset([1, 2, 3]).inputs.shape).toEqual([3, 1])
    expect(dataset([new Float32Array([1, 2]), new Float32Array([3, 4])]).inputs.data).toEqual(
      new Float32Array([1, 2, 3, 4]),
    )
    expect(dataset([1, 2, 3, 4], null, { shape: [2, 2] }).inputs.shape).toEqual([2, 2])
  })

  it('scales as asked', () => {
    const scaled = (scale: DatasetOptions['scale'] & {}) => dataset(new Uint8Array(2), null, { shape: [2, 1], scale })
    expect(scaled(0.5).inputs.scale).toEqual({ factor: 0.5, offset: 0 })
    expect(scaled({ factor: 2, offset: -1 }).inputs.scale).toEqual({ factor: 2, offset: -1 })
    expect(scaled({ factor: 2 }).inputs.scale).toEqual({ factor: 2, offset: 0 })
  })
})

describe('labels', () => {
  const of = (labels: LabelData, options: DatasetOptions = {}) => dataset([[1], [2], [3]], labels, options)

  it('stores classes as int32 and counts them', () => {
    for (const labels of [
      [0, 4, 2],
      new Uint8Array([0, 4, 2]),
      new Int16Array([0, 4, 2]),
      new BigInt64Array([0n, 4n, 2n]),
    ]) {
      const made = of(labels)
      expect(made.labels).toEqual({ data: new Int32Array([0, 4, 2]), shape: [3], scale: plain })
      expect(made.classes).toBe(5)
    }
    const kept = new Int32Array([0, 1, 0])
    expect(of(kept).labels?.data).toBe(kept)
    expect(of([0, 1, 1], { classes: 10 }).classes).toBe(10)
    expect(of(new Int32Array(6), { labelShape: [3, 2] }).labels?.shape).toEqual([3, 2])
  })

  it('stores targets as float32', () => {
    expect(of([[0.5], [1.5], [2]]).labels).toEqual({
      data: new Float32Array([0.5, 1.5, 2]),
      shape: [3, 1],
      scale: plain,
    })
    expect(of(new Float32Array(6)).labels?.shape).toEqual([3, 2])
    expect(of(new Float64Array(6), { labelShape: [3, 2, 1] }).labels?.shape).toEqual([3, 2, 1])
    const soft = of(new Float32Array(6), { classes: 2 })
    expect(soft.classes).toBe(2)
    expect(of(new Float32Array(3)).classes).toBeNull()
  })
})

describe('parts', () => {
  it('are views where rows stay in order', () => {
    const whole = numbered(10)
    const part = whole.slice(2, 5)
    expect([part.length, rowIds(part), [...(part.labels?.data ?? [])]]).toEqual([3, [2, 3, 4], [2, 0, 1]])
    expect(part.inputs.data.buffer).toBe(whole.inputs.data.buffer)
    expect([part.classes, part.name, part.inputs.shape]).toEqual([3, 'numbered', [3, 2]])
    expect(rowIds(whole.take(2))).toEqual([0, 1])
    expect(rowIds(whole.slice(8))).toEqual([8, 9])
    expect(rowIds(part.slice(1).take(1))).toEqual([3])
  })

  it('are disjoint and complete when shuffled', () => {
    for (const [rows, validation, held] of [
      [10, 3, 3],
      [1000, 0.25, 250],
      [2, 1, 1],
      [3, 0.001, 1],
      [3, 0.999, 2],
    ] as const) {
      const parts = numbered(rows).split({ validation, seed: 7 })
      expect([parts.train.length, parts.validation.length]).toEqual([rows - held, held])
      const all = [...rowIds(parts.train), ...rowIds(parts.validation)].sort((a, b) => a - b)
      expect(all).toEqual(Array.from({ length: rows }, (_, i) => i))
      for (const part of [parts.train, parts.validation]) {
        expect([...(part.labels?.data ?? [])]).toEqual(rowIds(part).map((id) => id % 3))
      }
    }
  })

  it('depend on the seed only', () => {
    const held = (seed?: number) =>
      rowIds(numbered(100).split(seed === undefined ? { validation: 10 } : { validation: 10, seed }).validation)
    expect(held(1)).toEqual(held(1))
    expect(held()).toEqual(held(0))
    // Both halves of a large seed count.
    expect(new Set([held(0), held(1), held(2 ** 32), held(2 ** 32 + 1)].map(String)).size).toBe(4)
    // As an independent program for the same generator gives them.
    expect(held(1)).toEqual([10, 14, 41, 95, 8, 9, 32, 49, 77, 73])
  })

  it('are drawn without preference', () => {
    // Each of 10 rows is held out 2 of 10 times: 400 of 2000 splits, standard deviation 18.
    const counts = new Array<number>(10).fill(0)
    const whole = numbered(10)
    for (let seed = 0; seed < 2000; seed += 1) {
      for (const id of rowIds(whole.split({ validation: 2, seed }).validation)) counts[id] = (counts[id] ?? 0) + 1
    }
    for (const count of counts) expect(Math.abs(count - 400)).toBeLessThan(90)
  })

  it('keep their order without shuffle', () => {
    const { train, validation } = numbered(5).split({ validation: 2, shuffle: false })
    expect([rowIds(train), rowIds(validation)]).toEqual([
      [0, 1, 2],
      [3, 4],
    ])
  })
})

function failure(action: () => unknown): { code: string; message: string } {
  try {
    action()
  } catch (error) {
    if (error instanceof GradlineError) return { code: error.code, message: error.message }
    throw error
  }
  throw new Error('nothing was thrown')
}

const big = Float32Array.of(0, 1, 2, 3, 4, Number.NaN)

describe('errors', () => {
  it.each<[unknown, unknown, object | undefined, string, string]>([
    [[], null, {}, 'data', 'Expected at least one value for inputs but received none (at dataset).'],
    [[[]], null, {}, 'data', 'at least one value for inputs'],
    [new Float32Array(0), null, { shape: [0, 2] }, 'data', 'at least one value for inputs'],
    [[[1], [2]], [], {}, 'data', 'at least one value for labels'],
    ['abc', null, {}, 'argument', 'nested arrays of numbers for inputs but received "abc"'],
    [new Int16Array(2), null, { shape: [2] }, 'argument', 'Int32Array.from (indices)'],
    [
      new Float32Array(2),
      null,
      {},
      'shape',
      'for shape but received undefined (at dataset). For one value per sample give { shape: [2, 1] }.',
    ],
    [
      new Float32Array(12),
      null,
      { shape: [2, 2] },
      'shape',
      'Expected 4 values for inputs of shape [2, 2] but received 12 (at dataset). The number of samples comes first: [3, 2, 2].',
    ],
    [new Float32Array(3), null, { shape: [2, 2] }, 'shape', 'of shape [2, 2] but received 3'],
    [new Float32Array(4), null, { shape: [] }, 'shape', '1 to 6 sizes'],
    [new Float32Array(4), null, { shape: [4, 1, 1, 1, 1, 1, 1] }, 'shape', '1 to 6 sizes'],
    [new Float32Array(4), null, { shape: 4 }, 'shape', '1 to 6 sizes'],
    [new Float32Array(4), null, { shape: [-4, -1] }, 'shape', 'size 0 of the shape of inputs but received -4'],
    [new Float32Array(4), null, { shape: [4, 1.5] }, 'shape', 'size 1 of the shape of inputs but received 1.5'],
    [new Float32Array(4), null, { shape: [2 ** 30, 2 ** 30] }, 'shape', 'a product of at most 2^40'],
    [new Float32Array(4), null, { shape: [2 ** 52, 2 ** 52, 2 ** 52] }, 'shape', 'a product of at most 2^40'],
    [big, null, { shape: [2, 3] }, 'data', 'a finite number for inputs at row 1, column 2 but received NaN'],
    [big, null, { shape: [1, 3, 2] }, 'data', 'inputs at row 0, position [2, 1] but received NaN'],
    [big, null, { shape: [6] }, 'data', 'inputs at row 5 but received NaN'],
    [Float32Array.of(1, -Infinity), null, { shape: [2, 1] }, 'data', 'row 1, column 0 but received -Infinity'],
    [
      Float64Array.of(1, 1e300),
      null,
      { shape: [2, 1] },
      'data',
      'a number that float32 can hold for inputs at row 1, column 0 but received 1e+300',
    ],
    [[[1, 2], [3]], null, {}, 'shape', 'Expected 2 values for inputs[1], as in the first row, but received 1'],
    [[[1, 2], 3], null, {}, 'shape', 'a row of 2 for inputs[1] but received 3'],
    [[1, [2]], null, {}, 'shape', 'a finite number for inputs[1] but received [2]'],
    [
      [
        [1, 2],
        [3, 'x'],
      ],
      null,
      {},
      'argument',
      'a finite number for inputs[1][1] but received "x"',
    ],
    [[[1, 2], new Array(2)], null, {}, 'argument', 'a finite number for inputs[1][0] but received undefined'],
    [[[1, Number.NaN]], null, {}, 'data', 'inputs[0][1] but received NaN'],
    [[[1, 1e39]], null, {}, 'data', 'float32 can hold for inputs[0][1]'],
    [[[[[[[[1]]]]]]], null, {}, 'shape', 'at most 6 levels of arrays'],
    [[[1], [2]], [0], {}, 'shape', 'Expected 2 labels, one per sample, for labels but received 1'],
    [[[1], [2]], [0, -1], {}, 'data', 'Expected a class label (an integer, 0 or more) for labels[1] but received -1'],
    [[[1], [2]], new Int32Array([0, -1]), {}, 'data', 'for labels[1] but received -1'],
    [[[1], [2]], new Uint32Array([0, 2 ** 31]), {}, 'data', 'labels[1] but received 2147483648'],
    [[[1], [2]], new BigInt64Array([0n, -(2n ** 60n)]), {}, 'data', 'labels[1] but received -1152921504606846976n'],
    [[[1], [2]], [0, 0.5], {}, 'data', 'labels[1] but received 0.5 (at dataset). For targets that are not classes'],
    [[[1], [2]], [0, Number.NaN], {}, 'data', 'labels[1] but received NaN'],
    [[[1], [2]], [0, 'cat'], {}, 'data', 'labels[1] but received "cat"'],
    [[[1], [2]], [0, 3], { classes: 3 }, 'data', 'a class label from 0 to 2 for labels[1] but received 3'],
    [[[1], [2]], 'ab', {}, 'argument', 'for labels but received "ab"'],
    [[[1], [2]], [[0.5], [Infinity]], {}, 'data', 'labels[1][0] but received Infinity'],
    [[[1], [2]], [[1, 0], [1]], {}, 'shape', 'Expected 2 values for labels[1]'],
    [
      [[1], [2]],
      [
        [1, 0],
        [0, 1],
      ],
      { classes: 3 },
      'shape',
      '3 values per sample, one per class, for labels but received 2',
    ],
    [[[1], [2]], new Float32Array(3), {}, 'shape', 'a multiple of the 2 samples for the number of labels'],
    [[[1], [2]], new Float32Array(2), { labelShape: [1, 2] }, 'shape', 'Expected 2 labels'],
    [[[1], [2]], Float32Array.of(0, Number.NaN), {}, 'data', 'labels at row 1, column 0 but received NaN'],
    [[[1]], null, { labelShape: [1] }, 'argument', 'Expected labels for labelShape'],
    [[[1]], [0], { classes: 0 }, 'argument', 'for classes but received 0'],
    [[[1]], null, { scale: 0 }, 'argument', 'other than 0'],
    [[[1]], null, { scale: Number.NaN }, 'argument', 'the factor of scale but received NaN'],
    [[[1]], null, { scale: { factor: 1, offset: Infinity } }, 'argument', 'the offset of scale'],
    [[[1]], null, { scale: { ofset: 1 } }, 'argument', 'Did you mean "offset"?'],
    [[[1]], null, { scale: null }, 'argument', 'the options of scale but received null'],
    [new Int32Array(1), null, { shape: [1], scale: 2 }, 'argument', 'no scale'],
    [[[1]], null, { shap: [1] }, 'argument', 'Did you mean "shape"?'],
    [[[1]], null, { name: 3 }, 'argument', 'for name but received 3'],
    [[[1], [Number.NaN]], null, { name: 'iris' }, 'data', '(at iris)'],
  ])('%#', (inputs, labels, options, code, text) => {
    const error = failure(() => dataset(inputs as InputData, labels as LabelData, options as DatasetOptions))
    expect(error.message).toContain(text)
    expect(error.code).toBe(code)
  })

  it.each<[(whole: Dataset) => unknown, string]>([
    [(whole) => whole.take(0), 'an integer from 1 to 4 for take but received 0 (at numbered)'],
    [(whole) => whole.take(5), 'received 5'],
    [(whole) => whole.slice(-1), 'the begin of slice but received -1'],
    [(whole) => whole.slice(4), 'the begin of slice but received 4'],
    [(whole) => whole.slice(2, 2), 'the end of slice but received 2'],
    [(whole) => whole.split({ validation: 4 }), 'a number of samples from 1 to 3, or a share between 0 and 1'],
    [(whole) => whole.split({ validation: 0 }), 'received 0'],
    [(whole) => whole.split({ validation: 1.5 }), 'received 1.5'],
    [(whole) => whole.split({} as SplitOptions), 'for validation but received undefined'],
    [(whole) => whole.split({ validation: 1, seed: -1 }), 'for seed but received -1'],
    [(whole) => whole.split({ valid: 1 } as unknown as SplitOptions), 'Did you mean "validation"?'],
    [(whole) => whole.take(1).split({ validation: 1 }), 'at least 2 samples for a split but received 1'],
  ])('of parts %#', (action, text) => {
    expect(failure(() => action(numbered(4))).message).toContain(text)
  })

  it('of sizes in the constructor', () => {
    const array = { data: new Float32Array(4), shape: [2, 2], scale: plain }
    expect(new Dataset(array, null).length).toBe(2)
    expect(() => new Dataset({ ...array, shape: [3, 2] }, null)).toThrow('Expected 6 values for inputs')
    expect(() => new Dataset({ ...array, data: new Float64Array(4) as unknown as Float32Array }, null)).toThrow(
      'for inputs.data but received Float64Array(4)',
    )
  })
})
