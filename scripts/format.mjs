// `npm run format`: brings TypeScript, JavaScript and JSON (Biome) and C++ (clang-format) into the one form that
// `npm run check` asks for.
import { filesBelow, isMain, main, run, runNode, say, which } from './common.mjs'
import { ensureNode, ensurePackages } from './setup.mjs'

/** clang-format over all C++ and CUDA sources; another version would format differently, so only this one is used. */
export function clangFormat(...options) {
  const program = which('clang-format-19')
  if (!program) return say('clang-format-19 is not installed: the form of native/ is left alone')
  const endings = ['.h', '.cc', '.cu', '.cuh']
  const files = [...filesBelow('native', ...endings), ...filesBelow('test', ...endings)]
  if (files.length > 0) run(program, [...options, ...files])
}

if (isMain(import.meta.url)) {
  main(() => {
    ensureNode()
    ensurePackages()
    runNode('node_modules/@biomejs/biome/bin/biome', ['check', '--write', '--linter-enabled=false'])
    clangFormat('-i')
  })
}
