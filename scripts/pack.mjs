// `npm run test:pack`: publishes the packages of this tree to a registry on loopback and lives through what users do with them,
// in empty folders outside of the tree. Legs by name (`npm run test:pack -- managers broken`), `--list`, `--all` for the slow
// ones as well. It ends with a table of the legs and `N passed, N failed`.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from './build.mjs'
import { Failure, main, root, run, say } from './common.mjs'
import { programs } from './pack/app.mjs'
import { legs } from './pack/legs.mjs'
import { ensureTools, newerNode, startRegistry } from './pack/tools.mjs'
import { compile } from './release/compile.mjs'
import { pack, platformManifest } from './release/packages.mjs'
import { targets } from './release/targets.mjs'
import { publish, tarballs } from './release.mjs'

const host = `${process.platform}-${process.arch}`

/** A manifest alone for each platform that was not built: a registry has all that the main package names. */
function publishStubs(registry, options, folder) {
  const built = tarballs().map((t) => t.manifest.name)
  for (const target of targets) {
    if (built.includes(`@gradline/${target.name}`)) continue
    const at = join(folder, 'stubs', target.name)
    mkdirSync(at, { recursive: true })
    writeFileSync(join(at, 'package.json'), JSON.stringify(platformManifest(target)))
    run('npm', ['publish', '--registry', registry, '--access', 'public', '--silent'], { ...options, cwd: at })
  }
}

/** What a leg may use: an empty folder with the programs in it, commands there, expectations. */
function world(folder, registry) {
  // Nothing of the person's own settings, and of the machine only Node and a shell: no compiler, no Python, no make.
  const bin = join(folder, 'bin')
  mkdirSync(bin, { recursive: true })
  const node = join(bin, 'node')
  if (!existsSync(node)) spawnSync('ln', ['-s', process.execPath, node])
  for (const name of ['sh', 'env']) spawnSync('ln', ['-s', `/bin/${name}`, join(bin, name)])
  const env = {
    PATH: bin,
    HOME: join(folder, 'home'),
    npm_config_userconfig: registry.userconfig,
    npm_config_cache: join(folder, 'npm-cache'),
    npm_config_registry: registry.url,
    YARN_CACHE_FOLDER: join(folder, 'yarn-cache'),
    YARN_NPM_REGISTRY_SERVER: registry.url,
    YARN_UNSAFE_HTTP_WHITELIST: '127.0.0.1',
    YARN_ENABLE_TELEMETRY: '0',
    YARN_ENABLE_GLOBAL_CACHE: 'false',
    BUN_CONFIG_REGISTRY: registry.url,
    BUN_INSTALL_CACHE_DIR: join(folder, 'bun-cache'),
  }
  mkdirSync(env.HOME, { recursive: true })
  const call = (cwd, command, args = [], options = {}) => {
    const done = spawnSync(command, args, {
      cwd,
      encoding: 'utf8',
      timeout: 600_000,
      ...options,
      env: { ...env, ...options.env },
    })
    return { status: done.status, out: done.stdout ?? '', err: `${done.stderr ?? ''}${done.error?.message ?? ''}` }
  }
  const must = (cwd, command, args, options) => {
    const done = call(cwd, command, args, options)
    if (done.status !== 0)
      throw new Failure(`${[command, ...args].join(' ')} ended with ${done.status}:\n${done.out}${done.err}`)
    return done.out
  }
  const npmCli = spawnSync(process.execPath, ['-p', 'require("fs").realpathSync(process.argv[1])', whichNpm()], {
    encoding: 'utf8',
  })
  const npm = (cwd, ...args) => must(cwd, process.execPath, [npmCli.stdout.trim(), ...args, '--loglevel=error'])
  const app = (name) => {
    const at = mkdtempSync(join(folder, `${name}-`))
    writeFileSync(join(at, 'package.json'), '{ "name": "app", "version": "1.0.0", "private": true }\n')
    for (const [file, text] of Object.entries(programs)) writeFileSync(join(at, file), text)
    return at
  }
  const expect = (condition, text) => {
    if (!condition) throw new Failure(text)
  }
  return { folder, registry, call, must, npm, app, expect, env, newerNode, hashes: new Map() }
}

function whichNpm() {
  return spawnSync('sh', ['-c', 'command -v npm'], { encoding: 'utf8' }).stdout.trim()
}

main(async (args) => {
  const names = args.filter((arg) => !arg.startsWith('--'))
  if (args.includes('--list')) {
    for (const { name, what, slow } of legs) console.log(`${name.padEnd(14)} ${slow ? 'slow  ' : '      '}${what}`)
    return 0
  }
  const unknown = names.find((name) => !legs.some((leg) => leg.name === name))
  if (unknown) throw new Failure(`unknown leg ${unknown}; there are ${legs.map(({ name }) => name).join(', ')}`)
  const chosen = legs.filter((leg) =>
    names.length > 0 ? names.includes(leg.name) : args.includes('--all') || !leg.slow,
  )

  ensureTools()
  if (!args.includes('--packed')) {
    build(['types'])
    for (const name of new Set([host, ...chosen.flatMap(({ target }) => target ?? [])])) {
      const target = targets.find((row) => row.name === name)
      if (!target) throw new Failure(`no package is made for ${name}`)
      compile(target)
    }
    pack()
  }
  const folder = mkdtempSync(join(tmpdir(), 'gradline-pack-'))
  const upstream = spawnSync('npm', ['config', 'get', 'registry'], { cwd: root, encoding: 'utf8' }).stdout.trim()
  const registry = await startRegistry(join(folder, 'registry'), upstream)
  const results = []
  try {
    const options = {
      env: { ...process.env, npm_config_userconfig: registry.userconfig, npm_config_loglevel: 'error' },
      stdio: ['ignore', 'ignore', 'inherit'],
    }
    publish(registry.url, ['--silent'], options)
    publishStubs(registry.url, options, folder)
    const at = world(folder, registry)
    for (const leg of chosen) {
      const started = performance.now()
      let result = 'passed'
      let text = ''
      try {
        text = (await leg.run(at)) ?? ''
      } catch (error) {
        if (!(error instanceof Failure)) throw error
        result = 'failed'
        text = error.message
      }
      const seconds = ((performance.now() - started) / 1000).toFixed(1)
      results.push(result)
      say(
        `${result}  ${leg.name} (${seconds} s): ${leg.what}${text === '' ? '' : `\n  ${text.replaceAll('\n', '\n  ')}`}`,
      )
    }
  } finally {
    registry.stop()
    if (!args.includes('--keep')) {
      spawnSync('chmod', ['-R', 'u+w', folder])
      rmSync(folder, { recursive: true, force: true })
    } else say(`kept ${folder}`)
  }
  const failed = results.filter((result) => result === 'failed').length
  console.log(`${results.length - failed} passed, ${failed} failed`)
  return failed > 0 ? 1 : 0
})
