// Files are replaced whole or not at all, and nothing is left behind.
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { writeFileAtomic } from '../../src/io/atomic.js'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'gradline-atomic-'))
})
afterEach(() => rm(folder, { recursive: true }))

describe('writeFileAtomic', () => {
  it('makes and replaces a file', async () => {
    const path = join(folder, 'a.bin')
    await writeFileAtomic(path, Uint8Array.of(1, 2, 3))
    expect([...(await readFile(path))]).toEqual([1, 2, 3])
    await writeFileAtomic(path, new Uint8Array())
    expect((await readFile(path)).length).toBe(0)
    expect(await readdir(folder)).toEqual(['a.bin'])
  })

  it('writes only the part that a view shows', async () => {
    const path = join(folder, 'a.bin')
    await writeFileAtomic(path, Uint8Array.of(1, 2, 3, 4).subarray(1, 3))
    expect([...(await readFile(path))]).toEqual([2, 3])
  })

  it.skipIf(process.platform === 'win32')('keeps permissions and follows links', async () => {
    const target = join(folder, 'target')
    await writeFile(target, 'old', { mode: 0o640 })
    await symlink(target, join(folder, 'link'))
    await writeFileAtomic(join(folder, 'link'), Uint8Array.of(7))
    expect([...(await readFile(target))]).toEqual([7])
    expect((await stat(target)).mode & 0o777).toBe(0o640)
    expect((await readdir(folder)).sort()).toEqual(['link', 'target'])
  })

  it('never shows a half-written file', async () => {
    const path = join(folder, 'a.bin')
    const versions = Array.from({ length: 20 }, (_, i) => new Uint8Array(300_000).fill(i))
    await writeFileAtomic(path, versions[0] ?? new Uint8Array())
    let writing = true
    const writers = Promise.all(versions.map((bytes) => writeFileAtomic(path, bytes))).finally(() => {
      writing = false
    })
    do {
      const seen = await readFile(path)
      expect(seen.length).toBe(300_000)
      expect(seen.every((byte) => byte === seen[0])).toBe(true)
    } while (writing)
    await writers
    expect(await readdir(folder)).toEqual(['a.bin'])
  })

  it('leaves nothing behind when it fails', async () => {
    await mkdir(join(folder, 'taken'))
    await expect(writeFileAtomic(join(folder, 'taken'), Uint8Array.of(1))).rejects.toMatchObject({
      code: 'file',
      message: `Cannot write ${join(folder, 'taken')}: it exists and is not a regular file.`,
    })
    const nowhere = join(folder, 'no', 'a.bin')
    await expect(writeFileAtomic(nowhere, Uint8Array.of(1))).rejects.toMatchObject({
      code: 'missing',
      message: `Cannot write ${nowhere}: there is no such file or folder.`,
    })
    await expect(writeFileAtomic(join(folder, 'x'.repeat(300)), Uint8Array.of(1))).rejects.toThrow(
      'the name is too long',
    )
    await expect(writeFileAtomic(join(folder, 'a\0'), Uint8Array.of(1))).rejects.toMatchObject({ code: 'file' })
    expect(await readdir(folder)).toEqual(['taken'])
  })

  it('checks its arguments', async () => {
    await expect(writeFileAtomic('', new Uint8Array())).rejects.toThrow('Expected a file name for path')
    const text = 'abc' as unknown as Uint8Array
    await expect(writeFileAtomic(join(folder, 'a'), text)).rejects.toThrow('Expected a Uint8Array for bytes')
  })
})
