// What the transforms share: a model of other layers that keeps names and weights of the first, and the walk over lists of
// layers inside lists. No transform itself.

import type { DenseOptions } from '../layers/dense.js'
import { type Layer, layer, namesOf, sequential } from '../layers/layer.js'
import { sameShape } from '../shape.js'
import type { ModelInput } from '../train/graphModel.js'
import { Model } from '../train/model.js'

export type Values = { data: ArrayLike<number> }

/** The same layer under a fixed name, so that it keeps its paths when layers around it go. */
export function named(each: Layer, name: string): Layer {
  const copy = layer(each.kind ?? (each.name || 'custom'), each, name, each.options)
  return each.inner ? Object.assign(copy, { inner: each.inner }) : copy
}

/** A layer with its path in the model, as found in its list. */
export interface Placed {
  readonly layer: Layer
  readonly kind: string
  readonly name: string
  readonly path: string
}

/**
 * Rewrites a list of layers, and the lists inside `sequential` layers first. `change` is given a list and gives the new one;
 * layers that it keeps must be `named`.
 */
export function rewrite(layers: readonly Layer[], change: (list: Placed[]) => Layer[], prefix = ''): Layer[] {
  const names = namesOf(layers)
  return change(
    layers.map((each, i) => {
      const { kind, name } = names[i] as { kind: string; name: string }
      const path = `${prefix}${name}`
      const inner = each.kind === 'sequential' ? each.inner : undefined
      return { layer: inner ? sequential(rewrite(inner, change, `${path}.`), { name }) : each, kind, name, path }
    }),
  )
}

/** A model of `layers` on the same device, of the same numerics; entries of the same path and shape keep their values, `changed` sets others. */
export async function rebuild(
  net: Model,
  layers: readonly Layer[],
  changed: ReadonlyMap<string, Values>,
  { seed = net.seed, isKept = () => true }: { seed?: number | undefined; isKept?: (path: string) => boolean } = {},
): Promise<Model> {
  const { device, numerics, name } = net
  const made = new Model(net.inputs.x as ModelInput, layers, { seed, device, numerics, name })
  const wanted = await made.weights()
  const kept = [...(await net.weights())].filter(([path, { shape }]) => {
    const target = wanted.get(path)
    return target !== undefined && sameShape(target.shape, shape) && isKept(path)
  })
  await made.setWeights(new Map<string, Values>([...kept, ...changed]))
  return made
}

/** What a dense layer was made with; undefined for anything else. */
export function denseOptions(each: Layer): (DenseOptions & { units: number }) | undefined {
  return each.kind === 'dense' && each.options ? (each.options as DenseOptions & { units: number }) : undefined
}
