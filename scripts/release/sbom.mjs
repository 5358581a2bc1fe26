// The bill of materials of a platform package, in CycloneDX 1.5: gradline itself and the run-time libraries that the compiler
// links into the binary.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { manifest, root } from '../common.mjs'
import { version as zig } from './zig.mjs'

const gcc = 'GPL-3.0-or-later WITH GCC-exception-3.1'
const nvidia = 'LicenseRef-NVIDIA-CUDA-EULA'
const llvm = 'Apache-2.0 WITH LLVM-exception'

export function sbomOf({ name, system }) {
  const { files, commit } = JSON.parse(readFileSync(join(root, 'npm', name, 'provenance.json'), 'utf8'))
  const component = (type, title, version, license, extra = {}) => ({
    type,
    name: title,
    version,
    licenses: [/ WITH |^LicenseRef/.test(license) ? { expression: license } : { license: { id: license } }],
    ...extra,
  })
  const linked = [
    ['node-addon-api', manifest.devDependencies['node-addon-api'], 'MIT'],
    ['node-api-headers', manifest.devDependencies['node-api-headers'], 'MIT'],
    ['libc++', `of Zig ${zig}`, llvm],
    ['libc++abi', `of Zig ${zig}`, llvm],
    ['libunwind', `of Zig ${zig}`, llvm],
    ['compiler-rt of Zig', zig, 'MIT'],
    ...(name.startsWith('cuda')
      ? [
          ['CUDA runtime, static', 'of the nvcc in provenance.json', nvidia],
          ['libstdc++', 'of the GCC under that nvcc', gcc],
        ]
      : []),
    ...(system === 'Windows' ? [['mingw-w64 run-time', `of Zig ${zig}`, 'ZPL-2.1']] : []),
  ]
  return {
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: {
      component: component('library', `@gradline/${name}`, manifest.version, manifest.license, {
        purl: `pkg:npm/%40gradline/${name}@${manifest.version}`,
        hashes: Object.values(files).map(({ sha256 }) => ({ alg: 'SHA-256', content: sha256 })),
        properties: [{ name: 'commit', value: commit }],
      }),
    },
    components: linked.map((row) => component('library', ...row)),
  }
}
