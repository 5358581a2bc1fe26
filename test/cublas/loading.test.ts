// What is found and what is said when something is missing. The search is kept for the life of a process, so each case runs
// in one of its own.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, renameSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { binding, control, folder, here } from './standin.js'

interface Found {
  found: boolean
  version?: string
  path?: string
  driverError?: string
  error?: string
  opened: string
}

/** load() and, where it found something, one product, in a process without any folder of its own. */
function loads(place: string | undefined, env: Record<string, string> = {}): Found {
  const script = `
    const addon = require(${JSON.stringify(binding)})
    const result = addon.load(${place === undefined ? '' : JSON.stringify(place)})
    try {
      const device = new addon.Device({})
      const [a, c] = [device.alloc(4), device.alloc(4)]
      a.write(Float32Array.of(3))
      device.ltMatmul({ m: 1, n: 1, k: 1, a, b: a, c })
      result.opened = String(c.read(new Float32Array(1))[0])
    } catch (error) {
      result.opened = error.message
    }
    console.log(JSON.stringify(result))`
  const done = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8', env: { HOME: '/nowhere', ...env } })
  if (done.status !== 0) throw new Error(`ended with ${done.signal ?? done.status}: ${done.stderr}`)
  return JSON.parse(done.stdout) as Found
}

// A machine with CUDA finds its own library where these tests leave everything away.
const bare =
  here && spawnSync('sh', ['-c', 'ldconfig -p 2>/dev/null | grep -Eq "libcublas(Lt)?.so|libcuda.so"']).status !== 0

describe.skipIf(!here)('finding cuBLAS', () => {
  beforeAll(() => void control())

  it('takes 13, and 12 where there is no 13', () => {
    expect(loads(folder())).toMatchObject({ found: true, version: '13.1.2', opened: '9' })
    const old = loads(folder({ major: 12 }), { GRADLINE_STANDIN_VERSION: '12' })
    expect(old).toMatchObject({ found: true, version: '12.1.2', opened: '9' })
    expect(old.path).toContain('.so.12')
  })

  it.skipIf(!bare)('says what was looked for', () => {
    const { found, error, opened } = loads('/nowhere')
    expect(found).toBe(false)
    for (const name of [
      '/nowhere/libcublasLt.so.13',
      '/nowhere/libcublasLt.so.12',
      'libcublasLt.so.13:',
      'libcublasLt.so.12:',
    ]) {
      expect(error).toContain(name)
    }
    expect(error).toMatch(/^cuBLAS 13 or 12 was not found; looked for:\n {2}/)
    expect(opened).toBe('cuBLAS is not loaded')
  })

  it.skipIf(!bare)('looks into CUDA_HOME and into wheels', () => {
    const home = mkdtempSync(join(tmpdir(), 'gradline-home-'))
    renameSync(folder(), join(home, 'lib64'))
    const loader = { LD_LIBRARY_PATH: folder({ major: 99 }) } // where the driver is
    expect(loads(undefined, { ...loader, CUDA_HOME: home })).toMatchObject({ found: true, opened: '9' })
    for (const wheel of ['cu13', 'cublas']) {
      const venv = mkdtempSync(join(tmpdir(), 'gradline-venv-'))
      const packages = join(venv, 'lib/python3.12/site-packages/nvidia', wheel)
      spawnSync('mkdir', ['-p', packages])
      renameSync(folder(), join(packages, 'lib'))
      expect(loads(undefined, { ...loader, VIRTUAL_ENV: venv })).toMatchObject({ found: true, opened: '9' })
    }
  })

  it.each(['cublasLtMatmulAlgoCheck', 'cublasGemmEx'])('names %s when it is missing', (without) => {
    const { found, error } = loads(folder({ without }))
    expect(found).toBe(false)
    expect(error).toMatch(new RegExp(`libcublas.so.13: lacks ${without}\\n`))
  })

  it('names a function that the driver lacks, and loads without', () => {
    const old = loads(folder({ without: 'cuStreamSynchronize' }))
    expect(old).toMatchObject({ found: true, driverError: 'the CUDA driver libcuda.so.1 lacks cuStreamSynchronize' })
    expect(old.opened).toBe(old.driverError)
  })

  it.skipIf(!bare)('loads without a driver and says so when a device is opened', () => {
    const { found, driverError, opened } = loads(folder({ driver: false }))
    expect(found).toBe(true)
    expect(driverError).toMatch(/^no CUDA driver; looked for:\n {2}.*libcuda\.so\.1/)
    expect(opened).toBe(driverError)
  })
})
