// `npm run check:native`: the native code under the sanitizers for addresses, undefined behaviour, leaks and races. Recorded
// programs run in native/replay, without Node in between, on every instruction set of this machine with 1, 2 and 3 threads,
// and are compared with ref; then damaged programs; then all tests on an addon with sanitizers. `--quick` leaves out the
// tests, `--seconds N` is the time for damage, `--seed N` varies it, other names are passed on to the tests.
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { build, replayProgram } from './build.mjs'
import { Failure, isMain, main, root, run, runNode, say } from './common.mjs'
import { setup } from './setup.mjs'
import { sanitizedEnvironment, test } from './test.mjs'

/** All recorded cases, for native/replay. */
export const casePack = 'build-replay/cases.pack'

/** Writes the pack of all recorded cases; the tree must be set up. */
export function recordCases() {
  runNode('node_modules/vitest/vitest.mjs', ['run', '--config', 'test/replay/vitest.config.ts'])
  say(`${casePack}: ${(statSync(join(root, casePack)).size / 2 ** 20).toFixed(0)} MiB`)
}

const environment = {
  address: { ASAN_OPTIONS: 'detect_leaks=1:detect_stack_use_after_return=1', UBSAN_OPTIONS: 'print_stacktrace=1' },
  thread: { TSAN_OPTIONS: 'halt_on_error=1:second_deadlock_stack=1' },
}

/** Runs the recorded cases in the program built with this sanitizer, or without one. */
function replay(sanitize, args) {
  run(replayProgram(sanitize), [casePack, ...args], {
    env: { ...process.env, ...environment[sanitize] },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}

export function checkNative({ quick = false, seconds = 20, seed = 1, tests = [] } = {}) {
  recordCases()
  for (const sanitize of [undefined, 'address', 'thread']) {
    const name = sanitize ? `${sanitize} sanitizer` : 'no sanitizer'
    build(['replay'], { sanitize })
    const began = performance.now()
    replay(sanitize, ['--threads', '1,2,3'])
    say(`recorded cases, ${name}: as ref says, ${((performance.now() - began) / 1000).toFixed(0)} s`)
  }
  replay('address', ['--threads', '2', '--damage', String(seconds), '--seed', String(seed)])
  say(`damaged programs, address sanitizer: refused or run, ${seconds} s from seed ${seed}`)
  if (quick) return
  build(['native'], { sanitize: 'address' })
  if (test(tests, sanitizedEnvironment()) !== 0) throw new Failure('tests failed on the addon with sanitizers')
}

if (isMain(import.meta.url)) {
  main((args) => {
    const value = (name, otherwise) => {
      const at = args.indexOf(name)
      if (at < 0) return otherwise
      const [, text] = args.splice(at, 2)
      if (!(Number(text) > 0)) throw new Failure(`${name}: expected a number, received ${text}`)
      return Number(text)
    }
    const [seconds, seed] = [value('--seconds', 20), value('--seed', 1)]
    setup()
    checkNative({ quick: args.includes('--quick'), seconds, seed, tests: args.filter((arg) => arg !== '--quick') })
  })
}
