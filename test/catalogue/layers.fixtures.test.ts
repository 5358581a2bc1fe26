// Layers against PyTorch: values and all gradients for the configurations of test/fixtures/make_layers.py, in double
// precision on the oracle and in single precision on every instruction set.
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import * as gradline from '../../src/index.js'
import { grad, ops, read, record, type Tensor, write } from '../../src/index.js'
import { everyDevice, onRef, worst } from '../ops/harness.js'
import { GivenScope, type Layer } from './layerScope.js'

interface Numbers {
  readonly shape: readonly number[]
  readonly data: readonly number[]
}

interface Fixture {
  readonly layer: string
  readonly args: readonly unknown[]
  readonly x: Numbers
  readonly dx?: Numbers
  readonly params: Readonly<Record<string, Numbers>>
  readonly dparams: Readonly<Record<string, Numbers>>
  readonly y: Numbers
  readonly dy: Numbers
  readonly states?: { readonly old: Record<string, Numbers>; readonly new: Record<string, Numbers> }
}

const file = new URL('../fixtures/layers.json', import.meta.url)
const { cases } = JSON.parse(readFileSync(file, 'utf8')) as { cases: Fixture[] }
const makers = gradline as unknown as Record<string, (...args: unknown[]) => Layer>

/** y, then the gradients of sum(y dy): of x if it is of floats, and of each parameter; then the states. */
function run(
  fixture: Fixture,
  options: NonNullable<Parameters<typeof record>[2]>,
): { [name: string]: ArrayLike<number> } {
  const { x, params, dy, states } = fixture
  const isFloat = fixture.dx !== undefined
  const layer = makers[fixture.layer]!(...fixture.args)
  const specs = {
    x: { shape: x.shape, dtype: isFloat ? ('float32' as const) : ('int32' as const) },
    dy: { shape: dy.shape, dtype: 'float32' as const },
    ...Object.fromEntries(
      Object.entries(params).map(([name, { shape }]) => [`p.${name}`, { shape, dtype: 'float32' as const }]),
    ),
  }
  let scope: GivenScope | undefined
  const program = record(
    (given) => {
      const inputs = given as Record<string, Tensor>
      const own = Object.keys(params).map((name): [string, Tensor] => [name, inputs[`p.${name}`]!])
      scope = new GivenScope(new Map(own))
      const y = layer(inputs.x!, scope)
      const wanted: [string, Tensor][] = [...(isFloat ? [['dx', inputs.x!] as [string, Tensor]] : []), ...own]
      const gradients = grad(
        ops.sum(ops.mul(y, inputs.dy!)),
        wanted.map(([, tensor]) => tensor),
      )
      return { y, ...Object.fromEntries(wanted.map(([name], i) => [name, gradients[i]!])) } as Record<string, Tensor>
    },
    specs,
    options,
  )
  for (const state of scope!.states) write(state, states!.old[state.name]!.data, program.device)
  const given = Object.fromEntries(Object.entries(params).map(([name, { data }]) => [`p.${name}`, data]))
  const results = program.runSync({ x: x.data, dy: dy.data, ...given })
  program.close()
  return {
    ...Object.fromEntries(Object.entries(results).map(([name, tensor]) => [name, tensor.data])),
    ...Object.fromEntries(scope!.states.map((state) => [`state ${state.name}`, read(state)])),
  }
}

function differs(fixture: Fixture, got: { [name: string]: ArrayLike<number> }, relative: number): string[] {
  const wanted: Record<string, Numbers> = {
    y: fixture.y,
    ...(fixture.dx ? { dx: fixture.dx } : {}),
    ...fixture.dparams,
    ...Object.fromEntries(Object.entries(fixture.states?.new ?? {}).map(([name, v]) => [`state ${name}`, v])),
  }
  expect(Object.keys(got).sort()).toEqual(Object.keys(wanted).sort())
  return Object.entries(wanted).flatMap(([name, { data }]) => {
    const largest = Math.max(1, ...data.map(Math.abs))
    return worst(name, got[name]!, data, () => relative * largest) ?? []
  })
}

const numbered = cases.map((fixture, i) => ({
  title: `${fixture.layer} ${i}: ${JSON.stringify(fixture.args)}`,
  fixture,
}))

describe.each(numbered)('$title', ({ fixture }) => {
  // The fixtures hold nine digits. State is of floats, so batch norm has no program in double precision.
  if (!fixture.states) {
    it('is what PyTorch computes, to nine digits', () => {
      expect(differs(fixture, run(fixture, { device: onRef(), numerics: 'fp64' }), 1e-8)).toEqual([])
    })
  }

  it('is what PyTorch computes, in floats on every device', () => {
    for (const { name, on } of everyDevice()) {
      expect({ name, off: differs(fixture, run(fixture, { device: on }), 1e-5) }).toEqual({ name, off: [] })
    }
  })
})

describe('the fixtures', () => {
  it('hold several configurations of every layer that PyTorch has', () => {
    const counts = new Map<string, number>()
    for (const { layer } of cases) counts.set(layer, (counts.get(layer) ?? 0) + 1)
    expect(Object.fromEntries(counts)).toEqual({
      dense: 4,
      conv2d: 8,
      conv1d: 8,
      depthwiseConv2d: 8,
      separableConv2d: 8,
      convTranspose2d: 12,
      maxPool2d: 4,
      avgPool2d: 4,
      adaptiveAvgPool2d: 8,
      adaptiveMaxPool2d: 8,
      layerNorm: 8,
      groupNorm: 8,
      rmsNorm: 4,
      localResponseNorm: 6,
      embedding: 3,
      upsample2d: 2,
      zeroPad2d: 2,
      batchNorm: 4,
    })
  })
})
