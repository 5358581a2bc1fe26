// `npm test -- ARGS`: sets up, then runs vitest once with the arguments, e.g. `npm test -- ops` or `npm test -- -t softmax`.
// With --sanitize the native core is built with the address and undefined-behaviour sanitizers, and the tests run on that.
// The plain closing line comes from scripts/closing-line.mjs.
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { build } from './build.mjs'
import { isMain, main, root, status, which } from './common.mjs'
import { setup } from './setup.mjs'

/** Runs the tests of a tree that is set up and returns the exit status. */
export const test = (args, env = process.env) =>
  status(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', ...args], { env })

/** The environment in which Node can load an addon built with the sanitizers: their run-time libraries must come first. */
export function sanitizedEnvironment() {
  const find = (name) =>
    execFileSync(process.env.CXX ?? 'c++', [`-print-file-name=${name}`], { encoding: 'utf8' }).trim()
  return {
    ...process.env,
    LD_PRELOAD: `${find('libasan.so')} ${find('libubsan.so')}`,
    ASAN_OPTIONS: 'detect_leaks=0', // Node itself ends without freeing
    UBSAN_OPTIONS: 'print_stacktrace=1',
    NODE_OPTIONS: `--require "${join(root, 'scripts/sanitized.cjs')}"`,
  }
}

if (isMain(import.meta.url)) {
  main((args) => {
    setup()
    if (process.platform === 'linux' && which('cmake')) build(['emulated']) // for test/cuda
    if (!args.includes('--sanitize')) return test(args)
    build(['native'], { sanitize: 'address' })
    return test(
      args.filter((arg) => arg !== '--sanitize'),
      sanitizedEnvironment(),
    )
  })
}
