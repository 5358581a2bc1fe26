// The questions that every row of a table of cases is asked: is it the formula, has it the gradient, is it the same on
// every device, instruction set and number of threads, with and without plan and passes, recorded and eager.
import { describe, expect, it } from 'vitest'
import { device, machine } from '../../src/device.js'
import type { TypedArray } from '../../src/dtype.js'
import { tensor } from '../../src/index.js'
import { passNames } from '../../src/passes/index.js'
import {
  asNd,
  bitsDiffer,
  type Case,
  evaluate,
  expectedOf,
  floatInputs,
  gradientsOffBy,
  inputsOf,
  integerInputsOf,
  listOf,
  offBy,
  onCpu,
  onRef,
  recordRow,
  weightsOf,
  worst,
} from './harness.js'

const fp64 = { device: onRef(), numerics: 'fp64' } as const

const remember = <T>(make: (row: Case) => T): ((row: Case) => T) => {
  const made = new WeakMap<Case, T>()
  return (row) => {
    if (!made.has(row)) made.set(row, make(row))
    return made.get(row)!
  }
}
const inputs = remember((row) => inputsOf(row))
const exact = remember((row) => expectedOf(row, inputs(row)))
const wide = remember((row) => evaluate(row, inputs(row), fp64))
const narrow = remember((row) => evaluate(row, inputs(row), { device: onCpu() }))

/** Elements of an input whose derivative is measured: all of a small one, some of a large one. */
function probes(size: number): number[] {
  const count = size <= 64 ? size : size <= 8192 ? 16 : 4
  return Array.from({ length: count }, (_, i) => Math.floor(((i + 0.5) * size) / count))
}

/** Central differences of the weighted sum of the outputs, in double precision, against the recorded gradient. */
function gradientDiffers(row: Case): string | undefined {
  const { program, run } = recordRow(row, fp64, false)
  const outputsAt = (data: readonly ArrayLike<number>[]): TypedArray[] =>
    run(data)[0]!.slice(0, row.differentiable ?? Number.POSITIVE_INFINITY)
  const weights = outputsAt(inputs(row)).map((output, i) => weightsOf(output.length, i))
  const { gradients } = wide(row)
  for (const [g, at] of floatInputs(row).entries()) {
    const data: ArrayLike<number>[] = [...inputs(row)]
    const moved = Float64Array.from(inputs(row)[at]!)
    data[at] = moved
    const points = probes(moved.length)
    const measured = points.map((i) => {
      const x = moved[i]!
      const h = 1e-5 * Math.max(1, Math.abs(x))
      moved[i] = x + h
      const up = outputsAt(data)
      moved[i] = x - h
      const down = outputsAt(data)
      moved[i] = x
      let difference = 0
      up.forEach((values, o) => {
        if (values instanceof Int32Array) return
        for (let j = 0; j < values.length; j++) difference += weights[o]![j]! * (values[j]! - down[o]![j]!)
      })
      return difference / (x + h - (x - h))
    })
    const recorded = points.map((i) => gradients[g]![i]!)
    const largest = Math.max(...recorded.map(Math.abs))
    const text = worst(`gradient of input ${at}, probe`, recorded, measured, () => 3e-7 * largest + 1e-9)
    if (text) return text
  }
  program.close()
  return undefined
}

function everything({ outputs, gradients }: { outputs: TypedArray[]; gradients: TypedArray[] }): TypedArray[] {
  return [...outputs, ...gradients]
}

export const isas = machine().isas as ('avx512' | 'avx2' | 'base')[]

/** Asks every question of every row. */
export function askEverything(rows: readonly Case[]): void {
  describe.each(rows.map((row) => [`${row.op}: ${row.name}`, row] as const))('%s', (_, row) => {
    it('is the formula, in double precision', () => {
      expect(wide(row).outputs.length).toBe(exact(row).length)
      expect(offBy({ ...row, tolerance: { ...row.tolerance, c: 64 } }, wide(row).outputs, exact(row), 2 ** -53)).toBe(
        undefined,
      )
    })

    if (row.gradient === 'central') {
      it('has the gradient that central differences measure', () => {
        expect(gradientDiffers(row)).toBe(undefined)
      })
    } else if (row.gradient.asking === 'throws') {
      it(`refuses a gradient: ${row.gradient.none}`, () => {
        expect(() => recordRow(row, fp64, true)).toThrow('has no derivative')
      })
    } else if (row.gradient.asking === 'gives zeros') {
      it(`has a gradient of zeros: ${row.gradient.none}`, () => {
        for (const gradient of evaluate(row, inputs(row), fp64, true).gradients) {
          expect(gradient.every((g) => g === 0)).toBe(true)
        }
      })
    } else {
      it(`has no gradient to ask for: ${row.gradient.none}`, () => {
        const { outputs } = wide(row)
        expect(floatInputs(row).length === 0 || outputs.every((t) => t instanceof Int32Array)).toBe(true)
      })
    }

    it('is right in fp32 on the CPU, its gradient too', () => {
      expect(offBy(row, narrow(row).outputs, exact(row))).toBe(undefined)
      expect(gradientsOffBy(row, narrow(row).gradients, wide(row).gradients)).toBe(undefined)
    })

    it('needs no plan', () => {
      const apart = evaluate(row, inputs(row), { device: onCpu(), plan: 'none' })
      expect(bitsDiffer('result', everything(narrow(row)), everything(apart))).toBe(undefined)
    })

    it('needs no passes', () => {
      if (row.passesRound) {
        for (const without of [...passNames.map((name) => [name]), passNames]) {
          const plain = evaluate(row, inputs(row), { device: onCpu(), without })
          expect(offBy(row, plain.outputs, exact(row))).toBe(undefined)
        }
        return
      }
      // One pass sums in another order; among programs that lack it the bits are the same again.
      const ordered = evaluate(row, inputs(row), { device: onCpu(), without: ['fuseBiasGrad'] })
      expect(offBy(row, ordered.outputs, exact(row))).toBe(undefined)
      expect(gradientsOffBy(row, ordered.gradients, wide(row).gradients)).toBe(undefined)
      for (const name of passNames) {
        const plain = evaluate(row, inputs(row), { device: onCpu(), without: [name, 'fuseBiasGrad'] })
        expect(bitsDiffer(`without ${name}, result`, everything(ordered), everything(plain))).toBe(undefined)
        const rest = evaluate(row, inputs(row), { device: onCpu(), without: name === 'fuseBiasGrad' ? [] : [name] })
        expect(bitsDiffer(`without ${name}, result`, everything(narrow(row)), everything(rest))).toBe(undefined)
      }
      const plain = evaluate(row, inputs(row), { device: onCpu(), without: passNames })
      expect(bitsDiffer('without passes, result', everything(ordered), everything(plain))).toBe(undefined)
    })

    if (row.fuses) {
      it(`fuses ${row.fuses.join(', ')}`, () => {
        const text = recordRow(row, { device: onCpu() }, true).program.print()
        const forward = recordRow(row, { device: onCpu() }, false).program.print()
        for (const name of row.fuses ?? []) expect(name.endsWith('Grad') ? text : forward).toMatch(`| ${name}`)
      })
    }

    it('is the same eagerly', () => {
      const eager = listOf(
        row.build(
          row.inputs.map(({ shape, dtype }, i) => {
            const data = inputs(row)[i]!
            return tensor(data, { shape, dtype })
          }),
        ),
      )
      const data = eager.map((t) => t.data)
      // Outside of programs everything is fp32.
      const rounded = row.sumsElsewhere || row.passesRound || row.numerics === 'fast'
      expect(rounded ? offBy(row, data, exact(row)) : bitsDiffer('output', narrow(row).outputs, data)).toBe(undefined)
    })

    it('is the same on one, two and three threads', () => {
      const [one, two, three] = [1, 2, 3].map((threads) =>
        everything(evaluate(row, inputs(row), { device: device('cpu', { threads }) })),
      )
      expect(bitsDiffer('two threads, result', one!, two!)).toBe(undefined)
      expect(bitsDiffer('three threads, result', one!, three!)).toBe(undefined)
    })

    it(`is right with each instruction set (${isas.join(', ')})`, () => {
      for (const isa of isas) {
        const { outputs, gradients } = evaluate(row, inputs(row), { device: device('cpu', { isa }) })
        expect({ isa, text: offBy(row, outputs, exact(row)) }).toEqual({ isa, text: undefined })
        expect({ isa, text: gradientsOffBy(row, gradients, wide(row).gradients) }).toEqual({ isa, text: undefined })
      }
    })

    if (row.exactOnIntegers) {
      it('is exact on integers', () => {
        const data = integerInputsOf(row)
        const wanted = row.oracle(...asNd(row, data))
        const lists = (Array.isArray(wanted) ? wanted : [wanted]).map(({ values }) => values)
        for (const on of [onRef(), ...isas.map((isa) => device('cpu', { isa }))]) {
          const { outputs } = evaluate(row, data, { device: on }, false)
          outputs.forEach((output, i) => {
            expect(worst(`${on.describe()}: output ${i}`, output, lists[i]!, () => 0)).toBe(undefined)
          })
        }
      })
    }
  })
}
