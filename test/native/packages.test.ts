// The manifests that a release derives, and the table of platforms that the loader, the release and the folder npm/ share.

import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { localBuild, version } from '../../src/binaries.js'
import { packaged, platform } from '../../src/platform.js'

// The scripts are plain JavaScript without types.
const packages: string = new URL('../../scripts/release/packages.mjs', import.meta.url).href
const binaries: string = new URL('../../scripts/release/binary.mjs', import.meta.url).href
const table: string = new URL('../../scripts/release/targets.mjs', import.meta.url).href
type Manifest = Record<string, unknown>
const { mainManifest, platformManifest, sourceManifest } = (await import(packages)) as {
  mainManifest: () => Manifest
  platformManifest: (target: unknown) => Manifest
  sourceManifest: () => Manifest
}
const { targets, cuda } = (await import(table)) as { targets: { name: string }[]; cuda: { name: string } }
const { readBinary } = (await import(binaries)) as {
  readBinary: (path: string) => { format: string; needed: string[]; fromNode: string[] }
}
const folder = fileURLToPath(new URL('../../npm/', import.meta.url))

describe('the packages', () => {
  it('are for the platforms that the loader knows', () => {
    expect(targets.map(({ name }) => name).sort()).toEqual([...packaged].sort())
  })

  it('have manifests as they are derived', () => {
    const folders = readdirSync(folder, { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? [e.name] : []))
    expect(folders.sort()).toEqual([...packaged, cuda.name].sort())
    for (const target of [...targets, cuda]) {
      const kept: unknown = JSON.parse(readFileSync(`${folder}${target.name}/package.json`, 'utf8'))
      expect(kept).toEqual(platformManifest(target))
    }
  })

  it('run nothing at an install and need nothing but the platform', () => {
    const main = mainManifest()
    for (const field of ['scripts', 'dependencies', 'devDependencies', 'gypfile', 'binary'])
      expect(main).not.toHaveProperty(field)
    expect(main.optionalDependencies).toEqual(
      Object.fromEntries(packaged.map((name) => [`@gradline/${name}`, version])),
    )
    expect(sourceManifest()).not.toHaveProperty('scripts')
  })
})

describe.runIf(process.platform === 'linux' && platform().libc === 'glibc')('a binary', () => {
  it('asks the program that loads it for Node-API, and for nothing else', () => {
    const { format, needed, fromNode } = readBinary(localBuild)
    expect(format).toBe('ELF')
    expect(needed).toContain('libc.so.6')
    expect(fromNode.length).toBeGreaterThan(50)
    expect(fromNode.filter((name) => !/^(napi|node_api)_/.test(name))).toEqual([])
  })
})
