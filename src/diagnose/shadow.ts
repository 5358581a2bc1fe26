// A second copy of a recorded computation, in double precision: every float variable it reads (weights, running statistics)
// becomes an input, so that the ordinary layers can be asked at any point without touching the model they belong to.

import { device } from '../device.js'
import { Graph, type Node, recordInto } from '../graph.js'
import { writeStep } from '../memory.js'
import { type InputData, type InputSpecs, type Outputs, Program } from '../program.js'
import type { Shape } from '../shape.js'
import { stepState } from '../step.js'
import { Tensor, Variable } from '../tensor.js'

export class Shadow<O extends Outputs> {
  readonly program: Program<InputSpecs, O>
  /** Values of the variables that the computation reads; change them as you like between runs. */
  readonly values = new Map<Variable, Float64Array>()
  readonly #names = new Map<Variable, string>()

  /**
   * Records `fn`, which may declare further inputs by `input`. Assignments to float variables are not carried out; what
   * is read of the variable afterwards is the assigned value, as in the step itself.
   */
  constructor(fn: (input: (name: string, shape: Shape, dtype?: 'float32' | 'int32') => Tensor) => O) {
    const graph = new Graph(stepState('shadow'))
    const returned = recordInto(graph, () =>
      fn((name, shape, dtype = 'float32') => graph.input(name, new Tensor(shape, dtype))),
    )
    this.#lift(graph)
    this.program = new Program<InputSpecs, O>(graph, returned, { name: 'shadow', device: 'ref', numerics: 'fp64' })
  }

  /** One step with these inputs; random numbers are the same in every run. */
  run(inputs: Readonly<Record<string, ArrayLike<number>>>): O {
    writeStep(this.program.step, { step: 0 }, device('ref'))
    const all: Record<string, ArrayLike<number>> = { ...inputs }
    for (const [variable, name] of this.#names) all[name] = this.values.get(variable) as Float64Array
    return this.program.runSync(all as InputData<InputSpecs>)
  }

  #lift(graph: Graph): void {
    const now = new Map<Tensor, Tensor>()
    const isFloat = (tensor: Tensor): tensor is Variable => tensor instanceof Variable && tensor.dtype === 'float32'
    const current = (tensor: Tensor): Tensor => {
      if (!isFloat(tensor)) return tensor
      let found = now.get(tensor)
      if (!found) {
        const name = `variable ${this.#names.size}: ${tensor.name}`
        found = graph.input(name, new Tensor(tensor.shape, 'float32'))
        now.set(tensor, found)
        this.#names.set(tensor, name)
        this.values.set(tensor, new Float64Array(tensor.size))
      }
      return found
    }
    const kept = graph.nodes.filter((node) => {
      // In place, since tensors point to the node that made them. The graph is used for nothing else.
      const own = node as { -readonly [K in keyof Node]: Node[K] }
      own.inputs = node.inputs.map(current)
      const [target] = node.outputs
      if (!node.effect || !target || !isFloat(target)) return true
      now.set(target, own.inputs[0] as Tensor)
      return false
    })
    graph.nodes.splice(0, graph.nodes.length, ...kept)
  }
}
