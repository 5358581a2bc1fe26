// What the test of the packages installs for itself, into build-release/pack-tools and nowhere else: a registry, package
// managers and several Node versions, all from npm, all pinned. And a registry on loopback with the packages of this tree.
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { Failure, root, run, say } from '../common.mjs'

const folder = join(root, 'build-release/pack-tools')
const own = `${process.platform}-${process.arch}`

export const bunVersion = '1.4.5'

const dependencies = {
  verdaccio: '6.10.4',
  pnpm: '12.21.0',
  yarn: '1.22.22',
  '@yarnpkg/cli-dist': '4.18.1',
  bun: bunVersion,
  node22: `npm:node-${own}@22.23.3`,
  node24: `npm:node-${own}@24.21.0`,
  node26: `npm:node-${own}@26.10.0`,
}

export const tool = (path) => join(folder, 'node_modules', path)

/** Other Node versions than the one that runs this. */
export const nodes = ['node22', 'node24', 'node26'].map((name) => ({ name, path: tool(`${name}/bin/node`) }))
/** The registry and some managers ask for a newer Node than gradline does. */
export const newerNode = nodes[0].path
export const bun = tool(`@oven/bun-${own}/bin/bun`)

export function ensureTools() {
  const manifest = `${JSON.stringify({ private: true, dependencies, overrides: { 'node-fetch': '2.7.0' } }, null, 2)}\n`
  const file = join(folder, 'package.json')
  if (existsSync(file) && readFileSync(file, 'utf8') === manifest && existsSync(newerNode)) return
  say('installing a registry, package managers and Node 22, 24, 26 from npm')
  mkdirSync(folder, { recursive: true })
  writeFileSync(file, manifest)
  run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: folder })
}

const freePort = () =>
  new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })

/** An empty registry that passes everything but our packages on to the registry npm is set to: { url, userconfig, stop }. */
export async function startRegistry(at, upstream) {
  rmSync(at, { recursive: true, force: true })
  mkdirSync(at, { recursive: true })
  const port = await freePort()
  const url = `http://127.0.0.1:${port}/`
  writeFileSync(
    join(at, 'config.yaml'),
    `storage: ./storage
max_body_size: 200mb
uplinks:
  npm:
    url: ${upstream}
packages:
  'gradline': { access: $all, publish: $all }
  '@gradline/*': { access: $all, publish: $all }
  '**': { access: $all, proxy: npm }
log: { type: stdout, format: pretty, level: error }
`,
  )
  const userconfig = join(at, 'npmrc')
  writeFileSync(userconfig, `registry=${url}\n//127.0.0.1:${port}/:_authToken=loopback\naudit=false\nfund=false\n`)
  const server = spawn(newerNode, [tool('verdaccio/bin/verdaccio'), '-c', 'config.yaml', '-l', `127.0.0.1:${port}`], {
    cwd: at,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const stop = () => server.kill()
  process.on('exit', stop)
  for (let tries = 0; tries < 300; tries++) {
    if (server.exitCode !== null) throw new Failure(`the registry ended with status ${server.exitCode}`)
    if (
      await fetch(`${url}-/ping`).then(
        ({ ok }) => ok,
        () => false,
      )
    )
      return { url, userconfig, stop }
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  stop()
  throw new Failure(`the registry does not answer at ${url}`)
}
