// Lays out the packages of a release in build-release/packages/ and packs them: the main package (JavaScript and types), one
// package per platform (a binary and its papers), and the sources for those who compile. Manifests are derived here, from
// package.json and targets.mjs; `npm/<platform>/package.json` are the derived ones, kept so that they can be read.
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Failure, filesBelow, manifest, root, run } from '../common.mjs'
import { sbomOf } from './sbom.mjs'
import { targets } from './targets.mjs'

const common = ({ version, license, author, engines } = manifest) => ({ version, license, author, engines })
export const packagesFolder = 'build-release/packages'
export const tarballsFolder = 'build-release/tarballs'

export const platformManifest = ({ name, title, select }) => ({
  name: `@gradline/${name}`,
  description: `The native part of gradline for ${title}`,
  ...common(),
  ...select,
  main: 'gradline.node',
  files: ['gradline.node', 'provenance.json', 'sbom.json', 'THIRD-PARTY.md'],
  preferUnplugged: true,
})

/** What is published is not what a clone works with: no scripts, no tools, and the platforms' packages at this very version. */
export function mainManifest() {
  const { scripts, devDependencies, gypfile, binary, ...kept } = manifest
  const optionalDependencies = Object.fromEntries(targets.map(({ name }) => [`@gradline/${name}`, manifest.version]))
  // Unpacked also under Plug and Play: Node does not require() ES modules out of an archive.
  return { ...kept, preferUnplugged: true, optionalDependencies }
}

export const sourceManifest = () => ({
  name: '@gradline/source',
  description: 'The sources of the native part of gradline, for `gradline build-native`',
  ...common(),
  files: ['native', 'CMakeLists.txt'],
  dependencies: Object.fromEntries(
    ['node-addon-api', 'node-api-headers'].map((name) => [name, manifest.devDependencies[name]]),
  ),
})

const json = (value) => `${JSON.stringify(value, null, 2)}\n`

function lay(name, packed, copies, papers = {}) {
  const folder = join(root, packagesFolder, name)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const [from, to] of Object.entries({ LICENSE: 'LICENSE', ...copies })) {
    cpSync(join(root, from), join(folder, to), { recursive: true })
  }
  for (const [file, content] of Object.entries({ 'package.json': json(packed), ...papers })) {
    writeFileSync(join(folder, file), content)
  }
  mkdirSync(join(root, tarballsFolder), { recursive: true })
  run('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', join(root, tarballsFolder)], {
    cwd: folder,
  })
}

/** Packs the main package, the sources, and every platform whose binary has been built. Returns those platforms' rows. */
export function pack() {
  rmSync(join(root, tarballsFolder), { recursive: true, force: true })
  lay('gradline', mainManifest(), Object.fromEntries(['README.md', ...distFiles()].map((path) => [path, path])))
  lay(
    'source',
    sourceManifest(),
    { native: 'native', 'CMakeLists.txt': 'CMakeLists.txt' },
    {
      'README.md': `# @gradline/source\n\n${sourceManifest().description}. It is fetched by that command and needs no installing.\n`,
    },
  )
  const built = targets.filter(({ name }) => existsSync(join(root, 'npm', name, 'gradline.node')))
  if (built.length === 0) throw new Failure('no platform has been built: node scripts/release.mjs build')
  for (const target of built) {
    const from = (file) => `npm/${target.name}/${file}`
    lay(
      target.name,
      platformManifest(target),
      { [from('gradline.node')]: 'gradline.node', [from('provenance.json')]: 'provenance.json' },
      {
        'README.md': `# @gradline/${target.name}\n\n${platformManifest(target).description}. It is installed by gradline itself.\n`,
        'sbom.json': json(sbomOf(target)),
        'THIRD-PARTY.md': readFileSync(join(root, 'npm/THIRD-PARTY.md'), 'utf8'),
      },
    )
  }
  return built
}

const distFiles = () => filesBelow('dist', '.js', '.js.map', '.d.ts')
