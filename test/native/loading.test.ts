// What a person is told when the native part cannot be loaded: every cause, with where, expected, received and the command
// that helps. Installed packages are proven by `npm run test:pack`; here other machines are stood in for by their facts.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { checkBinary, type Found, find, localBuild, version } from '../../src/binaries.js'
import { GradlineError } from '../../src/errors.js'
import { loadError, notFound, refused, unreadable } from '../../src/loadFailure.js'
import { abi, addon, load, withCuda } from '../../src/native.js'
import { interpreterOf, type Platform, packaged, platform } from '../../src/platform.js'

const folder = mkdtempSync(join(tmpdir(), 'gradline-loading-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const glibc: Platform = { os: 'linux', cpu: 'x64', libc: 'glibc', name: 'linux-x64' }
const musl: Platform = { os: 'linux', cpu: 'x64', libc: 'musl', name: 'linux-x64-musl' }
const nowhere = join(folder, 'nothing.node')

function errorOf(body: () => unknown): GradlineError {
  try {
    body()
  } catch (error) {
    expect(error).toBeInstanceOf(GradlineError)
    return error as GradlineError
  }
  throw new Error('nothing was thrown')
}

/** A file in a folder of its own, with what was published beside it where that is given. */
function fileOf(name: string, content: string | Buffer, published?: Buffer, of = version): string {
  const own = mkdtempSync(join(folder, 'file-'))
  writeFileSync(join(own, name), content)
  if (published) {
    const facts = { bytes: published.length, sha256: createHash('sha256').update(published).digest('hex') }
    writeFileSync(join(own, 'provenance.json'), JSON.stringify({ version: of, files: { [name]: facts } }))
  }
  return join(own, name)
}

describe('the platform', () => {
  it('is told from the program that runs', () => {
    expect(platform().name).toMatch(`${process.platform}-${process.arch}`)
    expect(platform('win32', 'x64', nowhere)).toEqual({ os: 'win32', cpu: 'x64', libc: undefined, name: 'win32-x64' })
    expect(platform('linux', 'arm64', nowhere).name).toBe('linux-arm64')
  })

  it.runIf(process.platform === 'linux')('reads the C library from the ELF interpreter, without a report', () => {
    expect(interpreterOf(process.execPath)).toMatch(/\/ld-(linux|musl)-/)
    expect(['glibc', 'musl']).toContain(platform().libc)
  })

  it.each(['/lib/ld-musl-x86_64.so.1', '/lib64/ld-linux-x86-64.so.2'])('knows %s', (loader) => {
    const elf = Buffer.alloc(512)
    elf.set([0x7f, 0x45, 0x4c, 0x46, 2, 1])
    elf.writeBigUInt64LE(64n, 32)
    elf.writeUInt16LE(56, 54)
    elf.writeUInt16LE(2, 56)
    elf.writeUInt32LE(1, 64) // PT_LOAD
    elf.writeUInt32LE(3, 120) // PT_INTERP
    elf.writeBigUInt64LE(256n, 128)
    elf.writeBigUInt64LE(BigInt(loader.length + 1), 152)
    elf.write(loader, 256)
    const path = fileOf('node', elf)
    expect(interpreterOf(path)).toBe(loader)
    expect(platform('linux', 'x64', path).name).toBe(loader.includes('musl') ? 'linux-x64-musl' : 'linux-x64')
  })

  it('is unknown for a program that is no ELF file, or a broken one', () => {
    const broken = Buffer.alloc(64, 0xff)
    broken.set([0x7f, 0x45, 0x4c, 0x46, 2, 1])
    for (const content of ['', '#!/bin/sh', broken]) expect(interpreterOf(fileOf('node', content))).toBe(undefined)
  })
})

describe('the native part', () => {
  it('is of this version', () => {
    expect(addon().version).toBe(version)
    expect(addon().compiler).toMatch(/\d/)
    const contract = readFileSync(new URL('../../native/abi.h', import.meta.url), 'utf8')
    expect(contract).toContain(`kAbiVersion = ${abi};`)
  })

  it('not installed: names the package and how to get it', () => {
    const error = errorOf(() => find(glibc, nowhere))
    expect(error.code).toBe('native')
    expect(error.message).toContain('the package @gradline/linux-x64 is not installed')
    expect(error.message).toMatch(/\n {2}expected {2}@gradline\/linux-x64@\d/)
    expect(error.message).toMatch(/\n {2}received {2}no such package: optional dependencies were left out/)
    expect(error.message).toMatch(/\n {2}help {6}npm install --include=optional/)
  })

  it('installed for another C library, processor or system: says which', () => {
    const modules = join(folder, 'other/node_modules')
    mkdirSync(join(modules, '@gradline/linux-x64'), { recursive: true })
    const told = (host: Platform): string => loadError(notFound(host, version, [modules]), host).message
    expect(told(musl)).toContain('installed for another C library')
    expect(told(musl)).toContain('received  @gradline/linux-x64\n')
    expect(told(platform('linux', 'arm64', nowhere))).toContain('installed for another processor')
    expect(told(platform('win32', 'x64', nowhere))).toContain('installed for another operating system')
  })

  it('unsupported platform: lists those there are and offers to build', () => {
    for (const host of [platform('freebsd', 'x64', nowhere), platform('linux', 's390x', nowhere)]) {
      const { message } = errorOf(() => find(host, nowhere))
      expect(message).toContain(`there is no package for ${host.name}`)
      expect(message).toContain(packaged.join(', '))
      expect(message).toContain('npx gradline build-native')
    }
  })

  it('damaged: cut short, changed, emptied', () => {
    const whole = Buffer.alloc(5000, 7)
    const changed = Buffer.from(whole)
    changed[2500] = 8
    const told = (content: Buffer): string => {
      const path = fileOf('gradline.node', content, whole)
      const { message } = errorOf(() => load({ path, from: 'package' }, glibc))
      expect(message).toContain('the binary is damaged')
      expect(message).toContain(path)
      expect(message).toContain(`npm install @gradline/linux-x64@${version} --force`)
      return message
    }
    expect(told(whole.subarray(0, 1000))).toContain('received  1000 bytes')
    expect(told(changed)).toMatch(/expected {2}SHA-256 \w{64}\n {2}received {2}SHA-256 \w{64}\n/)
    expect(told(Buffer.alloc(0))).toContain('received  0 bytes')
  })

  it('gone from its package, or a folder in its place', () => {
    const told = (path: string): string => errorOf(() => load({ path, from: 'package' }, glibc)).message
    expect(told(nowhere)).toMatch(/the binary is damaged.*\n {2}expected {2}a file\n {2}received {2}nothing\n/s)
    expect(told(folder)).toMatch(/the binary is damaged.*\n {2}expected {2}a file\n {2}received {2}a folder\n/s)
  })

  // The superuser may read everything, so for it the failure is made by hand.
  it('not to be read by this user: what the system says', () => {
    const path = fileOf('gradline.node', 'x')
    chmodSync(path, 0)
    const made = loadError(unreadable(path, "EACCES: permission denied, open 'x'", 'help'), glibc)
    const error = process.getuid?.() === 0 ? made : errorOf(() => load({ path, from: 'package' }, glibc))
    expect(error.message).toMatch(/the binary may not be read.*\n {2}expected {2}a file that this user may read\n/s)
    expect(error.message).toContain('received  EACCES: permission denied')
  })

  it('built here and cut short: its own tables tell', () => {
    const path = fileOf('gradline.node', readFileSync(localBuild).subarray(0, 100_000))
    const { message } = errorOf(() => load({ path, from: 'local build' }))
    expect(message).toMatch(/the binary is damaged.*\n {2}expected {2}\d{6,} bytes\n {2}received {2}100000 bytes\n/s)
    expect(message).toMatch(/\n {2}help {6}npm run build$/)
  })

  it.runIf(process.platform === 'linux')('no library at all, or one for another system: says what the file is', () => {
    const told = (content: string | Buffer): string =>
      errorOf(() => load({ path: fileOf('gradline.node', content), from: 'local build' })).message
    expect(told('<html>404 not found</html>'.repeat(9))).toContain('a file of no known kind')
    const exe = Buffer.alloc(256)
    exe.write('MZ')
    exe.writeUInt32LE(128, 60)
    exe.write('PE\0\0', 128)
    exe.writeUInt16LE(0x8664, 132)
    expect(told(exe)).toContain('a library for win32-x64')
  })

  it('C library too old, or the other one: by what the loader of the system says', () => {
    const old =
      "/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34' not found (required by /app/gradline.node)\n    at foreign"
    const failures = [
      [refused('/app/gradline.node', old, glibc, ''), 'old C library', 'glibc 2.34 or newer'],
      [
        refused('/app/a.node', 'libc.musl-x86_64.so.1: cannot open shared object file', glibc, ''),
        'other platform',
        'a binary for glibc',
      ],
      [
        refused('/app/a.node', 'Error loading shared library ld-linux-x86-64.so.2: No such file', musl, ''),
        'other platform',
        'a binary for musl',
      ],
      [
        refused('/app/a.node', 'Error relocating /app/a.node: __memcpy_chk: symbol not found', musl, ''),
        'other platform',
        'a binary for musl',
      ],
    ] as const
    for (const [failure, reason, expected] of failures) expect(failure).toMatchObject({ reason, expected })
    expect(failures[0][0].received).not.toContain('foreign')
  })

  it('of another release: both versions and both interfaces', () => {
    for (const exports of ['{ abi: 99, version: "0.1.0" }', `{ abi: ${abi}, version: "9.9.9" }`, `{ abi: ${abi} }`]) {
      const path = fileOf('gradline.cjs', `module.exports = ${exports}`)
      const { message } = errorOf(() => load({ path, from: 'package' }, glibc))
      expect(message).toContain('the binary belongs to another release')
      expect(message).toContain(`expected  gradline ${version}, interface ${abi}`)
      expect(message).toContain(`npm install gradline@${version} @gradline/linux-x64@${version}`)
    }
  })

  it('published with another release: before it is loaded', () => {
    const path = fileOf('gradline.node', 'never loaded', Buffer.from('never loaded'), '0.0.1')
    const { message } = errorOf(() => load({ path, from: 'package' }, glibc))
    expect(message).toMatch(
      /belongs to another release.*\n {2}expected {2}gradline [\d.]+\n {2}received {2}gradline 0\.0\.1\n/s,
    )
  })

  it('refused for any other reason: what the system says, and nothing of its stack', () => {
    const failure = refused(localBuild, 'permission denied by policy\n    at foreign', platform(), 'npm run build')
    expect(failure).toMatchObject({ reason: 'refused', where: localBuild, received: 'permission denied by policy' })
    expect(loadError(failure, glibc).cause).toBe(undefined)
  })

  it('shows no frames of its own', () => {
    expect(errorOf(() => find(glibc, nowhere)).stack).not.toMatch(/native\.ts|loadFailure\.ts|node:internal/)
  })
})

describe('the CUDA part', () => {
  const told = (found: Found, body: () => void): string => {
    const error = errorOf(() => withCuda(found, body))
    expect(error.message).toContain('The CUDA part of gradline cannot be loaded: ')
    expect(error.stack).not.toMatch(/native\.ts|binaries\.ts|loadFailure\.ts|node:internal/)
    return error.message
  }
  const name = 'libgradline_cuda.so'

  it('damaged or of another release: told before it is opened', () => {
    const whole = Buffer.alloc(5000, 7)
    const never = (): never => {
      throw new Error('opened')
    }
    const found = (content: Buffer, of?: string): Found => ({ path: fileOf(name, content, whole, of), from: 'package' })
    expect(told(found(whole.subarray(0, 9)), never)).toMatch(
      /is damaged.*received {2}9 bytes\n.*install @gradline\/cuda-/s,
    )
    expect(told(found(whole, '0.0.1'), never)).toMatch(
      /another release.*received {2}gradline 0\.0\.1\n.*@gradline\/cuda-/s,
    )
    expect(told({ path: folder, from: 'local build' }, never)).toMatch(
      /received {2}a folder\n.*npm run build -- cuda$/s,
    )
    expect(() => checkBinary(found(whole), 'CUDA part', glibc)).not.toThrow()
  })

  it.runIf(process.platform === 'linux')('refused by the system or the core: what they say', () => {
    const open = (path: string): string => told({ path, from: 'local build' }, () => addon().count(path))
    expect(open(fileOf(name, ''))).toContain('a file of no known kind')
    expect(open(fileOf(name, '<html>404</html>'.repeat(9)))).toContain('a file of no known kind')
    expect(open(localBuild)).toContain('received  a library that exports no gradline_backend')
    const other = 'it was built for other ops or another interface'
    expect(
      told({ path: localBuild, from: 'package' }, () => {
        throw new Error(`x belongs to another release: ${other}`)
      }),
    ).toMatch(new RegExp(`another release.*received {2}${other}\\n.*npm install gradline@`, 's'))
  })

  it('leaves other errors as they are', () => {
    const found: Found = { path: localBuild, from: 'local build' }
    expect(() =>
      withCuda(found, () => {
        throw new Error('no NVIDIA driver')
      }),
    ).toThrow(/^no NVIDIA driver$/)
  })
})

describe('the program without a native part', () => {
  const installed = join(folder, 'app/node_modules/gradline')
  const root = fileURLToPath(new URL('../..', import.meta.url))
  cpSync(join(root, 'dist'), join(installed, 'dist'), { recursive: true })
  cpSync(join(root, 'package.json'), join(installed, 'package.json'))

  it('ends with one error that can be read, and status 1', () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(installed, 'dist/cli/index.js'), 'mnist'], {
      encoding: 'utf8',
    })
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(stderr).toMatch(/gradline: The native part of gradline cannot be loaded: /)
    expect(stderr).not.toMatch(/^\s+at /m)
  })

  it('gives a script the same error, with the lines of the script alone', () => {
    const script = join(folder, 'app/train.mjs')
    writeFileSync(script, "import { dense, model } from 'gradline'\nmodel([2], [dense(2)])\n")
    const { status, stderr } = spawnSync(process.execPath, [script], { encoding: 'utf8' })
    expect(status).toBe(1)
    expect(stderr).toContain('The native part of gradline cannot be loaded')
    expect(stderr).toContain('train.mjs:2')
    expect(stderr).not.toMatch(/at .*node_modules.gradline/)
  })
})

describe('an instruction set that the processor lacks', () => {
  it('is refused by name', () => {
    const lacking = (['avx512', 'avx2'] as const).filter((isa) => !addon().machine().isas.includes(isa))
    for (const isa of lacking) expect(() => addon().open('cpu', 1, isa)).toThrow(/instruction set/)
    expect(() => addon().open('cpu', 1, 'avx9000')).toThrow(/expected an instruction set out of/)
    expect(localBuild).toMatch(/gradline\.node$/)
  })
})
