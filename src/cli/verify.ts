// `gradline verify`: prints what diagnose/verify.ts finds as a summary that can be kept: build, hardware, how many checks of
// each kind, the worst error of each. Exit status 1 when anything is wrong.

import { find, provenanceOf, version } from '../binaries.js'
import { machine } from '../device.js'
import { type Finding, verify as findings } from '../diagnose/verify.js'
import { addon } from '../native.js'
import { describePlatform, platform } from '../platform.js'
import { type Command, type Context, interrupted } from './command.js'

export const verify: Command = {
  name: 'verify',
  summary: 'checks every kernel, gradient and update rule on this machine',
  options: [],
  run: async (_, context) => run(context),
}

const titles: Readonly<Record<Finding['kind'], string>> = {
  golden: 'reference against golden numbers',
  op: 'kernels against the reference in float64',
  update: 'update rules against the reference',
  layer: 'gradients of layers by central differences',
}

async function run({ print, note, signal }: Context): Promise<number> {
  const started = performance.now()
  const native = addon()
  const built = provenanceOf(find().path)
  const { cpu, cores, isas } = machine()
  print(`gradline ${version} on ${describePlatform(platform())}, Node ${process.version}`)
  print(`built    ${built ? `${built.compiler}, commit ${built.commit}` : `${native.compiler}, on this machine`}`)
  print(`machine  ${cpu}, ${cores} ${cores === 1 ? 'core' : 'cores'}, ${isas.join(', ')}`)
  const all: Finding[] = []
  for await (const finding of findings()) {
    if (signal.aborted) return interrupted
    all.push(finding)
    if (!(finding.error <= 1)) note(`  wrong: ${describe(finding)}`)
  }
  for (const kind of ['golden', 'op', 'update', 'layer'] as const) {
    for (const on of [...new Set(all.filter((f) => f.kind === kind).map((f) => f.on))]) {
      const group = all.filter((finding) => finding.kind === kind && finding.on === on)
      const worst = group.reduce((a, b) => (b.error > a.error ? b : a))
      const where = kind === 'op' || kind === 'update' ? `${titles[kind]}, ${on}` : titles[kind]
      print(
        `  ${String(group.length).padStart(4)} ${where}: worst ${share(worst.error)} of what is allowed (${worst.name})`,
      )
    }
  }
  const wrong = all.filter(({ error }) => !(error <= 1))
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  print(
    `${wrong.length === 0 ? 'verified' : `WRONG: ${wrong.length}`}: ${all.length} checks in ${seconds} s, ${new Date().toISOString()}`,
  )
  return wrong.length === 0 ? 0 : 1
}

const share = (error: number): string => (error < 0.0005 ? '0.000' : error.toPrecision(3))
const describe = ({ kind, name, on, error }: Finding): string =>
  `${kind} ${name} on ${on}: ${share(error)} times what is allowed`
