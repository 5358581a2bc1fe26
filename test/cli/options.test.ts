// What the command line program answers to command lines, understood or not. Training itself is in mnist.test.ts.

import { describe, expect, it } from 'vitest'
import type { Context } from '../../src/cli/command.js'
import { integerOption, parseOptions, UsageError } from '../../src/cli/command.js'
import { main } from '../../src/cli/main.js'

/** Runs a command line and gathers what it writes. */
async function gradline(...args: string[]): Promise<{ status: number; out: string; err: string }> {
  const out: string[] = []
  const err: string[] = []
  const context: Context = {
    print: (line) => out.push(line),
    note: (line) => err.push(line),
    progress: { write: (text) => err.push(text) },
    signal: new AbortController().signal,
  }
  const status = await main(args, context)
  return { status, out: out.join('\n'), err: err.join('\n') }
}

describe('gradline', () => {
  it('tells its commands, on stdout', async () => {
    for (const args of [[], ['--help'], ['-h'], ['help']]) {
      const { status, out, err } = await gradline(...args)
      expect({ status, err }).toEqual({ status: 0, err: '' })
      expect(out).toMatch(/gradline mnist +trains/)
    }
  })

  it('tells its version', async () => {
    expect((await gradline('--version')).out).toMatch(/^\d+\.\d+\.\d+/)
  })

  it('tells the options of a command', async () => {
    const { status, out } = await gradline('mnist', '--help')
    expect(status).toBe(0)
    for (const option of ['--epochs N', '--batch N', '--train N', '--seed N', '--threads N', '--json FILE']) {
      expect(out).toContain(option)
    }
    for (const line of out.split('\n')) expect(line.length).toBeLessThanOrEqual(90)
  })

  it.each([
    [['mnits'], 'unknown command mnits. Did you mean mnist?'],
    [['xylophone'], 'unknown command xylophone. Known: mnist'],
    [['--versoin'], 'unknown option --versoin. Did you mean --version?'],
    [['mnist', '--epoch', '3'], 'unknown option --epoch. Did you mean --epochs?'],
    [['mnist', '-e', '3'], 'unknown option -e.'],
    [['mnist', '--zzzzzzzzzzzz'], 'unknown option --zzzzzzzzzzzz. Known: --epochs, --batch'],
    [['mnist', '3'], 'unexpected argument "3"'],
    [['mnist', '--epochs'], '--epochs needs a value: --epochs N'],
    [['mnist', '--json='], '--json needs a value: --json FILE'],
    [['mnist', '--epochs', '0'], '--epochs: expected a whole number of at least 1 but received "0"'],
    [['mnist', '--epochs', '1.5'], '--epochs: expected a whole number of at least 1 but received "1.5"'],
    [['mnist', '--epochs', '--seed'], '--epochs: expected a whole number of at least 1 but received "--seed"'],
    [['mnist', '--epochs=1e3'], 'received "1e3"'],
    [['mnist', '--seed', '-1'], '--seed: expected a whole number of at least 0 but received "-1"'],
    [['mnist', '--seed', '9007199254740993'], '--seed: expected a whole number'],
    [['mnist', '--threads', '5000'], '--threads: expected a whole number from 1 to 1024 but received "5000"'],
    [['mnist', '--train', '60000'], '--train: expected a whole number from 1 to 59000 (1000 are held out)'],
    [['mnist', '--train', '50'], '--batch: expected at most the 50 training samples but received 100'],
    [['mnist', '--batch', '55001'], '--batch: expected at most the 55000 training samples but received 55001'],
  ])('answers %j with status 2 and one clear message', async (args, message) => {
    const { status, out, err } = await gradline(...args)
    expect(err).toContain(message)
    expect(err).toMatch(/\nHelp: gradline (mnist )?--help$/)
    expect(err.split('\n')).toHaveLength(2)
    expect({ status, out }).toEqual({ status: 2, out: '' })
  })

  it('answers an error of the library with its message and status 1, before any training', async () => {
    const { status, out, err } = await gradline('mnist', '--json', '/no/such/folder/out.json')
    expect({ status, out }).toEqual({ status: 1, out: '' })
    expect(err).toBe('gradline: Cannot write /no/such/folder/out.json: there is no such file or folder.')
  })
})

describe('parseOptions', () => {
  const options = [
    { name: 'epochs', value: 'N', help: '' },
    { name: 'json', value: 'FILE', help: '' },
  ]

  it('reads both forms; the last of several counts', () => {
    expect(parseOptions(options, ['--epochs', '3', '--json=a=b', '--epochs=4'])).toEqual({ epochs: '4', json: 'a=b' })
    expect(parseOptions(options, [])).toEqual({})
  })

  it('takes no option from the prototype of objects', () => {
    expect(() => parseOptions(options, ['--__proto__=1'])).toThrow(UsageError)
    expect(() => parseOptions(options, ['--constructor', '1'])).toThrow(UsageError)
  })
})

describe('integerOption', () => {
  it('gives the fallback for an option that is not there, and checks one that is', () => {
    expect(integerOption({}, 'epochs', 20)).toBe(20)
    expect(integerOption({ epochs: '3' }, 'epochs', 20)).toBe(3)
    for (const text of ['', ' ', '3x', '0x10', 'NaN', 'Infinity', '-3', '3.0']) {
      expect(() => integerOption({ epochs: text }, 'epochs', 20)).toThrow(UsageError)
    }
  })
})
