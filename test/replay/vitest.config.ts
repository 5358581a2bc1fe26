// Runs the recorder (`npm run check:native` does) and nothing else: it is written against the sources and the table of cases,
// which the test runner compiles, but it is no test.
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: { include: ['test/replay/record.ts'], pool: 'forks', testTimeout: 120_000, reporters: ['dot'] },
})
