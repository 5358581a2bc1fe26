// `gradline mnist` as a program of its own: small runs, what they print where, the file they write, and Ctrl-C.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { main } from '../../src/cli/main.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
let folder = ''

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'gradline-cli-'))
})

afterAll(() => rmSync(folder, { recursive: true }))

async function train(...args: string[]): Promise<{ status: number; out: string[]; report: Record<string, unknown> }> {
  const out: string[] = []
  const json = join(folder, 'out.json')
  const status = await main(['mnist', '--json', json, ...args], {
    print: (line) => out.push(line),
    note: () => {},
    progress: { write: () => {} },
    signal: new AbortController().signal,
  })
  return { status, out, report: JSON.parse(readFileSync(json, 'utf8')) as Record<string, unknown> }
}

describe('gradline mnist', () => {
  it('writes what was reached, and ends with the test accuracy', async () => {
    const { status, out, report } = await train('--train', '200', '--epochs', '2', '--seed', '3', '--threads', '1')
    expect(status).toBe(0)
    expect(report).toMatchObject({
      epochs: 2,
      parameters: 433_890,
      threads: 1,
      seed: 3,
      batchSize: 100,
      trainSamples: 200,
      validationSamples: 1000,
      testSamples: 10_000,
    })
    for (const name of ['testAccuracy', 'testLoss', 'seconds', 'samplesPerSecond', 'memoryBytes']) {
      expect(report[name], name).toBeGreaterThan(0)
    }
    expect(report).not.toHaveProperty('stopped')
    const history = report.history as Record<string, number>[]
    expect(history.map(({ epoch }) => epoch)).toEqual([1, 2])
    for (const epoch of history) {
      expect(Object.keys(epoch)).toEqual([
        'epoch',
        'loss',
        'accuracy',
        'validationLoss',
        'validationAccuracy',
        'samplesPerSecond',
        'seconds',
      ])
      for (const value of Object.values(epoch)) expect(value).toBeGreaterThan(0)
    }
    expect(history[1]?.loss).toBeLessThan(history[0]?.loss as number)
    expect(out.at(-1)).toBe(`test accuracy ${(report.testAccuracy as number).toFixed(4)}`)
    expect(readdirSync(folder)).toEqual(['out.json'])
  })

  it('gives the same result for any number of threads, and another for another seed', async () => {
    const losses: unknown[] = []
    for (const [seed, threads] of ['11', '12', '21']) {
      const args = ['--train', '130', '--batch', '50', '--epochs', '1', '--seed', seed, '--threads', threads]
      losses.push((await train(...(args as string[]))).report.testLoss)
    }
    expect(losses[0]).toBe(losses[1])
    expect(losses[0]).not.toBe(losses[2])
  })
})

describe('gradline mnist as a process', () => {
  // The sources cannot be run without compiling; `npm test` has built dist/ before.
  const begin = (...args: string[]): { child: ChildProcess; ended: Promise<[number | null, string, string]> } => {
    const child = spawn(process.execPath, [join(root, 'dist/cli/index.js'), ...args], { cwd: root })
    let out = ''
    let err = ''
    child.stdout.on('data', (data) => {
      out += data
    })
    child.stderr.on('data', (data) => {
      err += data
    })
    return { child, ended: new Promise((resolve) => child.on('close', (code) => resolve([code, out, err]))) }
  }
  const firstEpoch = (child: ChildProcess): Promise<void> =>
    new Promise((resolve) => {
      child.stderr?.on('data', (data) => {
        if (String(data).includes('epoch=1/')) resolve()
      })
    })

  it('keeps results and progress apart', async () => {
    const [code, out, err] = await begin('mnist', '--train', '100', '--epochs', '1').ended
    expect(code).toBe(0)
    expect(out).toMatch(/^test loss \d\.\d{4}\ntest accuracy 0\.\d{4}\n$/)
    expect(err.indexOf('device')).toBeLessThan(err.indexOf('epoch=1/1 '))
    for (const fact of ['data ', 'model ', 'memory ', 'conv2d1']) expect(err).toContain(fact)
    expect(err).not.toMatch(/[^\n\x20-\x7e]/)
  })

  it('stops at a step boundary at Ctrl-C and tells what was reached', async () => {
    const json = join(folder, 'stopped.json')
    const { child, ended } = begin('mnist', '--train', '2000', '--epochs', '10000', '--json', json)
    await firstEpoch(child)
    child.kill('SIGINT')
    const [code, out, err] = await ended
    expect(code).toBe(130)
    expect(err).toMatch(/\n {2}stopped (in epoch \d+ of 10000 after step \d+ of 20: loss .*|after epoch \d+)\n$/)
    expect(out).toMatch(/test accuracy 0\.\d{4}\n$/)
    const report = JSON.parse(readFileSync(json, 'utf8')) as Record<string, unknown>
    expect(report.stopped).toEqual(expect.any(String))
    expect(report.history).toHaveLength(report.epochs as number)
    expect(report.seconds).toBeGreaterThan(0)
  })

  it('answers a wrong command line with status 2 and a failure with status 1, without a stack', async () => {
    const [usage, , usageText] = await begin('mnits').ended
    expect([usage, usageText]).toEqual([
      2,
      'gradline: unknown command mnits. Did you mean mnist?\nHelp: gradline --help\n',
    ])
    const [failure, , failureText] = await begin('mnist', '--json', '/no/such/folder/x').ended
    expect(failure).toBe(1)
    expect(failureText.trim().split('\n')).toHaveLength(1)
  })
})
