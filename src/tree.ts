// Nested results of a recorded function: a tensor, or arrays and objects of tensors. Flattening names every leaf by its
// path, so that the same structure can be rebuilt around the numbers of a step.

import { expected } from './errors.js'

export type Tree<T> = T | readonly Tree<T>[] | { readonly [name: string]: Tree<T> }

/** Leaves in order with their paths (`loss`, `outputs.0`); the path of a lone leaf is ''. */
export function flatten<T>(
  tree: Tree<T>,
  isLeaf: (value: unknown) => value is T,
  what: string,
  path = '',
): { path: string; leaf: T }[] {
  if (isLeaf(tree)) return [{ path, leaf: tree }]
  if (tree === null || typeof tree !== 'object') throw expected(what, path || 'the result', tree)
  return Object.entries(tree).flatMap(([key, value]) =>
    flatten(value as Tree<T>, isLeaf, what, path === '' ? key : `${path}.${key}`),
  )
}

/** The structure of `tree` with its leaves, in the order of `flatten`, replaced by `values`. */
export function rebuild<T, S>(tree: S, isLeaf: (value: unknown) => value is T, values: readonly T[]): S {
  let next = 0
  const walk = (node: unknown): unknown => {
    if (isLeaf(node)) return values[next++]
    if (Array.isArray(node)) return node.map(walk)
    return Object.fromEntries(Object.entries(node as object).map(([key, value]) => [key, walk(value)]))
  }
  return walk(tree) as S
}
