// Reads the symbol tables of the CPU kernels: a file compiled for one instruction set may define no linker-visible symbol
// outside its own namespace. Else the linker could keep, say, the AVX-512 copy of an inline function for every caller,
// and the program would die on a machine without AVX-512.
import { spawnSync } from 'node:child_process'
import { filesBelow, isMain, main, root, say, which } from './common.mjs'

/** Prints each symbol that leaves its namespace; returns how many there are. */
export function checkSymbols() {
  if (!which('nm')) {
    say('nm is not installed: symbol tables are not read')
    return 0
  }
  let strays = 0
  for (const isa of ['base', 'portable', 'avx2', 'avx512']) {
    const objects = filesBelow(`build-core/CMakeFiles/gradline_${isa}.dir`, '.o')
    if (objects.length === 0) continue
    // -P: "name type value size"; an upper-case type is visible to the linker, as are w, v and u
    const listing = spawnSync('nm', ['-P', '--defined-only', '-A', ...objects], { cwd: root, encoding: 'utf8' }).stdout
    const inside = new RegExp(`^_Z[A-Z]*NK?8gradline3cpu${isa.length}${isa}`)
    for (const line of listing.split('\n')) {
      const [, object, name, type] = /^(\S+): (\S+) (\S)/.exec(line) ?? []
      if (type === undefined || (type === type.toLowerCase() && !'wvu'.includes(type)) || inside.test(name)) continue
      strays++
      const readable = spawnSync('c++filt', [name], { encoding: 'utf8' }).stdout?.trim() || name
      console.error(
        `${object}: ${readable}: outside of namespace gradline::cpu::${isa}; force it inline or make it static`,
      )
    }
  }
  return strays
}

if (isMain(import.meta.url)) main(() => (checkSymbols() > 0 ? 1 : 0))
