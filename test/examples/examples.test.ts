// The promises of the MNIST examples that can be counted: short, and the step from dense layers to convolution is small.
// What they reach is measured by running them.

import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

const linesOf = (name: string): string[] =>
  readFileSync(new URL(`../../examples/${name}.ts`, import.meta.url), 'utf8')
    .trimEnd()
    .split('\n')

/** Lines that are in only one of the two, i.e. removed or added: both lengths less twice the longest common subsequence. */
function changedLines(a: readonly string[], b: readonly string[]): number {
  let row = new Array<number>(b.length + 1).fill(0)
  for (const line of a) {
    const next = [0]
    b.forEach((other, j) => {
      next.push(line === other ? (row[j] ?? 0) + 1 : Math.max(row[j + 1] ?? 0, next[j] ?? 0))
    })
    row = next
  }
  return a.length + b.length - 2 * (row.at(-1) ?? 0)
}

describe('the MNIST examples', () => {
  it('fit on a page', () => {
    expect(linesOf('mnist-mlp').length).toBeLessThanOrEqual(100)
    expect(linesOf('mnist-cnn').length).toBeLessThanOrEqual(100)
  })

  it('differ in few lines', () => {
    expect(changedLines(['a', 'b', 'c'], ['a', 'x', 'c', 'd'])).toBe(3)
    expect(changedLines(linesOf('mnist-mlp'), linesOf('mnist-cnn'))).toBeLessThanOrEqual(50)
  })

  it('use the package as a user does', () => {
    for (const name of ['mnist-mlp', 'mnist-cnn']) {
      const imports = linesOf(name).flatMap((line) => /^import .* from '(.*)'$/.exec(line)?.[1] ?? [])
      expect(imports).toEqual(['node:util', 'gradline'])
    }
  })
})
