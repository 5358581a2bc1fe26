// A program as text: the main debugging tool. One line per op with its result, operands, place in memory, kernel and
// origin; CONTRIBUTING.md explains how to read it.

import { bytesOf, type Numerics } from './dtype.js'
import type { Encoded } from './encode.js'
import { placeOf } from './encode.js'
import type { Node } from './graph.js'
import { type Lowered, storedAs } from './lower.js'
import type { MemoryPlan } from './plan.js'
import type { Profile } from './profile.js'
import { showShape } from './shape.js'
import { type Tensor, Variable } from './tensor.js'

/** `1.9 MiB` */
export function showBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  return bytes < 1024 * 1024 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1024 / 1024).toFixed(1)} MiB`
}

export function printProgram(
  title: string,
  program: Lowered,
  memory: MemoryPlan,
  encoded: Encoded,
  numerics: Numerics,
  kernels: readonly string[],
  profile?: Profile,
): string {
  const ids = new Map(encoded.values.map((tensor, id) => [tensor, id]))
  const labels = new Map<Tensor, string>(program.inputs.map(({ name, tensor }) => [tensor, `$${name}`]))
  for (const { flat, region } of program.gradientBuffers) labels.set(flat, `grad(${region.name})`)
  // Another view of a value goes by the value's own name.
  const name = (view: Tensor): string => {
    const tensor = storedAs(view)
    return labels.get(tensor) ?? (tensor instanceof Variable ? `@${tensor.name}` : `%${ids.get(tensor)}`)
  }

  const rows = encoded.nodes.map((node, index) => [
    ...(profile ? showTime(profile, index) : []),
    `${node.outputs.map(name).join(', ')} = ${node.op.name}${showAttrs(node)}`,
    node.inputs.map(name).join(' ') +
      node.epilogues.map(({ op, operand }) => ` | ${op.name}${operand ? ` ${name(operand)}` : ''}`).join(''),
    showShape((node.outputs[0] as Tensor).shape),
    showPlace(node.outputs[0] as Tensor, memory, numerics),
    kernels[index] ?? '',
    node.site.path,
    node.site.line,
  ])
  const outputs = program.outputs.map(({ path, tensor }) => `${path || 'result'} = ${name(tensor)}`)
  return [
    title,
    ...header(memory),
    ...(profile ? [`  ${microseconds(profile.seconds)} us a step, medians of ${profile.steps} steps`] : []),
    ...align(rows),
    ...(outputs.length ? [`returns ${outputs.join(', ')}`] : []),
  ].join('\n')
}

const microseconds = (seconds: number): string => (seconds * 1e6).toFixed(seconds < 1e-4 ? 2 : 1)

/** Time and share of an op, aligned to the right. */
function showTime({ rows }: Profile, index: number): string[] {
  const { seconds, share } = rows[index] as Profile['rows'][number]
  return [`${microseconds(seconds).padStart(9)} us`, `${(100 * share).toFixed(1).padStart(5)} %`]
}

function header(memory: MemoryPlan): string[] {
  const { unshared } = memory
  const regions = memory.regions
    .filter(({ bytes }) => bytes > 0)
    .map(({ kind, bytes }) => {
      const saved = kind === 'act' && unshared > bytes ? ` (${showBytes(unshared)} unshared)` : ''
      return `${kind} ${showBytes(bytes)}${saved}`
    })
  return [`  memory: ${regions.join(', ')}`]
}

function showAttrs({ op, attrs }: Node): string {
  const shown = op.attrs
    .filter((name) => attrs[name])
    .map((name) => `${name}=${Number((attrs[name] as number).toPrecision(6))}`)
  return shown.length ? `(${shown.join(' ')})` : ''
}

function showPlace(tensor: Tensor, memory: MemoryPlan, numerics: Numerics): string {
  const { region, offset } = placeOf(tensor, memory)
  const end = offset + tensor.size * bytesOf(tensor.dtype, numerics)
  return `${memory.regions[region]?.kind}+0x${offset.toString(16)}..0x${end.toString(16)}`
}

function align(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.min(48, Math.max(...rows.map((row) => (row[i] as string).length))))
  return rows.map(
    (row) =>
      `  ${row
        .map((cell, i) => cell.padEnd(widths[i] as number))
        .join('  ')
        .trimEnd()}`,
  )
}
