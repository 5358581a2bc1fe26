// A vitest reporter (named in vitest.config.ts) that follows vitest's own summary with one plain line,
// `N passed, N failed` (`, N skipped`), for people and for programs that read the end of a log. Needs the default export.
export default class ClosingLine {
  onTestRunEnd(modules, errors) {
    const counts = { passed: 0, failed: 0, skipped: 0 }
    for (const module of modules) {
      let failures = 0
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        if (state in counts) counts[state]++ // a pending test was not reached: its file or process has failed
        if (state === 'failed') failures++
      }
      // A file that could not even be loaded, or whose hooks failed, has no failed test: it counts as one.
      if (module.state() === 'failed' && failures === 0) counts.failed++
    }
    counts.failed += errors.length // outside of any test, e.g. a process of the runner that died
    const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''
    console.log(`${counts.passed} passed, ${counts.failed} failed${skipped}`)
  }
}
