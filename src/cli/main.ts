// Finds the sub-command, and turns what goes wrong into a line of text and an exit status: 2 for a command line that is not
// understood, 1 for a task that failed. A new command is a file of its own and an entry in the list below.

import { version } from '../binaries.js'
import { GradlineError } from '../errors.js'
import { buildNative } from './buildNative.js'
import { type Command, type Context, helpOf, parseOptions, UsageError, unknown } from './command.js'
import { doctor } from './doctor.js'
import { mnist } from './mnist.js'
import { verify } from './verify.js'

const commands: readonly Command[] = [mnist, doctor, verify, buildNative]

/** Runs a command line (without the program's own name) and gives the exit status. */
export async function main([first, ...rest]: readonly string[], context: Context): Promise<number> {
  const command = commands.find(({ name }) => name === first)
  try {
    if (command) {
      if (rest.some((arg) => arg === '--help' || arg === '-h')) {
        context.print(helpOf(command))
        return 0
      }
      return await command.run(parseOptions(command.options, rest), context)
    }
    if (first === undefined || first === '--help' || first === '-h' || first === 'help') context.print(help())
    else if (first === '--version' || first === '-v') context.print(version)
    else if (first.startsWith('-')) throw unknown('option', first, ['--help', '--version'])
    else {
      throw unknown(
        'command',
        first,
        commands.map(({ name }) => name),
      )
    }
    return 0
  } catch (error) {
    if (error instanceof UsageError) {
      context.note(`gradline: ${error.message}\nHelp: gradline ${command ? `${command.name} ` : ''}--help`)
      return 2
    }
    // The stack of a mistake in the library is worth seeing; that of a message for people is not.
    if (!(error instanceof GradlineError)) throw error
    context.note(`gradline: ${error.message}`)
    return 1
  }
}

function help(): string {
  const width = Math.max(...commands.map(({ name }) => name.length))
  return [
    `gradline ${version}: trains neural networks`,
    '',
    'Commands:',
    ...commands.map(({ name, summary }) => `  gradline ${name.padEnd(width)}  ${summary}`),
    '',
    '  gradline COMMAND --help for the options of a command, gradline --version for the version',
  ].join('\n')
}
