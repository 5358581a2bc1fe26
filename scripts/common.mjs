// What the other scripts share: the root folder, running a command, and one kind of failure that is shown without a stack.
import { spawn, spawnSync } from 'node:child_process'
import { accessSync, constants, readdirSync, readFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))
export const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

/** A failure that is explained by its text alone. */
export class Failure extends Error {}

/** Says what happens next, apart from the output of the commands. */
export const say = (text) => console.log(`gradline: ${text}`)

/** The path of a program on PATH, or undefined. */
export function which(program) {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return join(folder, program)
    } catch {}
  }
  return undefined
}

/** Runs a command in the root folder with this terminal and returns its exit status (1 when a signal ended it). */
export function status(command, args, options = {}) {
  const done = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options })
  if (done.error) throw new Failure(`cannot run ${command}: ${done.error.message}`)
  if (done.signal) console.error(`gradline: ${command} was ended by ${done.signal}`)
  return done.status ?? 1
}

/** Runs a command as `status` does; anything but success is a Failure. */
export function run(command, args, options) {
  const code = status(command, args, options)
  if (code !== 0) {
    const words = [command, ...args].map((word) => word.replace(process.execPath, 'node')).slice(0, 4)
    throw new Failure(`failed with status ${code}: ${words.join(' ')}${args.length > 3 ? ' ...' : ''}`)
  }
}

/** Runs a script file with this Node, e.g. the entry file of an installed tool. */
export const runNode = (file, args, options) => run(process.execPath, [file, ...args], options)

/** Runs a script file for a person, in the folder they are in: Ctrl-C reaches it and it decides how to end. */
export function hand(file, args) {
  const cwd = process.env.INIT_CWD ?? root
  const child = spawn(process.execPath, [join(root, file), ...args], { cwd, stdio: 'inherit' })
  process.on('SIGINT', () => {}) // the terminal has sent it to the child as well
  process.on('SIGTERM', () => child.kill('SIGTERM'))
  return new Promise((resolve, reject) => {
    child.on('error', (error) => reject(new Failure(`cannot run ${file}: ${error.message}`)))
    child.on('exit', (code) => resolve(code ?? 1))
  })
}

/** All files below a folder of the repository whose names end as asked, as paths from the root, sorted. */
export function filesBelow(folder, ...endings) {
  let entries
  try {
    entries = readdirSync(join(root, folder), { withFileTypes: true })
  } catch {
    return []
  }
  return entries
    .flatMap((entry) => {
      const path = `${folder}/${entry.name}`
      if (entry.isDirectory()) return filesBelow(path, ...endings)
      return endings.some((ending) => entry.name.endsWith(ending)) ? [path] : []
    })
    .sort()
}

/** True when the module at this URL is the script that was started. */
export const isMain = (url) => process.argv[1] !== undefined && fileURLToPath(url) === process.argv[1]

/** Runs the body of a script: a Failure becomes one line and exit status 1. */
export async function main(body) {
  try {
    process.exitCode = (await body(process.argv.slice(2))) ?? 0
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    console.error(`gradline: ${error.message}`)
    process.exitCode = 1
  }
}
