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
