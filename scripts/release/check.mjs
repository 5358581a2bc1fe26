// What must hold of the tarballs of a release, looked at as npm would send them: the files, the manifests, sizes, the symbols a
// binary needs, its checksum, the types under every module setting, and publint's opinion.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { Failure, manifest, root, run, runNode, say } from '../common.mjs'
import { compareVersions, readBinary } from './binary.mjs'
import { sha256 } from './compile.mjs'
import { cuda, filesOf, glibcFloor, macosFloor, targets } from './targets.mjs'

const megabyte = 1e6
const limits = { main: 8 * megabyte, binary: 10 * megabyte, source: 2 * megabyte, installed: 12 * megabyte }
const publint = 'publint@0.3.25'
const folder = join(root, 'build-release/check')

const files = (path) =>
  readdirSync(path, { withFileTypes: true }).flatMap((entry) => {
    const own = join(path, entry.name)
    return entry.isDirectory() ? files(own) : [own]
  })

/** Throws one Failure with every fault of every tarball. */
export async function checkRelease(tarballs) {
  rmSync(folder, { recursive: true, force: true })
  const faults = []
  const sizes = new Map()
  for (const { path, manifest: packed } of tarballs) {
    const at = join(folder, packed.name)
    mkdirSync(at, { recursive: true })
    run('tar', ['-xzf', path, '-C', at, '--strip-components=1'])
    const report = (text) => faults.push(`${packed.name}: ${text}`)
    const paths = files(at).map((file) => relative(at, file))
    const bytes = paths.reduce((total, file) => total + statSync(join(at, file)).size, 0)
    checkManifest(packed, report)
    const kind = packed.name === manifest.name ? 'main' : packed.name === '@gradline/source' ? 'source' : 'binary'
    const foreign = paths.filter((file) => !allowed[kind].test(file))
    if (foreign.length > 0) report(`files that do not belong in it: ${foreign.join(', ')}`)
    if (bytes > limits[kind]) report(`${bytes} bytes unpacked, at most ${limits[kind]} are allowed`)
    sizes.set(packed.name, bytes)
    const facts = kind === 'binary' ? checkBinary(at, packed, report) : ''
    say(`${packed.name}: ${paths.length} files, ${(bytes / megabyte).toFixed(2)} MB${facts}`)
  }
  for (const { name } of targets) {
    const together = (sizes.get(manifest.name) ?? 0) + (sizes.get(`@gradline/${name}`) ?? 0)
    if (together > limits.installed)
      faults.push(`${name}: an installation has ${together} bytes, at most ${limits.installed} are allowed`)
  }
  const main = tarballs.find(({ manifest: packed }) => packed.name === manifest.name)
  if (main) {
    faults.push(...checkTypes(join(folder, manifest.name)))
    const lint = spawnSync('npx', ['--yes', publint, 'run', main.path, '--strict'], { encoding: 'utf8', cwd: folder })
    if (lint.status !== 0) faults.push(`publint: ${lint.stdout}${lint.stderr}`)
    else say('publint: nothing to say')
  }
  if (faults.length > 0) throw new Failure(`the release is not fit:\n  ${faults.join('\n  ')}`)
  say('release: all fit')
}

const papers = 'package\\.json|README\\.md|LICENSE'
const allowed = {
  main: new RegExp(`^(${papers}|dist/(?!.*\\.test\\.).*\\.(js|js\\.map|d\\.ts))$`),
  binary: new RegExp(
    `^(${papers}|gradline\\.node|gradline_cublas\\.node|libgradline_cuda\\.so|provenance\\.json|sbom\\.json|THIRD-PARTY\\.md)$`,
  ),
  source: new RegExp(`^(${papers}|CMakeLists\\.txt|native/.*\\.(cc|h|def|cu|cuh|map))$`),
}

/** Nothing runs at an install, nothing is fetched beside the packages. */
function checkManifest(packed, report) {
  for (const field of ['scripts', 'devDependencies', 'gypfile', 'binary', 'bundledDependencies']) {
    if (packed[field]) report(`package.json must not have ${field}`)
  }
  if (packed.name === '@gradline/source') return
  if (packed.dependencies) report('it must not have dependencies')
  if (packed.name !== manifest.name) return
  const wanted = targets.map(({ name }) => `@gradline/${name}@${manifest.version}`).sort()
  const found = Object.entries(packed.optionalDependencies ?? {}).map(([name, version]) => `${name}@${version}`)
  if (wanted.join() !== found.sort().join()) report(`optionalDependencies are ${found}, expected ${wanted}`)
}

function checkBinary(at, packed, report) {
  const target = [...targets, cuda].find(({ name }) => packed.name === `@gradline/${name}`)
  if (!target) {
    report('stands in no row of scripts/release/targets.mjs')
    return ''
  }
  for (const [field, wanted] of Object.entries(target.select)) {
    if (JSON.stringify(packed[field]) !== JSON.stringify(wanted))
      report(`${field} is ${packed[field]}, expected ${wanted}`)
  }
  return filesOf(target)
    .map((file) => checkFile(join(at, file), file, target, packed, report))
    .join('')
}

function checkFile(path, file, target, packed, report) {
  const { needed, glibc, stripped, signed, fromNode, oldest } = readBinary(path)
  const others = needed.filter((name) => !target.needs.test(name))
  if (others.length > 0) report(`${file} needs ${others.join(', ')}`)
  if (glibc && compareVersions(glibc, glibcFloor) > 0) report(`${file} needs glibc ${glibc}, newer than ${glibcFloor}`)
  if (!stripped) report(`${file} has its symbol table`)
  if (target.system === 'Darwin' && target.processor === 'arm64' && !signed) report(`${file} has no signature`)
  const foreign = fromNode.filter((name) => !/^(napi|node_api)_/.test(name))
  if (foreign.length > 0) report(`${file} asks Node for ${foreign.join(', ')}`)
  if (target.system === 'Darwin' && oldest !== macosFloor) report(`${file} is for macOS ${oldest}, not ${macosFloor}`)
  const content = readFileSync(path)
  if (content.includes(Buffer.from(root))) report(`${file} names a folder of the building machine`)
  const provenance = JSON.parse(readFileSync(join(dirname(path), 'provenance.json'), 'utf8'))
  if (provenance.files[file].sha256 !== sha256(path)) report(`provenance.json is of another ${file}`)
  if (provenance.version !== packed.version) report(`provenance.json is of version ${provenance.version}`)
  return `, needs ${needed.join(' ')}${glibc ? `, glibc ${glibc}` : ''}${oldest ? `, macOS ${oldest}` : ''}${fromNode.length > 0 ? `, ${fromNode.length} functions of Node-API` : ''}`
}

/** A program of a user, compiled under each way TypeScript can look for the types. */
function checkTypes(installed) {
  const user = join(folder, 'user')
  mkdirSync(join(user, 'node_modules'), { recursive: true })
  symlinkSync(installed, join(user, 'node_modules/gradline'))
  symlinkSync(join(root, 'node_modules/@types'), join(user, 'node_modules/@types'))
  const body = `const net: Model = model([2], [dense(1)])\nexport const history: PromiseLike<History> = net.fit(
  dataset([[0, 1]], [0]), { loss: crossEntropy(), optimizer: adam() })\n`
  const names = 'adam, crossEntropy, dataset, dense, type History, type Model, model'
  writeFileSync(join(user, 'a.ts'), `import { ${names} } from 'gradline'\n${body}`)
  writeFileSync(join(user, 'b.mts'), `import { ${names} } from 'gradline'\n${body}`)
  writeFileSync(join(user, 'c.cts'), `import { ${names} } from 'gradline'\n${body}`)
  const settings = [
    ['nodenext', 'nodenext', ['a.ts', 'b.mts', 'c.cts']],
    ['node20', 'node16', ['a.ts', 'b.mts', 'c.cts']],
    ['esnext', 'bundler', ['a.ts', 'b.mts']],
    ['preserve', 'bundler', ['a.ts', 'b.mts']],
  ]
  return settings.flatMap(([module, resolution, sources]) => {
    const config = {
      compilerOptions: {
        module,
        moduleResolution: resolution,
        target: 'es2023',
        strict: true,
        noEmit: true,
        types: ['node'],
      },
      files: sources,
    }
    writeFileSync(join(user, 'tsconfig.json'), JSON.stringify(config))
    try {
      runNode(join(root, 'node_modules/typescript/bin/tsc'), ['-p', 'tsconfig.json'], { cwd: user })
      say(`types: right under module ${module}, moduleResolution ${resolution}`)
      return []
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      return [`types under module ${module}, moduleResolution ${resolution}`]
    }
  })
}
