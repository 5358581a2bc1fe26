// The commands that look at an installation: verify asks every op, layer and update rule and finds what is wrong; doctor tells
// what there is. Their tables are held equal to what the library has.

import { describe, expect, it, vi } from 'vitest'
import type { Context } from '../../src/cli/command.js'
import { main } from '../../src/cli/main.js'
import { golden } from '../../src/diagnose/golden.js'
import { verify } from '../../src/diagnose/verify.js'
import { layerCases, opCases, optimizerCases } from '../../src/diagnose/verifyCases.js'
import * as layers from '../../src/layers/index.js'
import { addon } from '../../src/native.js'
import * as optimizers from '../../src/optimizers/index.js'
import { Program } from '../../src/program.js'

async function gradline(...args: string[]): Promise<{ status: number; out: string; err: string }> {
  const [out, err]: string[][] = [[], []]
  const context: Context = {
    print: (line) => out?.push(line),
    note: (line) => err?.push(line),
    progress: { write: (text) => err?.push(text) },
    signal: new AbortController().signal,
  }
  const status = await main(args, context)
  return { status, out: out?.join('\n') ?? '', err: err?.join('\n') ?? '' }
}

describe('gradline verify', () => {
  it('finds everything right, with every op of the table in some program', async () => {
    const seen = new Set<string>()
    for (const method of ['runMany', 'runSync'] as const) {
      const real = Program.prototype[method] as (...args: unknown[]) => never
      vi.spyOn(Program.prototype, method).mockImplementation(function (this: Program, ...args: unknown[]) {
        const lines = this.print().split('\n')
        for (const name of lines.flatMap((line) => line.match(/\b[a-z]\w*\b/gi) ?? [])) seen.add(name)
        return real.apply(this, args)
      } as never)
    }
    const { status, out, err } = await gradline('verify')
    vi.restoreAllMocks()
    expect({ status, err }).toEqual({ status: 0, err: '' })
    expect(out).toMatch(/built {4}\S.*\nmachine {2}\S/)
    expect(out).toMatch(/verified: \d+ checks in/)
    expect(
      addon()
        .ops()
        .flatMap(({ name }) => (seen.has(name) ? [] : [name])),
    ).toEqual([])
  })

  it('has a row for every layer and every rule of update', () => {
    const factories = Object.entries(layers).flatMap(([name, f]) => (typeof f === 'function' ? [name] : []))
    const known = new Set(layerCases.map(({ name }) => name))
    expect(factories.filter((name) => !known.has(name) && name !== 'layer')).toEqual([])
    // Nesterov's rule is momentum with another option.
    const rules = Object.entries(optimizers).flatMap(([name, f]) => (/^class/.test(String(f)) ? [] : [name]))
    const left = rules.filter((name) => !(name in optimizerCases))
    expect(left).toEqual(['nesterov'])
    expect(Object.keys(golden)).toEqual(opCases.map(({ name }) => name))
  })

  it('notices a golden number that differs in the eighth digit', async () => {
    const numbers = golden.matmul as number[]
    const kept = numbers[0] as number
    numbers[0] = kept * (1 + 1e-8)
    try {
      for await (const { kind, name, error } of verify()) {
        if (kind === 'golden') expect({ name, ok: error <= 1 }).toEqual({ name, ok: name !== 'matmul' })
        if (kind === 'layer') break
      }
    } finally {
      numbers[0] = kept
    }
  })
})

describe('gradline doctor', () => {
  it('tells platform, binary, instruction set and what is missing', async () => {
    const { status, out } = await gradline('doctor')
    expect(status).toBe(0)
    for (const name of [
      'platform',
      'native part',
      'built',
      'instruction set',
      'threads',
      'gpu',
      'driver',
      'cublas',
      'missing',
    ]) {
      expect(out).toMatch(new RegExp(`^ {2}${name} +\\S`, 'm'))
    }
  })
})
