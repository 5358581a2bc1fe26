// The package as users load it: import and require() give one and the same module, and loading it opens no device.

import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const run = (...args: string[]): string => execFileSync(process.execPath, args, { cwd: root, encoding: 'utf8' }).trim()

describe('the package', () => {
  it('is the same module by import and by require()', () => {
    const code = `
      import { createRequire } from 'node:module'
      import * as imported from 'gradline'
      const required = createRequire(import.meta.url)('gradline')
      console.log(required.Tensor === imported.Tensor, Object.keys(required).length === Object.keys(imported).length)`
    expect(run('--input-type=module', '-e', code)).toBe('true true')
  })

  it('trains from CommonJS', () => {
    const code = `
      const { adam, crossEntropy, dataset, dense, model } = require('gradline')
      const data = dataset([[0, 1], [1, 0]], [0, 1])
      model([2], [dense(2)], { threads: 1 })
        .fit(data, { loss: crossEntropy(), optimizer: adam({ lr: 0.1 }), epochs: 50, batchSize: 2 })
        .then(({ epochs }) => console.log(epochs.length, epochs[49].train.loss < epochs[0].train.loss))`
    expect(run('--input-type=commonjs', '-e', code)).toBe('50 true')
  })

  it('loads without loading native code', () => {
    const code = `
      import 'gradline'
      console.log(process.report.getReport().sharedObjects.some((path) => path.endsWith('gradline.node')))`
    expect(run('--input-type=module', '-e', code)).toBe('false')
  })
})

describe('a run that nobody awaits', () => {
  it('warns of its error and goes on', () => {
    const code = `
      import { adam, crossEntropy, dataset, dense, model } from 'gradline'
      process.on('warning', ({ message }) => console.log(message))
      const data = dataset([[0], [1]], [0, 1])
      const net = model([1], [dense(2)], { threads: 1 })
      net.fit(data, { loss: crossEntropy(), optimizer: adam(), batchSize: 3 })
      net.fit(data, { loss: crossEntropy(), optimizer: adam(), batchSize: 4 }).catch(() => console.log('caught'))`
    const lines = run('--input-type=module', '-e', code).split('\n')
    expect(lines).toContain('caught')
    expect(lines.filter((line) => line.startsWith('A training run'))).toEqual([
      'A training run that nobody awaits failed: Expected at most the 2 samples of dataset for batchSize but received 3',
    ])
  })
})
