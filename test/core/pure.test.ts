// Sizes, axes, windows and trees: pure functions and the errors they write.
import { describe, expect, it } from 'vitest'
import { broadcastShapes, checkShape, normalizeAxes, sameShape, sizeOf, windowLength } from '../../src/shape.js'
import { flatten, rebuild } from '../../src/tree.js'

describe('shapes', () => {
  it('have sizes', () => {
    expect([sizeOf([]), sizeOf([7]), sizeOf([2, 3, 4])]).toEqual([1, 7, 24])
    expect([sameShape([2, 3], [2, 3]), sameShape([2], [2, 1]), sameShape([], [])]).toEqual([true, false, true])
  })

  it.each<[unknown, string]>([
    [[0], 'a positive integer for s[0] but received 0'],
    [[2, -1], 'a positive integer for s[1] but received -1'],
    [[1.5], 's[0] but received 1.5'],
    [[Number.NaN], 's[0] but received NaN'],
    [[1, 1, 1, 1, 1, 1, 1], 'at most 6 axes for s'],
    [[2 ** 20, 2 ** 21], 'at most 2^40 elements for s'],
    [3, 'an array of sizes for s but received 3'],
  ])('%j is refused', (shape, message) => {
    expect(() => checkShape('s', shape as number[])).toThrow(message)
  })

  it('are copied by the check', () => {
    const given = [2, 3]
    const checked = checkShape('s', given)
    given[0] = 9
    expect(checked).toEqual([2, 3])
  })

  it('broadcast as in NumPy', () => {
    expect(broadcastShapes('f', [5, 1, 4], [3, 1], [])).toEqual([5, 3, 4])
    expect(broadcastShapes('f', [1], [7])).toEqual([7])
    expect(() => broadcastShapes('add', [2, 3], [4, 3])).toThrow(
      'Expected shapes that broadcast for add but received [2, 3] and [4, 3]: axis -2 has lengths 2 and 4',
    )
  })

  it('have axes from both ends', () => {
    expect(normalizeAxes('axes', undefined, 3)).toEqual([0, 1, 2])
    expect(normalizeAxes('axes', [-1, 0], 3)).toEqual([0, 2])
    expect(() => normalizeAxes('axes', [0, -3], 3)).toThrow('distinct axes')
    expect(() => normalizeAxes('axes', 3, 3)).toThrow('an integer from -3 to 2 for axes but received 3')
  })

  it('have windows', () => {
    expect(windowLength('w', 28, 5, 1, 0)).toBe(24)
    expect(windowLength('w', 7, 3, 2, 2)).toBe(4)
    expect(windowLength('w', 10, 3, 1, 0, 4)).toBe(2)
    expect(() => windowLength('w', 4, 3, 1, 0, 2)).toThrow('received 4 (+0 padding) for a window of 5')
  })
})

describe('trees', () => {
  const isLeaf = (value: unknown): value is number => typeof value === 'number'

  it('are flattened with paths and rebuilt', () => {
    const tree = { loss: 1, outputs: [2, { deep: 3 }], none: {} }
    expect(flatten(tree as never, isLeaf, 'numbers')).toEqual([
      { path: 'loss', leaf: 1 },
      { path: 'outputs.0', leaf: 2 },
      { path: 'outputs.1.deep', leaf: 3 },
    ])
    expect(rebuild(tree, isLeaf, [10, 20, 30])).toEqual({ loss: 10, outputs: [20, { deep: 30 }], none: {} })
    expect(flatten(5, isLeaf, 'numbers')).toEqual([{ path: '', leaf: 5 }])
  })

  it('name what is no leaf', () => {
    expect(() => flatten({ a: ['x'] } as never, isLeaf, 'numbers')).toThrow('Expected numbers for a.0 but received "x"')
    expect(() => flatten(null as never, isLeaf, 'numbers')).toThrow('for the result but received null')
  })
})
