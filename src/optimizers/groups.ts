// Which parameters an optimizer treats alike, and how: learning rate, decay and penalties of one parameter, found by its
// path. It says nothing of how an update works.

import { checkFinite, checkOptions, expected, GradlineError } from '../errors.js'
import type { UpdateSettings } from '../graph.js'
import type { Variable } from '../tensor.js'

/** A path with `*` for any text, an expression, or a choice by path: `'*.bias'`, `/^block1\./`, `(path) => ...`. */
export type Match = string | RegExp | ((path: string) => boolean)

/** What differs for the parameters whose path matches. Of several groups the first that matches counts. */
export interface ParameterGroup {
  match: Match
  /** Learning rate, absolute. 0 freezes: the parameters keep their bits and count in no norm. */
  lr?: number
  /** Decoupled weight decay. */
  decay?: number
  /** Penalty l1 * sum |w|; replaces that of the layer. */
  l1?: number
  /** Penalty l2 / 2 * sum w^2; replaces that of the layer. */
  l2?: number
}

/** Says whether a path matches. Throws when `match` is none of the three forms. */
export function matcher(match: Match): (path: string) => boolean {
  if (typeof match === 'function') return match
  if (match instanceof RegExp) return (path) => path.search(match) !== -1
  if (typeof match !== 'string' || match === '') {
    throw expected("a path with *, an expression or a function, e.g. '*.bias'", 'match of a parameter group', match)
  }
  return wildcard(match)
}

/** Says whether a text is `pattern`, in which `*` stands for any characters. */
export function wildcard(pattern: string): (text: string) => boolean {
  const [head, ...parts] = pattern.split('*') as [string, ...string[]]
  const tail = parts.pop()
  if (tail === undefined) return (text) => text === pattern
  return (text) => {
    if (!text.startsWith(head)) return false
    let at = head.length
    for (const part of parts) {
      const found = text.indexOf(part, at)
      if (found < 0) return false
      at = found + part.length
    }
    return text.endsWith(tail) && text.length - tail.length >= at
  }
}

export interface CheckedGroup extends ParameterGroup {
  readonly matches: (path: string) => boolean
}

export function checkGroups(kind: string, groups: readonly ParameterGroup[] | undefined, lr: number): CheckedGroup[] {
  if (groups === undefined) return []
  if (!Array.isArray(groups)) throw expected('a list of groups', `groups of ${kind}`, groups)
  return groups.map((group: ParameterGroup) => {
    if (group === undefined) throw expected('an object', `a group of ${kind}`, group)
    checkOptions(`a group of ${kind}`, group, ['match', 'lr', 'decay', 'l1', 'l2'])
    for (const name of ['lr', 'decay', 'l1', 'l2'] as const) {
      if (group[name] !== undefined) checkFinite(`${name} of a group of ${kind}`, group[name], { min: 0 })
    }
    if (group.lr !== undefined && group.lr > 0 && lr === 0) {
      throw expected(`an lr of ${kind} above 0`, 'groups with an lr of their own', lr)
    }
    return { ...group, matches: matcher(group.match) }
  })
}

/** Every group must be of use: a misspelt path would silently change nothing. */
export function checkAllUsed(kind: string, groups: readonly CheckedGroup[], params: readonly Variable[]): void {
  for (const { match, matches } of groups) {
    if (params.some(({ name }) => matches(name))) continue
    const names = params.slice(0, 8).map(({ name }) => name)
    throw new GradlineError('argument', `No parameter matches the group ${String(match)} of ${kind}`, {
      fix: `The parameters are ${names.join(', ')}${params.length > names.length ? ', ...' : ''}`,
    })
  }
}

/**
 * How `variable` is updated. Biases and norm scales (one axis or none) have no decay unless their group says so; `factor`
 * is that on the learning rate where no group sets it.
 */
export function settingsOf(
  variable: Variable,
  groups: readonly CheckedGroup[],
  optimizer: { readonly lr: number; readonly decay: number },
  factor = 1,
): UpdateSettings {
  const group = groups.find(({ matches }) => matches(variable.name))
  const rate = group?.lr === undefined ? factor : group.lr === 0 ? 0 : group.lr / optimizer.lr
  return {
    rate,
    decay: group?.decay ?? (variable.rank <= 1 ? 0 : optimizer.decay),
    l1: group?.l1 ?? variable.rules.l1 ?? 0,
    l2: group?.l2 ?? variable.rules.l2 ?? 0,
  }
}
