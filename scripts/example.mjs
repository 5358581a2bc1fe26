// `npm run example -- NAME ARGS` and `npm run bench -- NAME ARGS`: sets up, compiles examples/ and bench/ against the built
// package, runs one file of the folder given first. Without a name it runs the suite, or lists what there is.
import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { build } from './build.mjs'
import { Failure, filesBelow, hand, main, root, runNode } from './common.mjs'
import { setup } from './setup.mjs'

/** The first comment line of a file. */
const summary = (path) => /^\/\/ ?(.*)$/m.exec(readFileSync(join(root, path), 'utf8'))?.[1] ?? ''

/** A file that exports something is there for the others. */
const isHelper = (path) => /^export /m.test(readFileSync(join(root, path), 'utf8'))

main(([folder, ...given]) => {
  const files = filesBelow(folder, '.ts').filter((path) => !isHelper(path))
  const usual = files.includes(`${folder}/suite.ts`) && !/^[^-]/.test(given[0] ?? '') ? ['suite'] : []
  const [name, ...args] = [...usual, ...given]
  const list = files.map((path) => `  ${path.slice(folder.length + 1, -3).padEnd(20)} ${summary(path)}`).join('\n')
  if (name === undefined) {
    console.log(`What can be run from ${folder}/:\n${list}`)
    return 0
  }
  if (!files.includes(`${folder}/${name}.ts`))
    throw new Failure(`no ${basename(name)} in ${folder}/; there are\n${list}`)
  setup()
  if (name === 'gates') build(['replay']) // the program it counts with
  runNode('node_modules/typescript/bin/tsc', ['-p', 'tsconfig.examples.json'])
  return hand(`build-examples/${folder}/${name}.js`, args)
})
