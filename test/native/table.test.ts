// One table of ops in two languages: names, attributes, arity and flags agree, and so do the records programs are made of.
import { describe, expect, it } from 'vitest'
import { recordSizes } from '../../src/encode.js'
import { type ops, piecewise, record } from '../../src/index.js'
import { addon } from '../../src/native.js'
import { opTable } from '../../src/op.js'
import { applySchedule } from '../../src/schedules/schedule.js'
import { stepBytes } from '../../src/step.js'
import { cases } from '../ops/cases.js'
import { onRef, recordRow } from '../ops/harness.js'
import { everyRule, Optimized } from '../ops/optimizer.js'
import { layoutOf } from './bytes.js'

const native = addon().ops()
const flag = { inPlace: 1, effect: 2, epilogue: 4, updateRule: 16 }

describe('the native table of ops', () => {
  it('has the ops of the TypeScript table, but for views', () => {
    const here = [...opTable().values()].filter((op) => !op.alias).map(({ name }) => name)
    expect(native.map(({ name }) => name).sort()).toEqual(here.sort())
  })

  it.each(native.map((op) => [op.name, op] as const))('%s', (name, { attrs, flags, outputs }) => {
    const op = opTable().get(name)!
    expect(attrs).toEqual(op.attrs)
    expect({ inPlace: (flags & flag.inPlace) !== 0, epilogue: (flags & flag.epilogue) !== 0 }).toEqual({
      inPlace: op.inPlace,
      epilogue: op.epilogue,
    })
    expect((flags & flag.effect) !== 0).toBe(op.effect !== undefined)
    if (op.effect) expect(outputs).toEqual([op.effect.length, op.effect.length])
  })

  it('has update rules of one form, which is what the verifier and the kernels rely on', () => {
    const rules = native.filter(({ flags }) => flags & flag.updateRule)
    for (const { name, attrs, flags, inputs, outputs } of rules) {
      const [changed] = outputs
      expect({ name, first: attrs[0], inputs, outputs, effect: flags & flag.effect }).toEqual({
        name,
        first: 'clipValue',
        inputs: [changed + 2, changed + 2],
        outputs: [changed, changed],
        effect: flag.effect,
      })
    }
    const clipping = [...opTable().values()].filter(({ attrs }) => attrs[0] === 'clipValue')
    expect(rules.map(({ name }) => name).sort()).toEqual(clipping.map(({ name }) => name).sort())
  })

  it('has the arity that recorded programs use', () => {
    const used = new Set<string>()
    const check = (bytes: Uint8Array): void => {
      for (const { opcode, inputs, outputs, epilogues } of layoutOf(bytes).ops) {
        const op = native[opcode]!
        used.add(op.name)
        const fits = ([fewest, most]: readonly [number, number], count: number): boolean =>
          fewest <= count && count <= most
        expect({ op: op.name, inputs: fits(op.inputs, inputs), outputs: fits(op.outputs, outputs) }).toEqual({
          op: op.name,
          inputs: true,
          outputs: true,
        })
        for (const code of epilogues) expect(native[code]!.flags & flag.epilogue).toBe(flag.epilogue)
      }
    }
    for (const row of cases) check(recordRow(row, { device: onRef(), without: [] }, false).program.bytes)
    for (const rule of everyRule) {
      const optimized = new Optimized(rule, [[3]])
      const rate = piecewise({ boundaries: [2], values: [0.1, 0.2] })
      const update = ({ g }: { g: Parameters<typeof ops.neg>[0] }): [] => {
        applySchedule(rate, 0.1, optimized.step)
        optimized.update([g], 0, 0, { accumulate: { size: 2, rows: 1 }, unitNorm: 1, average: 0.9 })
        return []
      }
      check(record(update, { g: [3] }, { step: optimized.step }).bytes)
    }
    expect(native.map(({ name }) => name).filter((name) => !used.has(name))).toEqual([])
  })

  it('has families that are the files of the oracle', () => {
    const families = [...new Set(native.map(({ family }) => family))].sort()
    expect(families).toEqual(
      [
        'conv',
        'elementwise',
        'loss',
        'matmul',
        'move',
        'norm',
        'pool',
        'random',
        'reduce',
        'schedule',
        'update',
      ].sort(),
    )
  })
})

it('records have the sizes that the encoder writes', () => {
  expect(addon().layout()).toEqual({ ...recordSizes, StepState: stepBytes })
})
