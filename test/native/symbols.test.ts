// Files compiled once per instruction set may define no symbol outside their own namespace: the linker would keep one copy,
// say the AVX-512 one, for every caller, and the program would die on a machine without it.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const build = fileURLToPath(new URL('../../build-core/CMakeFiles', import.meta.url))
const objectsOf = (isa: string): string[] => {
  const folder = join(build, `gradline_${isa}.dir`)
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.o'))
    .map((path) => join(folder, path))
}
const missing =
  spawnSync('nm', ['--version']).error !== undefined
    ? 'nm is not installed'
    : objectsOf('base').length === 0
      ? 'no objects of a local build'
      : undefined

describe.skipIf(missing)(`symbols of the kernels${missing ? ` (not read: ${missing})` : ''}`, () => {
  it.each(['base', 'avx2', 'avx512'])('%s', (isa) => {
    const objects = objectsOf(isa)
    if (objects.length === 0 && isa !== 'base') return expect(process.arch).not.toBe('x64')
    const { stdout } = spawnSync('nm', ['-C', '--defined-only', ...objects], { encoding: 'utf8', maxBuffer: 2 ** 27 })
    // "address type name"; upper case: global; w, v, u: weak or unique.
    const visible = stdout
      .split('\n')
      .map((line) => /^[0-9a-f]+ ([A-Zwvu]) (.*)$/.exec(line)?.[2])
      .filter((name) => name !== undefined)
    expect(visible.length).toBeGreaterThan(10)
    const strays = visible.filter(
      (name) => !new RegExp(`^((typeinfo|vtable|guard variable) for )?gradline::cpu::${isa}::`).test(name),
    )
    expect(strays).toEqual([])
  })
})
