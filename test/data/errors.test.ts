// The texts and checks that every other error is made of.
import { describe, expect, it } from 'vitest'
import {
  checkFinite,
  checkInteger,
  checkOneOf,
  checkOptions,
  describeValue,
  expected,
  fileError,
  GradlineError,
  nearest,
} from '../../src/errors.js'

describe('GradlineError', () => {
  it('carries code, place and cause', () => {
    const cause = new Error('inner')
    const error = new GradlineError('state', 'Cannot run.', { where: 'dense1', fix: 'Call compile first.', cause })
    expect(error).toBeInstanceOf(Error)
    expect([error.name, error.code, error.where, error.cause]).toEqual(['GradlineError', 'state', 'dense1', cause])
    expect(error.message).toBe('Cannot run (at dense1). Call compile first.')
    expect(new GradlineError('state', 'Cannot run').message).toBe('Cannot run')
    expect(new GradlineError('state', 'x').where).toBeUndefined()
  })

  it('says what was expected and received', () => {
    expect(expected('a positive integer', 'units', -3).message).toBe(
      'Expected a positive integer for units but received -3',
    )
    const error = expected('a tensor', 'x', [1], { where: 'dense1', code: 'shape', fix: 'Wrap it.' })
    expect([error.code, error.message]).toEqual([
      'shape',
      'Expected a tensor for x but received [1] (at dense1). Wrap it.',
    ])
  })

  it('explains what the operating system said', () => {
    const cause = Object.assign(new Error('x'), { code: 'EACCES' })
    expect(fileError('read', 'a.idx', cause)).toMatchObject({
      code: 'file',
      message: 'Cannot read a.idx: permission denied.',
    })
    expect(fileError('read', 'a.idx', Object.assign(new Error('x'), { code: 'ENOENT' })).code).toBe('missing')
    expect(fileError('read', 'a.idx', 'odd').message).toBe('Cannot read a.idx: "odd".')
  })
})

describe('describeValue', () => {
  const hostile = new Proxy(
    {},
    {
      get() {
        throw new Error('trap')
      },
    },
  )
  it.each<[unknown, string]>([
    [Number.NaN, 'NaN'],
    [-0, '-0'],
    [1.5, '1.5'],
    [7n, '7n'],
    [10n ** 40n, 'a very large bigint'],
    ['a "b"', '"a \\"b\\""'],
    ['x'.repeat(100), `"${'x'.repeat(60)}..."`],
    [undefined, 'undefined'],
    [null, 'null'],
    [Symbol('s'), 'Symbol(s)'],
    [[1, 'a', null], '[1, "a", null]'],
    [[1, 2, 3, 4, 5, 6, 7], '[1, 2, 3, 4, 5, 6, ... 7 in all]'],
    [[[[1, 2]]], '[[an array of 2]]'],
    [new Float32Array(10), 'Float32Array(10)'],
    [new DataView(new ArrayBuffer(3)), 'DataView(3)'],
    [new ArrayBuffer(3), 'ArrayBuffer(3)'],
    [new Map([[1, 2]]), 'Map(1)'],
    [Promise.resolve(1), 'a Promise (is an await missing?)'],
    [new TypeError('no'), 'TypeError: no'],
    [{ lr: 1, beta: 2 }, '{lr, beta}'],
    [Object.create(null), '{}'],
    [new Date(0), 'an object of class Date'],
    [function train() {}, 'function train'],
    [() => 1, 'a function'],
    [hostile, 'an object that cannot be inspected'],
  ])('%#', (value, text) => {
    expect(describeValue(value)).toBe(text)
  })

  it('ends on an array that holds itself', () => {
    const loop: unknown[] = [1]
    loop.push(loop)
    expect(describeValue(loop)).toBe('[1, [1, an array of 2]]')
  })
})

describe('checks', () => {
  it('integers', () => {
    expect(checkInteger('n', 3, { min: 1, max: 3 })).toBe(3)
    for (const wrong of [0, 4, 1.5, Number.NaN, Infinity, '3', 2 ** 53, null]) {
      expect(() => checkInteger('n', wrong, { min: 1, max: 3 })).toThrow(
        `Expected an integer from 1 to 3 for n but received ${describeValue(wrong)}`,
      )
    }
    expect(() => checkInteger('n', 0, { min: 1, where: 'dense1' })).toThrow(
      'Expected a positive integer for n but received 0 (at dense1).',
    )
    expect(() => checkInteger('n', -1, { min: 0 })).toThrow('a non-negative integer')
    expect(() => checkInteger('n', 1, { min: 2 })).toThrow('an integer of at least 2')
    expect(() => checkInteger('n', 3, { max: 2 })).toThrow('an integer of at most 2')
    expect(() => checkInteger('n', 'x')).toThrow('Expected an integer for n')
  })

  it('finite numbers', () => {
    expect(checkFinite('lr', 0.1, { above: 0, max: 1 })).toBe(0.1)
    expect(() => checkFinite('lr', 0, { above: 0, max: 1 })).toThrow(
      'Expected a finite number above 0 and at most 1 for lr but received 0',
    )
    expect(() => checkFinite('lr', 1, { min: 0, below: 1 })).toThrow('a finite number at least 0 and below 1')
    for (const wrong of [Number.NaN, Infinity, '1', undefined]) expect(() => checkFinite('lr', wrong)).toThrow('finite')
  })

  it('choices', () => {
    expect(checkOneOf('mode', 'sum', ['mean', 'sum'])).toBe('sum')
    expect(() => checkOneOf('mode', 'meen', ['mean', 'sum'])).toThrow(
      'Expected one of "mean", "sum" for mode but received "meen". Did you mean "mean"?',
    )
    expect(() => checkOneOf('shuffle', 1, [true, false])).toThrow('Expected one of true, false')
  })

  it('options', () => {
    const allowed = ['lr', 'beta1', 'beta2']
    const options = { lr: 1 }
    expect(checkOptions('adam', options, allowed)).toBe(options)
    expect(checkOptions('adam', undefined, allowed)).toEqual({})
    expect(() => checkOptions('adam', { learningRate: 1 }, allowed)).toThrow(
      'Expected options among lr, beta1, beta2 for adam but received "learningRate". Did you mean "lr"?',
    )
    expect(() => checkOptions('adam', { beta: 1 }, allowed)).toThrow('Did you mean "beta1"?')
    expect(() => checkOptions('adam', { zzzzzzzz: 1 }, allowed)).not.toThrow('Did you mean')
    expect(() => checkOptions('adam', { zzzzzzzz: 1 }, allowed)).toThrow('"zzzzzzzz"')
    for (const wrong of [null, 0.1, 'x', [1], new Float32Array(1)]) {
      expect(() => checkOptions('adam', wrong as object, allowed)).toThrow('Expected an object for the options of adam')
    }
  })

  it('finds the nearest name', () => {
    expect(nearest('batchsize', ['epochs', 'batchSize'])).toBe('batchSize')
    expect(nearest('val', ['validation', 'seed'])).toBe('validation')
    expect(nearest('q', [])).toBeUndefined()
    expect(nearest('x'.repeat(1e6), ['validation'])).toBeUndefined()
  })
})
