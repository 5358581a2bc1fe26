// `npm run test:cuda [-- family ...]`: what can be proven of the CUDA backend without a card. First every kernel on the
// emulated card against the oracle and the host code with every call failing once, under the address sanitizer; then whole
// programs on the emulated card; then, where there is an nvcc, every kernel compiled for the architectures of a release: no
// warning, no spill, tensor-core instructions where they belong, and registers and shared memory as committed in
// native/cuda/resources.json (`--update` writes it anew). `--emulate`, `--threads`, `--programs` and `--compile` run one part,
// `--coverage` counts the lines of the host code.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import {
  architectures,
  build,
  buildForEmulator,
  emulatedLibrary,
  findNvcc,
  nvccOptions,
  replayProgram,
} from './build.mjs'
import { casePack, recordCases } from './check-native.mjs'
import { Failure, filesBelow, isMain, main, root, run, runNode, say, which } from './common.mjs'
import { kernelsIn } from './cubin.mjs'
import { setup } from './setup.mjs'

const table = join(root, 'native/cuda/resources.json')

/** Kernels and host code on the emulated card: test/cuda/*.cc. */
function emulate(families) {
  buildForEmulator('cuda_test')
  run(join(root, 'build-cuda/cuda_test'), families)
}

/** Lanes of one card, a thread each, under the thread sanitizer. */
function threads() {
  buildForEmulator('cuda_test', 'build-cuda-threads', ['-DGRADLINE_THREADS=ON'])
  run(join(root, 'build-cuda-threads/cuda_test'), ['lanes'])
}

/** Whole programs: those of the table of cases against ref, one by one, then what test/cuda/*.ts asks. */
function programs() {
  setup()
  build(['replay', 'emulated'])
  recordCases()
  run(replayProgram(), [casePack, '--backend', emulatedLibrary], { stdio: ['ignore', 'pipe', 'inherit'] })
  say('recorded cases on the emulated card: as ref says')
  runNode('node_modules/vitest/vitest.mjs', ['run', 'test/cuda'])
}

/** Lines of the host code that run when cuda_test does. */
function coverage() {
  const into = 'build-cuda-coverage'
  if (!which('gcovr')) throw new Failure('gcovr is not installed')
  buildForEmulator('cuda_test', into, ['-DGRADLINE_COVERAGE=ON', '-DGRADLINE_SANITIZE=OFF'])
  for (const file of filesBelow(into, '.gcda')) rmSync(join(root, file))
  run(join(root, into, 'cuda_test'), ['host', 'feed', 'lanes', 'cublas'])
  run('gcovr', ['--root', '.', '--filter', 'native/cuda/[^/]+$', '--fail-under-line', '90', into])
}

/** A kernel's mangled name as it stands in its file: "Unary<exp>". */
function readable(names) {
  const codes = [...readFileSync(join(root, 'native/ops.def'), 'utf8').matchAll(/^GL_OP\((\w+),/gm)].map(([, op]) => op)
  const lines = spawnSync('c++filt', { input: names.join('\n'), encoding: 'utf8' }).stdout.split('\n')
  return lines.map((line) =>
    line
      .replace(/^void gradline::cuda::entry<(.*)>\(gradline::cuda::Argument<.*$/, '$1')
      .replace(/gradline::cuda::(_GLOBAL__N__\w+::|\(anonymous namespace\)::)?/g, '')
      .replace(/\(gradline::OpCode\)(\d+)/g, (_, code) => codes[Number(code)])
      .replace(/\((?:int|bool)\)/g, '')
      .trim(),
  )
}

/** What ptxas says of each kernel: { 'sm_80 elementwise Unary<exp>': [registers, bytes of shared memory] }. */
function resourcesOf(file, report) {
  const kernels = []
  for (const line of report.split('\n')) {
    const entry = /Compiling entry function '(\S+)' for '(\w+)'/.exec(line)
    if (entry) kernels.push({ name: entry[1], sm: entry[2], shared: 0 })
    const kernel = kernels.at(-1)
    const local = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line)
    if (kernel && local?.slice(1).some((bytes) => bytes !== '0')) kernel.local = local[0]
    const used = /Used (\d+) registers/.exec(line)
    if (kernel && used) {
      kernel.registers = Number(used[1])
      kernel.shared = Number(/(\d+) bytes smem/.exec(line)?.[1] ?? 0)
    }
  }
  const names = readable(kernels.map(({ name }) => name))
  const family = basename(file, '.cu')
  const rows = kernels.map(({ sm, registers, shared }, i) => [`${sm} ${family} ${names[i]}`, [registers, shared]])
  const spilled = kernels.flatMap(({ sm, local }, i) => (local ? [`${sm} ${family} ${names[i]}: ${local}`] : []))
  return { rows, spilled }
}

/** Kernels of an object that lack what makes them fast: tiles of tensor cores without their products or copies that land later. */
function wantingIn(object) {
  const kernels = kernelsIn(readFileSync(join(root, object)))
  const names = readable(kernels.map(({ name }) => name))
  return kernels.flatMap(({ counts }, i) => {
    const isOf = names[i].startsWith('MmaTile<')
    const wrong = Object.entries(counts).filter(([, count]) => count > 0 !== isOf)
    return wrong.map(([what, count]) => `${names[i]}: ${count} of ${what}`)
  })
}

/** Compiles every kernel file and compares with the committed table. */
function compile(update) {
  const nvcc = findNvcc()
  if (!nvcc) return say('nvcc is not installed: the kernels are not compiled for the card')
  const version = /release ([\d.]+)/.exec(spawnSync(nvcc, ['--version'], { encoding: 'utf8' }).stdout)?.[1]
  const launcher = which('ccache') ? ['ccache', nvcc] : [nvcc]
  mkdirSync(join(root, 'build-cuda/nvcc'), { recursive: true })
  const found = {}
  const spilled = []
  const wanting = []
  let failed = 0
  for (const file of filesBelow('native/cuda/kernels', '.cu')) {
    const [command, ...before] = launcher
    const object = `build-cuda/nvcc/${basename(file)}.o`
    const done = spawnSync(command, [...before, ...nvccOptions, ...['-Xptxas', '-v'], ...['-c', file, '-o', object]], {
      cwd: root,
      encoding: 'utf8',
    })
    if (done.status !== 0) {
      failed++
      console.error(done.stderr)
      continue
    }
    const { rows, spilled: local } = resourcesOf(file, done.stderr)
    Object.assign(found, Object.fromEntries(rows))
    spilled.push(...local)
    wanting.push(...wantingIn(object))
  }
  if (failed > 0) throw new Failure(`nvcc refuses ${failed} kernel files`)
  if (spilled.length > 0) throw new Failure(`local memory instead of registers:\n  ${spilled.join('\n  ')}`)
  if (wanting.length > 0)
    throw new Failure(`not the instructions that belong into a kernel:\n  ${wanting.join('\n  ')}`)
  const kernels = Object.fromEntries(Object.entries(found).sort(([a], [b]) => (a < b ? -1 : 1)))
  const most = Math.max(...Object.values(kernels).map(([registers]) => registers))
  say(
    `nvcc ${version}: ${Object.keys(kernels).length / architectures.length} kernels for ${architectures.join(', ')} and PTX, at most ${most} registers, no spills, tensor cores where they are meant`,
  )
  if (update) {
    const text = JSON.stringify({ nvcc: version, kernels }, null, 2)
    writeFileSync(table, `${text.replace(/\[\s+(\d+),\s+(\d+)\s+\]/g, '[$1, $2]')}\n`) // a row to a line
    return
  }
  const known = JSON.parse(readFileSync(table, 'utf8'))
  if (known.nvcc !== version) return say(`the table of resources is of nvcc ${known.nvcc}: not compared`)
  const changes = []
  for (const name of new Set([...Object.keys(known.kernels), ...Object.keys(kernels)])) {
    const show = (row) => (row ? `${row[0]} registers, ${row[1]} B shared` : 'no such kernel')
    if (show(known.kernels[name]) !== show(kernels[name]))
      changes.push(`${name}: ${show(known.kernels[name])} -> ${show(kernels[name])}`)
  }
  if (changes.length > 0)
    throw new Failure(`not as in native/cuda/resources.json (--update takes it over):\n  ${changes.join('\n  ')}`)
}

const parts = ['--emulate', '--threads', '--programs', '--compile']

if (isMain(import.meta.url)) {
  main((args) => {
    if (args.includes('--coverage')) return coverage()
    const families = args.filter((arg) => !arg.startsWith('--'))
    const named = parts.filter((part) => args.includes(part))
    const wanted = named.length > 0 ? named : families.length > 0 ? ['--emulate'] : parts
    if (wanted.includes('--emulate')) emulate(families)
    if (wanted.includes('--threads')) threads()
    if (wanted.includes('--programs')) programs()
    if (wanted.includes('--compile')) compile(args.includes('--update'))
  })
}
