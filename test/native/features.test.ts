// FEATURES.md lists exactly the ops that exist, with the truth about their derivatives.

import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import '../../src/index.js'
import { addon } from '../../src/native.js'
import { opTable } from '../../src/op.js'

const text = readFileSync(new URL('../../FEATURES.md', import.meta.url), 'utf8')
const listed = [...text.matchAll(/^\| `(\w+)` \| (\w+) \| .* \| (yes|none|effect) \|$/gm)].map(
  ([, name, family, derivative]) => ({
    name,
    family,
    derivative,
  }),
)

describe('FEATURES.md', () => {
  it('lists every native op with its family, in the order of the table', () => {
    expect(listed.map(({ name, family }) => ({ name, family }))).toEqual(
      addon()
        .ops()
        .map(({ name, family }) => ({ name, family })),
    )
  })

  it('tells which ops have a derivative', () => {
    const truth = listed.map(({ name }) => {
      const op = opTable().get(name as string)
      return op?.effect ? 'effect' : op?.backward ? 'yes' : 'none'
    })
    expect(listed.map(({ derivative }) => derivative)).toEqual(truth)
  })
})
