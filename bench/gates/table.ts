// Tables of counted numbers and what makes one differ from another. Pure.

export type Table = Readonly<Record<string, number>>

/** Lines about entries that deviate by more than the share from what stands in `before`, or stand in one table only. */
export function tolerated(now: Table, before: Table, share: number): string[] {
  const width = Math.max(0, ...Object.keys({ ...now, ...before }).map(({ length }) => length))
  return Object.keys({ ...before, ...now }).flatMap((name) => {
    const [is, was] = [now[name], before[name]]
    if (is === was) return []
    const title = name.padEnd(width)
    if (was === undefined) return [`${title}  ${is} is new`]
    if (is === undefined) return [`${title}  ${was} is gone`]
    if (Math.abs(is - was) <= share * was) return []
    const change = was === 0 ? '' : ` (${is > was ? '+' : ''}${((100 * (is - was)) / was).toFixed(1)} %)`
    return [`${title}  ${was.toLocaleString('en')} -> ${is.toLocaleString('en')}${change}`]
  })
}

/** Lines about entries above their limits. Less is welcome. */
export function exceeded(now: Table, limits: Table): string[] {
  const missing = Object.keys({ ...now, ...limits }).filter((name) => name in now !== name in limits)
  return [
    ...missing.map((name) => `${name}  ${name in now ? 'has no limit' : 'was not measured'}`),
    ...Object.entries(now).flatMap(([name, is]) => {
      const limit = limits[name]
      return limit !== undefined && is > limit ? [`${name}  ${is} exceeds the limit of ${limit}`] : []
    }),
  ]
}
