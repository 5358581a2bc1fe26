// `npm run gpu:verify`: what only a machine with a card can show, in at most 8 minutes: every recorded case on the card as
// ref computes it, products on tensor cores within their bounds, NVIDIA's compute-sanitizer on some of them, equal bits from run
// to run and with and without graphs, and then times beside ceilings and PyTorch of the same run. One JSON file under bench/results/. The twin without Node is
// `build-core/replay build-replay/cases.pack --backend build-core/Release/libgradline_cuda.so`. `--library PATH` takes
// another library, such as the emulated one, to try this script itself: small sizes, nothing is written.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build, replayProgram } from './build.mjs'
import { casePack, recordCases } from './check-native.mjs'
import { Failure, main, root, say, which } from './common.mjs'
import { setup } from './setup.mjs'

const deadline = performance.now() + 8 * 60_000
const left = () => Math.max(1000, deadline - performance.now())

/** Runs a command with what is left of the time; its status and its last lines. */
function attempt(command, args, most = Number.POSITIVE_INFINITY) {
  const timeout = Math.min(left(), most)
  const done = spawnSync(command, args, { cwd: root, encoding: 'utf8', timeout, maxBuffer: 2 ** 26 })
  const lines = `${done.stdout ?? ''}${done.stderr ?? ''}`.trim().split('\n')
  return { ok: done.status === 0, status: done.status, output: done.stdout ?? '', last: lines.slice(-4).join('\n') }
}

/** The table of cases on the card, by the program that needs no Node. */
function cases(library) {
  const done = attempt(replayProgram(), [casePack, '--backend', library], 150_000)
  const failures = done.output.split('\n').filter((line) => line.startsWith('FAILED'))
  return { ok: done.ok, summary: done.last.split('\n').at(-1), failures: failures.slice(0, 20) }
}

/** Each tool of compute-sanitizer on a few small cases; some containers do not allow it, and then it says so. */
function sanitizers(library) {
  const path = which('compute-sanitizer') ?? '/usr/local/cuda/bin/compute-sanitizer'
  if (!existsSync(path)) return { skipped: 'compute-sanitizer is not installed' }
  const program = [replayProgram(), casePack, '--backend', library, '--only', 'MLP']
  return Object.fromEntries(
    ['memcheck', 'racecheck', 'initcheck', 'synccheck'].map((tool) => {
      const { ok, status, last } = attempt(path, ['--tool', tool, '--error-exitcode', '9', ...program], 40_000)
      return [tool, { ok, status, last }]
    }),
  )
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1]

/** Seconds of one step of a program: the best and the median of five runs. */
async function timed(program, steps) {
  await program.runMany(Math.min(steps, 40))
  const seconds = []
  for (let round = 0; round < 5; round++) {
    const began = performance.now()
    await program.runMany(steps)
    seconds.push((performance.now() - began) / 1000 / steps)
  }
  return { best: Math.min(...seconds), median: median(seconds), steps }
}

/** Whether training gives equal bits three times, one launch at a time, and when both ways are compared. */
async function determinism(gl, open, small) {
  const size = small ? 60 : 2000
  const x = Float32Array.from({ length: size * 64 }, (_, i) => Math.sin(i * 12.9898))
  const data = gl.dataset(
    x,
    Int32Array.from({ length: size }, (_, i) => i % 10),
    { shape: [size, 8, 8, 1] },
  )
  const bits = async (graph) => {
    const layers = [gl.conv2d(6, 3), gl.batchNorm(), gl.relu(), gl.flatten(), gl.dropout(0.2), gl.dense(10)]
    const net = gl.model([8, 8, 1], layers, { seed: 7, device: open(graph) })
    await net.fit(data, { loss: gl.crossEntropy(), optimizer: gl.adam(), epochs: 2, batchSize: 20 })
    const weights = [...(await net.weights()).values()].flatMap(({ data }) => [...data])
    return Buffer.from(Float32Array.from(weights).buffer).toString('base64')
  }
  const first = await bits(true)
  return {
    'run to run': first === (await bits(true)) && first === (await bits(true)),
    'one by one': first === (await bits(false)),
    'compared step by step': first === (await bits('check')),
  }
}

const roundings = { fp32: 0, tf32: 2 ** -11, bf16: 2 ** -8 }

/**
 * How far products of each class are from those of the CPU, as a share of what they may be: by every transposition and tile of
 * the own kernels, and by cuBLAS where it is. Small products would stay exact; these are not.
 */
function products(gl, open, small) {
  const sizes = small
    ? [[260, 260, 260]]
    : [
        [300, 300, 300],
        [301, 299, 303],
        [2048, 2052, 64],
        [64, 128, 4096],
      ]
  const numbers = (count, salt) => Float32Array.from({ length: count }, (_, i) => Math.sin((i + 1) * salt * 12.9898))
  const worst = {}
  for (const [numerics, rounding] of Object.entries(roundings))
    for (const [m, n, k] of sizes)
      for (const [transposeA, transposeB] of [
        [false, false],
        [false, true],
        [true, false],
        [true, true],
      ]) {
        const specs = { x: transposeA ? [k, m] : [m, k], w: transposeB ? [n, k] : [k, n] }
        const given = { x: numbers(m * k, 1), w: numbers(k * n, 2) }
        const on = (device, numerics, data) => {
          const fn = ({ x, w }) => gl.ops.matmul(x, w, { transposeA, transposeB })
          return gl.record(fn, specs, { device, numerics }).runSync(data).data
        }
        const wanted = on('cpu', 'fp32', given)
        const terms = on('cpu', 'fp32', { x: given.x.map(Math.abs), w: given.w.map(Math.abs) })
        const allowed = 2.01 * rounding + 8 * 2 ** -24 * Math.sqrt(k)
        for (const [by, options] of [
          ['own kernels', { blas: false }],
          ['as chosen', {}],
        ]) {
          const got = on(open(true, options), numerics, given)
          const share = wanted.reduce((most, y, i) => Math.max(most, Math.abs(got[i] - y) / (allowed * terms[i])), 0)
          const name = `${numerics} ${by}`
          if (!(share <= (worst[name] ?? 0))) worst[name] = share // NaN stays
        }
      }
  return worst
}

/** Times of single ops and of training, with what of a ceiling that is where one is known. */
async function timings(gl, open, small) {
  const device = open(true)
  const count = small ? 1 << 12 : 1 << 26
  const results = {}
  const x = gl.variable([count], { name: 'x', value: 1 })
  const y = gl.variable([count], { name: 'y' })
  const empty = gl.variable([1], { name: 'one' })
  const step = () => gl.assign(empty, gl.ops.scale(empty, 0.5))
  const few = small ? 2 : 20
  results['one small op'] = await timed(gl.record(step, {}, { device }), small ? 40 : 5000)
  const copy = await timed(
    gl.record(() => gl.assign(y, gl.ops.scale(x, 2)), {}, { device }),
    few,
  )
  results['copy 256 MB'] = { ...copy, bytesPerSecond: (8 * count) / copy.best }

  for (const n of small ? [32] : [512, 2048, 8192]) {
    for (const [by, options] of [
      ['', {}],
      [' by own kernels', { blas: false }],
    ]) {
      const [a, b, c] = ['a', 'b', 'c'].map((name) => gl.variable([n, n], { name, value: 1 })) // they live on one device
      for (const numerics of Object.keys(roundings)) {
        const step = () => gl.assign(c, gl.ops.matmul(a, b))
        const product = await timed(gl.record(step, {}, { device: open(true, options), numerics }), few)
        results[`matmul ${n} ${numerics}${by}`] = { ...product, flopsPerSecond: (2 * n ** 3) / product.best }
      }
    }
  }
  const [images, side, channels] = small ? [1, 6, 4] : [64, 32, 128]
  const image = gl.variable([images, side, side, channels], { name: 'image', value: 1 })
  const filter = gl.variable([3, 3, channels, channels], { name: 'filter', value: 1 })
  const made = gl.variable([images, side, side, channels], { name: 'made' })
  for (const numerics of Object.keys(roundings)) {
    const step = () => gl.assign(made, gl.ops.conv2d(image, filter, { padding: 'same' }))
    const conv = await timed(gl.record(step, {}, { device, numerics }), few)
    const flops = 2 * images * side ** 2 * 9 * channels ** 2
    results[`conv 3x3 128 ${numerics}`] = { ...conv, flopsPerSecond: flops / conv.best }
  }

  const rows = small ? 256 : 60_000
  const pixels = Uint8Array.from({ length: rows * 784 }, (_, i) => (i * 7919) % 251)
  const data = gl.dataset(
    pixels,
    Int32Array.from({ length: rows }, (_, i) => i % 10),
    { shape: [rows, 784] },
  )
  const net = gl.model([784], [gl.dense(128), gl.relu(), gl.dense(10)], { seed: 1, device })
  const epochs = small ? 2 : 6
  const { epochs: history } = await net.fit(data, {
    loss: gl.crossEntropy(),
    optimizer: gl.adam(),
    epochs,
    batchSize: 128,
  })
  const seconds = history.slice(1).map((epoch) => epoch.seconds)
  const steps = Math.ceil(rows / 128)
  results['mlp epoch by fit'] = { best: Math.min(...seconds), median: median(seconds), steps }
  results['mlp step by fit'] = { best: Math.min(...seconds) / steps, median: median(seconds) / steps }
  return results
}

/** One small network by itself, and as many as a large card has multiprocessors at the same time, each on its lane. */
async function together(gl, open, small) {
  const count = small ? 5 : 132
  const batch = 16
  const samples = small ? 64 : 16384
  const steps = samples / batch
  const x = Float32Array.from({ length: samples * 4 }, (_, i) => Math.sin(i * 12.9898))
  const labels = Int32Array.from({ length: samples }, (_, i) => i % 4)
  const networks = await Promise.all(
    Array.from({ length: count }, async (_, lane) => {
      const layers = [gl.dense(32), gl.relu(), gl.dense(16), gl.relu(), gl.dense(4)]
      const net = gl.model([4], layers, { seed: lane, device: open(true, { lane }) })
      const inputs = gl.variable([samples, 4], { name: 'inputs', value: x })
      const targets = gl.variable([samples], { name: 'labels', dtype: 'int32', value: labels })
      await net.initialize()
      const updater = new gl.Updater(gl.adam())
      const step = net.program(
        'step',
        () => {
          const rows = gl.ops.sampleRows(batch, samples, 'epoch', updater.step)
          const scores = net.apply(gl.ops.gather(inputs, rows), 'train')
          const loss = gl.crossEntropy()(scores, gl.ops.gather(targets, rows))
          updater.apply(net.params, gl.grad(loss, net.params))
          return { loss }
        },
        updater.step,
      )
      return { net, step, data: gl.dataset(x, labels, { shape: [samples, 4] }) }
    }),
  )
  const rounds = small ? 2 : 20
  const run = async ({ step }) => {
    for (let round = 0; round < rounds; round++) await step.runMany(steps)
  }
  const fit = ({ net, data }) =>
    net.fit(data, { loss: gl.crossEntropy(), optimizer: gl.adam(), epochs: rounds, batchSize: batch })
  const seconds = async (what) => {
    const began = performance.now()
    await what()
    return (performance.now() - began) / 1000
  }
  const results = {}
  for (const [name, train] of Object.entries({ 'by programs': run, 'by fit': fit })) {
    await Promise.all(networks.map(train)) // everything is compiled and on the card
    const one = await seconds(() => train(networks[0]))
    const all = await seconds(() => Promise.all(networks.map(train)))
    const ratio = (count * one) / all
    results[name] = {
      one: one / rounds / steps,
      all: all / rounds / steps,
      ratio,
      stepsPerSecond: (count * rounds * steps) / all,
    }
  }
  return { models: count, ...results }
}

function pytorch() {
  const python = which('python3')
  if (!python) return { skipped: 'python3 is not installed' }
  const done = attempt(python, ['bench/peers/torch_gpu.py'], 150_000)
  return done.ok ? JSON.parse(done.output.trim().split('\n').at(-1)) : { skipped: done.last }
}

main(async (args) => {
  const at = args.indexOf('--library')
  const small = at >= 0
  setup()
  build(['native', 'replay', 'types'])
  if (!small) build(['cuda', 'cublas'], { cuda: true, cublas: true })
  const gl = await import('../dist/index.js')
  const { cudaLibrary } = await import('../dist/native.js')
  const library = small ? join(root, args[at + 1]) : cudaLibrary()
  if (!small && !gl.devices().includes('cuda:0')) {
    try {
      gl.device('cuda')
    } catch (error) {
      throw new Failure(`there is nothing to verify: ${error.message}`)
    }
  }
  // With cuBLAS where it is, unless `options` say otherwise.
  const open = (graph, options = {}) => gl.device('cuda', { ...(small ? { library } : {}), graph, ...options })
  recordCases()
  const report = { date: new Date().toISOString(), device: open(true).describe() }
  say(report.device)
  for (const [name, part] of Object.entries({
    cases: () => cases(library),
    determinism: () => determinism(gl, open, small),
    products: () => products(gl, open, small),
    timings: () => timings(gl, open, small),
    together: () => together(gl, open, small),
    pytorch: () => (small ? { skipped: 'no card' } : pytorch()),
    sanitizers: () => (small ? { skipped: 'no card' } : sanitizers(library)),
  })) {
    const began = performance.now()
    report[name] = await part()
    say(`${name}, ${((performance.now() - began) / 1000).toFixed(0)} s: ${JSON.stringify(report[name], null, 2)}`)
  }
  if (!small) {
    const card = report.device
      .replace(/^cuda:\d+ |,.*$/g, '')
      .toLowerCase()
      .replace(/\W+/g, '-')
    mkdirSync(join(root, 'bench/results'), { recursive: true })
    writeFileSync(join(root, `bench/results/gpu-${card}.json`), `${JSON.stringify(report, null, 2)}\n`)
  }
  const wrong = [
    ...(report.cases.ok ? [] : ['cases']),
    ...Object.entries(report.determinism).flatMap(([name, equal]) => (equal ? [] : [name])),
    ...Object.entries(report.products).flatMap(([name, share]) => (share <= 1 ? [] : [`products in ${name}`])),
    ...Object.entries(report.sanitizers).flatMap(([tool, { status }]) => (status === 9 ? [tool] : [])),
  ]
  if (wrong.length > 0) throw new Failure(`not as it should be: ${wrong.join(', ')}`)
})
