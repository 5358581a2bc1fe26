// `npm run check`: everything that must hold before a push, cheapest first; CI runs the same. With names of steps it runs
// only these (`npm run check -- style rooms`), with --no-tests all but the tests. The static steps all run, so that one
// round shows everything; build, tests and what needs them follow only when those are clean.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from './build.mjs'
import { Failure, main, manifest, root, runNode } from './common.mjs'
import { clangFormat } from './format.mjs'
import { checkRooms } from './rooms.mjs'
import { ensureNode, ensurePackages, ensureTools } from './setup.mjs'
import { sizes } from './sizes.mjs'
import { checkSymbols } from './symbols.mjs'
import { test } from './test.mjs'

const none = (count, what) => {
  if (count > 0) throw new Failure(`${count} ${what}`)
}

/** What `npm publish` would send: built files and papers, nothing else, and enough of them to be used. */
function checkPack() {
  const npm = spawnSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root, encoding: 'utf8' })
  if (npm.status !== 0) throw new Failure(`npm pack failed:\n${npm.stderr}`)
  const paths = JSON.parse(npm.stdout)[0].files.map((file) => file.path)
  const allowed = /^(package\.json|README\.md|LICENSE|dist\/(?!.*\.test\.).*\.(js|js\.map|d\.ts))$/
  const wanted = ['package.json', 'LICENSE', 'README.md', 'dist/index.js', 'dist/index.d.ts', 'dist/cli/index.js']
  const wrong = [
    ...paths.filter((path) => !allowed.test(path)).map((path) => `does not belong in the package: ${path}`),
    ...wanted.filter((path) => !paths.includes(path)).map((path) => `is missing in the package: ${path}`),
  ]
  for (const program of Object.values(manifest.bin)) {
    const file = join(root, program)
    if (existsSync(file) && !readFileSync(file, 'utf8').startsWith('#!/usr/bin/env node\n')) {
      wrong.push(`must begin with the line #!/usr/bin/env node: ${program}`)
    }
  }
  if (wrong.length > 0) throw new Failure(wrong.join('\n  '))
  console.log(`${paths.length} files`)
}

const steps = {
  style: () => {
    const failures = []
    for (const part of [
      () => runNode('node_modules/@biomejs/biome/bin/biome', ['ci', ...(process.stdout.isTTY ? [] : ['--colors=off'])]),
      () => clangFormat('--dry-run', '-Werror', '--ferror-limit=1'),
    ]) {
      try {
        part()
      } catch (error) {
        if (!(error instanceof Failure)) throw error
        failures.push(error.message)
      }
    }
    if (failures.length > 0) throw new Failure(`${failures.join('\n  ')}\n  \`npm run format\` repairs the form`)
  },
  rooms: () => none(checkRooms(), 'imports against the order of the rooms'),
  sizes: () => sizes(true),
  types: () => runNode('node_modules/typescript/bin/tsc', ['-p', 'tsconfig.check.json']),
  build: () => {
    ensureTools()
    build(undefined, { cublas: true })
  },
  symbols: () => none(checkSymbols(), 'symbols outside of their namespace'),
  pack: checkPack,
  tests: () => none(test([]), 'exit status of the tests'),
}
const firstAfterStatic = Object.keys(steps).indexOf('build')

main((args) => {
  const names = args.filter((arg) => arg !== '--no-tests')
  const unknown = names.find((name) => !(name in steps))
  if (unknown) throw new Failure(`unknown step ${unknown}; there are ${Object.keys(steps).join(', ')}`)
  ensureNode()
  ensurePackages()
  const failed = []
  for (const [index, [name, step]] of Object.entries(steps).entries()) {
    if (names.length > 0 ? !names.includes(name) : name === 'tests' && args.includes('--no-tests')) continue
    if (index >= firstAfterStatic && failed.length > 0) break
    console.log(`--- ${name}`)
    try {
      step()
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      console.error(`gradline: ${name}: ${error.message}`)
      failed.push(name)
    }
  }
  if (failed.length > 0) throw new Failure(`check failed: ${failed.join(', ')}`)
  console.log('check: all clean')
})
