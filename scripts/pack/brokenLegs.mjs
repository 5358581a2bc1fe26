// Binaries that are damaged, unreadable, of another release or gone: one error that says what is wrong, status 1, no frames but
// those of the person's program. It breaks what legs.mjs has installed.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { manifest } from '../common.mjs'
import { tarballs } from '../release.mjs'

const host = `${process.platform}-${process.arch}`
const here = process.execPath

/** A native part that cannot be loaded: status 1, one error, no frames but the program's own. */
export function mustExplain({ call, expect }, at, wanted, node = here, options = {}) {
  for (const [command, allowed] of [
    [[join('node_modules', 'gradline', 'dist/cli/index.js'), 'verify'], /^never$/],
    [['train.mjs'], /train\.mjs/],
  ]) {
    const { status, out, err } = call(at, node, command, options)
    const told = `${command.join(' ')} ended with ${status}: ${out}${err}`
    expect(status === 1, `expected status 1, but ${told}`)
    expect(/The native part of gradline cannot be loaded/.test(err), `no explaining error: ${told}`)
    expect(wanted.test(err), `expected ${wanted}, but ${told}`)
    const frames = err.split('\n').filter((line) => /^\s+at /.test(line) && !allowed.test(line))
    expect(frames.length === 0, `frames of others: ${frames.join('\n')}`)
    if (command[0] === 'train.mjs') return err.match(/cannot be loaded: (.*)/)?.[1] ?? ''
  }
}

/**
 * Does to a binary what disks, copies and hurried upgrades do, once as it was published and once without the file that tells
 * what was published. `told` looks at what is said then.
 */
function breakBinary(binary, told) {
  const whole = readFileSync(binary)
  const papers = join(dirname(binary), 'provenance.json')
  const published = readFileSync(papers, 'utf8')
  const otherProcessor = Buffer.from(whole)
  otherProcessor.writeUInt16LE(process.arch === 'x64' ? 183 : 62, 18) // e_machine of ELF
  const text = Buffer.from('<html>404 not found</html>\n'.repeat(9))
  const seen = []
  const after = (wanted, content, options) => {
    rmSync(binary, { recursive: true })
    if (typeof content === 'function') content()
    else writeFileSync(binary, content)
    seen.push(told(wanted, options))
  }
  const foreign = process.platform === 'linux' ? /is for another system/ : /cannot be loaded/
  after(/received\s+100000 bytes/, whole.subarray(0, 100_000))
  after(/received\s+0 bytes/, '')
  after(/received\s+\d+ bytes/, Buffer.concat([whole, text]))
  after(/SHA-256/, Buffer.from(whole).fill(0xcc, 4096, 8192))
  after(/SHA-256/, otherProcessor)
  after(/received\s+\d+ bytes/, text)
  after(/received\s+a folder/, () => mkdirSync(binary))
  // Root may read everything, so it becomes nobody.
  const user = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {}
  after(/received\s+EACCES/, () => writeFileSync(binary, whole, { mode: 0 }), user)
  writeFileSync(papers, published.replace(manifest.version, '0.0.1'))
  after(/another release[\s\S]*received\s+gradline 0\.0\.1/, whole)
  rmSync(papers)
  after(/received\s+100000 bytes/, whole.subarray(0, 100_000))
  after(/a file of no known kind/, '')
  after(foreign, otherProcessor)
  after(/a file of no known kind/, text)
  after(/received\s+a folder/, () => mkdirSync(binary))
  after(/received\s+nothing/, () => {})
  return seen
}

export function brokenLeg(world, { install }) {
  const at = install(world, 'broken')
  for (const folder of [world.folder, at]) spawnSync('chmod', ['a+rx', folder])
  const told = (wanted, options) => mustExplain(world, at, wanted, here, options)
  const seen = breakBinary(join(at, 'node_modules/@gradline', host, 'gradline.node'), told)
  rmSync(join(at, 'node_modules/@gradline'), { recursive: true })
  seen.push(told(/npm install --include=optional/))
  const without = install(world, 'without', '--omit=optional')
  seen.push(mustExplain(world, without, /optional dependencies were left out/))
  return tally(seen)
}

const tally = (lines) =>
  [...new Set(lines)].map((line) => `${lines.filter((other) => other === line).length} x ${line}`).join('\n')

/** The package for cards, where it was packed: on a machine without a card it changes nothing and says what is missing. */
export function cardsLeg(world, { install, train }) {
  const name = `@gradline/cuda-${host}`
  if (!tarballs().some(({ manifest: packed }) => packed.name === name))
    return `${name} is not packed: nothing was tried`
  const at = install(world, 'cards', name)
  for (const folder of [world.folder, at]) spawnSync('chmod', ['a+rx', folder])
  const doctor = world.must(at, here, [join('node_modules/.bin/gradline'), 'doctor'])
  world.expect(/cuda part +\/.*libgradline_cuda\.so\n/.test(doctor), doctor)
  const program = (body) => `import { device, devices } from 'gradline'\n${body}\n`
  writeFileSync(join(at, 'list.mjs'), program('console.log(devices().join())'))
  const listed = world.must(at, here, ['list.mjs']).trim()
  if (listed !== 'cpu') return `devices: ${listed}; what is said without a card was not tried`
  writeFileSync(join(at, 'open.mjs'), program("device('cuda')"))
  const { status, err } = world.call(at, here, ['open.mjs'])
  world.expect(status === 1 && /no NVIDIA driver/.test(err), `device('cuda') ended with ${status}: ${err}`)
  const trained = train(world, at, { path: here })
  const binding = program(
    "import { load } from 'gradline/cublas'\ntry { load() } catch (error) { console.log(error.code, error.message) }",
  )
  writeFileSync(join(at, 'cublas.mjs'), binding)
  const cublas = world.must(at, here, ['cublas.mjs']).trim().split('\n')[0]
  const told = (wanted, options) => {
    const devices = world.must(at, here, ['list.mjs'], options).trim()
    world.expect(devices === 'cpu', `with a broken CUDA part there are ${devices}`)
    const opened = world.call(at, here, ['open.mjs'], options)
    const says = `device('cuda') ended with ${opened.status}: ${opened.err}`
    world.expect(opened.status === 1 && /The CUDA part of gradline cannot be loaded: /.test(opened.err), says)
    world.expect(wanted.test(opened.err), `expected ${wanted}, but ${says}`)
    world.expect(!/^\s+at (?!.*open\.mjs)/m.test(opened.err), `frames of others, ${says}`)
    const examined = world.call(at, here, [join('node_modules/.bin/gradline'), 'doctor'], options)
    world.expect(examined.status === 1 && wanted.test(examined.err), `doctor: ${examined.out}${examined.err}`)
    return opened.err.match(/cannot be loaded: (.*)/)[1]
  }
  const seen = breakBinary(join(at, 'node_modules', name, 'libgradline_cuda.so'), told)
  return `${trained}\ncuBLAS: ${cublas}\n${tally(seen)}`
}
