#!/usr/bin/env node
// The program `gradline`: connects the process (arguments, streams, Ctrl-C, exit status) with main(). It decides nothing.

import { interrupted } from './command.js'
import { main } from './main.js'

// Ctrl-C once asks the command to end in good order, twice ends it at once. npx passes the signal on to a program that the
// terminal has told already, so signals that close together are one key press.
const controller = new AbortController()
let pressedAt = 0
process.on('SIGINT', () => {
  const now = performance.now()
  if (!controller.signal.aborted) {
    pressedAt = now
    controller.abort()
  } else if (now - pressedAt > 200) process.exit(interrupted)
})

// `gradline ... | head` closes the pipe: nobody reads on, so there is nothing left to do.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? 0 : 1)
  })
}

main(process.argv.slice(2), {
  print: (line) => process.stdout.write(`${line}\n`),
  note: (line) => process.stderr.write(`${line}\n`),
  progress: process.stderr,
  signal: controller.signal,
}).then(
  (status) => {
    process.exitCode = status
  },
  (error: unknown) => {
    console.error(error)
    process.exitCode = 1
  },
)
