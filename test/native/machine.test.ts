// How many cores and how much memory the process may use: control groups as made-up folders, the affinity mask in a child
// process. Threads beyond the cores are shares of the work, not threads that run.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { addon } from '../../src/native.js'

const roots: string[] = []
afterEach(() => {
  for (const root of roots.splice(0)) rmSync(root, { recursive: true })
})

/** What the addon reads of a machine with these files. */
function machineOf(files: Readonly<Record<string, string>>) {
  const root = mkdtempSync(join(tmpdir(), 'gradline-machine-'))
  roots.push(root)
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), `${text}\n`)
  }
  return addon().machine(root)
}
const unlimited = machineOf({}).cores

describe.skipIf(process.platform !== 'linux')('cores by control group', () => {
  const v2 = (path: string, limits: Readonly<Record<string, string>>) =>
    machineOf({
      'proc/self/cgroup': `0::${path}`,
      ...Object.fromEntries(Object.entries(limits).map(([at, text]) => [`sys/fs/cgroup${at}/cpu.max`, text])),
    }).cores
  const most = (cores: number): number => Math.min(unlimited, cores)

  it('version 2: a quota of whole and of fractional cores', () => {
    expect(v2('/job', { '/job': '100000 100000' })).toBe(1)
    expect(v2('/job', { '/job': '200000 100000' })).toBe(most(2))
    expect(v2('/job', { '/job': '150000 100000' })).toBe(most(2))
    expect(v2('/job', { '/job': '140000 100000' })).toBe(1)
    expect(v2('/job', { '/job': '20000 100000' })).toBe(1)
  })

  it('version 2: no limit', () => {
    expect(v2('/job', { '/job': 'max 100000' })).toBe(unlimited)
    expect(v2('/job', { '/job': 'nonsense' })).toBe(unlimited)
    expect(v2('/job', { '/job': '100000 0' })).toBe(unlimited)
    expect(v2('/', {})).toBe(unlimited)
  })

  it('version 2: the tightest of the groups around the process', () => {
    expect(v2('/a/b/c', { '/a/b/c': 'max 100000', '/a': '100000 100000' })).toBe(1)
    expect(v2('/a/b/c', { '': '50000 100000' })).toBe(1)
    expect(v2('/elsewhere', { '/a': '100000 100000' })).toBe(unlimited)
  })

  it('version 1: quota and period in two files', () => {
    const v1 = (quota: string) =>
      machineOf({
        'proc/self/cgroup': '5:memory:/job\n4:cpu,cpuacct:/job',
        'sys/fs/cgroup/cpu/job/cpu.cfs_quota_us': quota,
        'sys/fs/cgroup/cpu/job/cpu.cfs_period_us': '100000',
      }).cores
    expect(v1('100000')).toBe(1)
    expect(v1('-1')).toBe(unlimited)
  })

  it('memory of either version', () => {
    expect(machineOf({ 'proc/self/cgroup': '0::/a', 'sys/fs/cgroup/a/memory.max': '1048576' }).memory).toBe(1048576)
    expect(
      machineOf({ 'proc/self/cgroup': '5:memory:/a', 'sys/fs/cgroup/memory/a/memory.limit_in_bytes': '2097152' })
        .memory,
    ).toBe(2097152)
  })
})

describe.skipIf(process.platform !== 'linux')('cores by affinity', () => {
  it('counts the mask of the process', () => {
    const addonPath = join(import.meta.dirname, '../../build-core/Release/gradline.node')
    const script = `const a = require(${JSON.stringify(addonPath)}); console.log(a.machine().cores, a.open('cpu', 0, '').threads)`
    const printed = execFileSync('taskset', ['-c', '0', process.execPath, '-e', script], { encoding: 'utf8' })
    expect(printed.trim()).toBe('1 1')
  })
})

describe('more threads than cores', () => {
  it('are told', () => {
    expect(addon().open('cpu', 4, '', 2).describe()).toMatch(/4 threads on 2 cores$/)
    expect(addon().open('cpu', 2, '', 4).describe()).toMatch(/2 threads$/)
  })
})
