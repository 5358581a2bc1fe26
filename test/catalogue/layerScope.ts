// A scope whose parameters are given tensors instead of variables, so that a layer can be computed in double precision and
// gradients be asked of everything it reads. State stays what it is: variables.
import type { Tensor, Variable } from '../../src/index.js'
import { type Layer, type Mode, Scope, Weights } from '../../src/layers/layer.js'
import { type Shape, sameShape, showShape } from '../../src/shape.js'

export class GivenScope extends Scope {
  readonly #weights: Weights
  readonly #given: ReadonlyMap<string, Tensor>

  constructor(given: ReadonlyMap<string, Tensor>, mode: Mode = 'train', weights = new Weights(), path = '') {
    super(weights, mode, path)
    this.#weights = weights
    this.#given = given
  }

  /** States of the layer and of those inside it. */
  get states(): Variable[] {
    return this.#weights.states.variables
  }

  override param(name: string, shape: Shape): Variable {
    const path = this.path === '' ? name : `${this.path}.${name}`
    const found = this.#given.get(path)
    if (!found || !sameShape(found.shape, shape)) {
      const names = [...this.#given].map(([key, tensor]) => `${key} ${showShape(tensor.shape)}`)
      throw new Error(`the layer asked for ${path} ${showShape(shape)} but was given ${names.join(', ')}`)
    }
    return found as Variable
  }

  override child(name: string): Scope {
    const path = this.path === '' ? name : `${this.path}.${name}`
    return new GivenScope(this.#given, this.mode, this.#weights, path)
  }
}

/** The parameters a layer asks for, by path, when it is applied to an input of this shape. */
export class AskedScope extends Scope {
  readonly asked: Map<string, Shape>
  readonly #make: (shape: Shape) => Tensor

  constructor(make: (shape: Shape) => Tensor, path = '', asked = new Map<string, Shape>()) {
    super(new Weights(), 'predict', path)
    this.#make = make
    this.asked = asked
  }

  override param(name: string, shape: Shape): Variable {
    this.asked.set(this.path === '' ? name : `${this.path}.${name}`, shape)
    return this.#make(shape) as Variable
  }

  override child(name: string): Scope {
    return new AskedScope(this.#make, this.path === '' ? name : `${this.path}.${name}`, this.asked)
  }
}

export type { Layer }
