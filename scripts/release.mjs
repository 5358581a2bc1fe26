// Releases, by steps that anyone can run: `node scripts/release.mjs build [TARGET ...]`, `check`, `publish --registry URL
// [--tag NAME] [--provenance]`. build compiles for each platform and packs; check looks at the tarballs as npm would send them;
// publish sends those and nothing else, the platforms first, so that the main package never names one that is not there.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build } from './build.mjs'
import { Failure, isMain, main, manifest, root, run, say } from './common.mjs'
import { checkRelease } from './release/check.mjs'
import { compile } from './release/compile.mjs'
import { compileCuda } from './release/compileCuda.mjs'
import { pack, platformManifest, tarballsFolder } from './release/packages.mjs'
import { cuda, targets } from './release/targets.mjs'

function buildRelease(names) {
  const all = [...targets, cuda]
  const unknown = names.find((name) => !all.some((target) => target.name === name))
  if (unknown) throw new Failure(`unknown target ${unknown}; there are ${all.map(({ name }) => name).join(', ')}`)
  build(['types'])
  for (const target of all) {
    if (names.length > 0 && !names.includes(target.name)) continue
    mkdirSync(join(root, 'npm', target.name), { recursive: true })
    writeFileSync(
      join(root, 'npm', target.name, 'package.json'),
      `${JSON.stringify(platformManifest(target), null, 2)}\n`,
    )
    if (target === cuda) compileCuda(target)
    else compile(target)
  }
  run(process.execPath, ['node_modules/@biomejs/biome/bin/biome', 'format', '--write', '--log-level=error', 'npm'])
  const built = pack()
  say(`packed the main package, the sources and ${built.map(({ name }) => name).join(', ')}`)
}

/** Name and version of each tarball, the main package last. */
export function tarballs() {
  const folder = join(root, tarballsFolder)
  const list = readdirSync(folder).map((file) => {
    const path = join(folder, file)
    const packed = spawnSync('tar', ['-xzOf', path, 'package/package.json'], { encoding: 'utf8' })
    return { path, manifest: JSON.parse(packed.stdout) }
  })
  return list.sort((a, b) => (a.manifest.name === manifest.name) - (b.manifest.name === manifest.name))
}

/** Publishes the tarballs; `args` are further options of npm. */
export function publish(registry, args = [], options = {}) {
  for (const { path, manifest: packed } of tarballs()) {
    say(`publishing ${packed.name}@${packed.version} to ${registry}`)
    run('npm', ['publish', path, '--access', 'public', '--registry', registry, '--ignore-scripts', ...args], options)
  }
}

const option = (args, name) => {
  const at = args.indexOf(name)
  if (at < 0) return undefined
  if (args[at + 1] === undefined) throw new Failure(`${name} needs a value`)
  return args[at + 1]
}

if (isMain(import.meta.url)) {
  main(async ([step, ...args]) => {
    if (step === 'build') return buildRelease(args)
    if (step === 'check') return checkRelease(tarballs())
    if (step !== 'publish') throw new Failure(`expected build, check or publish but received ${step ?? 'nothing'}`)
    const registry = option(args, '--registry')
    if (!registry) throw new Failure('publish needs --registry URL')
    const packed = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version
    const isPacked = ({ name }) => tarballs().some((t) => t.manifest.name === `@gradline/${name}`)
    const missing = [...targets, cuda].filter((target) => !isPacked(target))
    if (missing.length > 0) throw new Failure(`not packed: ${missing.map(({ name }) => name).join(', ')}`)
    if (tarballs().some((t) => t.manifest.version !== packed)) throw new Failure(`the tarballs are not of ${packed}`)
    await checkRelease(tarballs())
    const tag = option(args, '--tag')
    publish(registry, [...(tag ? ['--tag', tag] : []), ...(args.includes('--provenance') ? ['--provenance'] : [])])
  })
}
