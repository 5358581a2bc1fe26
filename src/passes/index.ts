// The passes that make a lowered program faster. Each can be switched off by name, and none changes what is computed
// (only foldBatchNorm and fuseBiasGrad its rounding). Here: their order, and the pass over constants.

import { expected } from '../errors.js'
import { dropUnused, type Lowered } from '../lower.js'
import { type Op, opTable } from '../op.js'
import type { Tensor } from '../tensor.js'
import { assignInPlace } from './assign.js'
import { foldBatchNorm, fuseBatchNormGrad } from './batchNorm.js'
import { fuseBiasGrad } from './biasGrad.js'
import { fuseActivation, fuseActivationGrad, fuseBias } from './epilogues.js'
import type { Pass } from './pass.js'
import { recomputeBatchNorm } from './recompute.js'

/** Constants computed from constants: the gradient of a mean is one number for all elements, known while recording. */
function foldConstants(program: Lowered): Lowered {
  const constants = new Map<Tensor, number>()
  const nodes = program.nodes.map((node) => {
    const [input] = node.inputs
    const [output] = node.outputs as [Tensor]
    const known = input && constants.get(input)
    if (node.op.name === 'fill') constants.set(output, node.attrs.value as number)
    else if (known === undefined || node.effect) return node
    else if (node.op.name === 'scale') {
      constants.set(output, (node.attrs.factor as number) * known + (node.attrs.offset as number))
    } else if (node.op.name === 'broadcast' || node.op.alias) constants.set(output, known)
    const value = constants.get(output)
    if (value === undefined || node.op.alias || node.op.name === 'fill') return node
    return { ...node, op: opTable().get('fill') as Op, inputs: [], attrs: { value } }
  })
  return dropUnused({ ...program, nodes })
}

const passes = {
  foldConstants,
  fuseBias,
  foldBatchNorm,
  fuseBatchNormGrad,
  fuseActivation,
  fuseActivationGrad,
  fuseBiasGrad,
  recomputeBatchNorm,
  assignInPlace,
} satisfies Record<string, Pass>

export type PassName = keyof typeof passes
export const passNames = Object.keys(passes) as PassName[]

/** Runs all passes but those named in `without`. */
export function optimize(program: Lowered, without: readonly PassName[] = []): Lowered {
  if (!Array.isArray(without)) throw expected('an array of names of passes', 'without', without)
  for (const name of without)
    if (!passNames.includes(name)) throw expected(`one of ${passNames.join(', ')}`, 'without', name)
  return passNames.reduce((at, name) => (without.includes(name) ? at : passes[name](at)), program)
}
