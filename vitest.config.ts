// Settings of the test runner. Forked processes, so that a native crash ends one test file and not the run.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    testTimeout: 60_000,
    reporters: ['default', './scripts/closing-line.mjs'],
  },
})
