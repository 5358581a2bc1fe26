// A model as a table for people: layers, output shapes, parameters.

import type { Step, Weights } from '../layers/layer.js'
import type { Shape } from '../shape.js'
import type { ModelInput } from './graphModel.js'

const batched = (shape: Shape): string => `[${['n', ...shape].join(', ')}]`

export function summarize(
  name: string,
  inputs: Readonly<Record<string, ModelInput>>,
  steps: readonly Step[],
  weights: Weights,
): string {
  const entries = [...weights.entries.values()]
  const countIn = (path: string, region: unknown): number =>
    entries
      .filter((entry) => entry.path.startsWith(`${path}.`) && entry.variable.region === region)
      .reduce((total, { variable }) => total + variable.size, 0)
  const rows = steps.map((step) => {
    const state = countIn(step.name, weights.states)
    const params = countIn(step.name, weights.params).toLocaleString('en')
    return [step.name, batched(step.output.shape.slice(1)), state ? `${params} (+${state} state)` : params]
  })
  const given = Object.entries(inputs).map(([input, { shape }]) => [
    input === 'x' ? 'input' : input,
    batched(shape),
    '',
  ])
  const table = [['layer', 'output', 'parameters'], ...given, ...rows]
  const widths = [0, 1, 2].map((column) => Math.max(...table.map((row) => (row[column] as string).length)))
  const lines = table.map(([a, b, c]) =>
    `  ${a?.padEnd(widths[0] as number)}  ${b?.padEnd(widths[1] as number)}  ${c}`.trimEnd(),
  )
  const total = weights.params.variables.reduce((sum, { size }) => sum + size, 0)
  const states = weights.states.variables.reduce((sum, { size }) => sum + size, 0)
  const kept = states ? `, ${states.toLocaleString('en')} numbers of state that no optimizer changes` : ''
  return [name, ...lines, `  ${total.toLocaleString('en')} parameters${kept}`].join('\n')
}
