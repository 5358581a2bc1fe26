// Writes src/diagnose/golden.ts: what the reference computes in double precision for every row that `gradline verify` runs,
// as weighted sums. To be run when rows change, on a tree whose tests pass: they hold the reference to formulas of its own.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { main, root, runNode } from './common.mjs'

main(async () => {
  const { device } = await import('gradline')
  const { fingerprint, runCase } = await import('../dist/diagnose/verify.js')
  const { opCases } = await import('../dist/diagnose/verifyCases.js')
  const rows = opCases.map((row) => {
    const { sums } = fingerprint(runCase(row, device('ref'), 'fp64'))
    return `  ${JSON.stringify(row.name)}: [${sums.join(', ')}],\n`
  })
  const text = `// Golden numbers of \`gradline verify\`, written by scripts/golden.mjs: for each row of verifyCases.ts one weighted sum per output
// and gradient, from the reference in double precision. They hold the reference of every platform to the one that was tested.

export const golden: Readonly<Record<string, readonly number[]>> = {
${rows.join('')}}
`
  const path = join(root, 'src/diagnose/golden.ts')
  writeFileSync(path, text)
  runNode('node_modules/@biomejs/biome/bin/biome', ['format', '--write', path])
})
