// Lines of each file that has a budget, and of each folder. A file above its budget is printed with a note, so that it is
// split or explained in review; it is no error. `--notes` prints only those.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { filesBelow, isMain, main, root } from './common.mjs'

/** [what, which paths, lines]; `together` counts the matching files as one. */
const budgets = [
  { what: 'planner', paths: /^src\/plan\.ts$/, lines: 150 },
  { what: 'gradient walk', paths: /^src\/grad\.ts$/, lines: 150 },
  { what: 'kernel file', paths: /^native\/(ref|cpu\/kernels|cpu\/gemm|cuda\/kernels)\//, lines: 300 },
  { what: 'all glue', paths: /^native\/addon\//, lines: 800, together: true },
]

const countLines = (path) => readFileSync(join(root, path), 'utf8').split('\n').length - 1

export function sizes(onlyNotes) {
  const files = [...filesBelow('src', '.ts'), ...filesBelow('native', '.h', '.cc', '.def', '.cu', '.cuh')]
  const lines = new Map(files.map((path) => [path, countLines(path)]))
  const sum = (paths) => paths.reduce((total, path) => total + lines.get(path), 0)
  const line = (count, name, note = '') => console.log(`${String(count).padStart(6)}  ${name}${note}`)
  for (const { what, paths, lines: budget, together } of budgets) {
    const matching = files.filter((path) => paths.test(path))
    const rows = together ? [[what, sum(matching)]] : matching.map((path) => [path, lines.get(path)])
    for (const [name, count] of rows) {
      if (count > budget) line(count, name, `  above its budget of ${budget} (${what}): split or explain`)
      else if (!onlyNotes) line(count, name, ` (${what}, ${budget})`)
    }
  }
  if (onlyNotes) return
  for (const folder of new Set(files.map(dirname))) {
    line(sum(files.filter((path) => dirname(path) === folder)), `${folder}/`)
  }
  line(sum(files), 'src and native together')
}

if (isMain(import.meta.url)) main((args) => sizes(args.includes('--notes')))
