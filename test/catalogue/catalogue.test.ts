// docs/catalogue.md is held equal to the exports, the defaults it tells to those in the source, and the tests it names to
// tests that exist. Whether its formulas are right is the matter of those tests.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import * as diagnose from '../../src/diagnose/index.js'
import * as everything from '../../src/index.js'
import * as initializers from '../../src/initializers/index.js'
import * as plainActivations from '../../src/layers/activations.js'
import * as layers from '../../src/layers/index.js'
import * as losses from '../../src/losses/index.js'
import * as metrics from '../../src/metrics/index.js'
import * as optimizers from '../../src/optimizers/index.js'
import * as regularizers from '../../src/regularizers/index.js'
import * as schedules from '../../src/schedules/index.js'
import * as transform from '../../src/transform/index.js'

const root = join(import.meta.dirname, '../..')
const text = (path: string): string => readFileSync(join(root, path), 'utf8')
const document = text('docs/catalogue.md')

// ---- The tables ------------------------------------------------------------------------------------------------------

interface Row {
  readonly name: string
  readonly cells: readonly string[]
  /** Of the cells of options: `name = value`. */
  readonly defaults: readonly (readonly [name: string, value: string])[]
}

const defaultsIn = (prose: string): (readonly [string, string])[] =>
  [...prose.matchAll(/`(\w+) = ([^`]+)`/g)].map(([, name, value]) => [name as string, value as string] as const)

function section(title: string): string {
  const [, after] = document.split(`\n## ${title}\n`)
  if (after === undefined) throw new Error(`docs/catalogue.md has no section "${title}"`)
  return after.split('\n## ')[0] as string
}

const rowsOf = (title: string): Row[] =>
  [...section(title).matchAll(/^\| `(\w+)` \|.*\|$/gm)].map(([line, name]) => {
    const cells = line.split('|').slice(1, -1)
    return { name: name as string, cells, defaults: defaultsIn(cells[2] ?? '') }
  })

const names = (module: object): string[] => Object.keys(module)
const activations = [...names(plainActivations), 'prelu', 'rrelu']

// What else the package exports, which the catalogue is not about: data, devices, programs, files.
const core = [
  'GradlineError',
  'Joined',
  'LabeledSplits',
  'Program',
  'Results',
  'Tensor',
  'Variable',
  'assign',
  'customGrad',
  'dataset',
  'datasets',
  'decodeSafetensors',
  'device',
  'devices',
  'eagerStep',
  'encodeSafetensors',
  'grad',
  'joined',
  'metrics',
  'ops',
  'parseIdx',
  'read',
  'readIdx',
  'readStep',
  'record',
  'stepState',
  'tensor',
  'variable',
  'write',
  'writeStep',
]

const byGroup: Record<string, { readonly folder: string; readonly names: readonly string[] }> = {
  Layers: { folder: 'layers', names: names(layers).filter((name) => !activations.includes(name)) },
  Activations: { folder: 'layers', names: activations },
  Losses: { folder: 'losses', names: names(losses) },
  Optimizers: { folder: 'optimizers', names: names(optimizers) },
  Schedules: { folder: 'schedules', names: names(schedules) },
  Initializers: { folder: 'initializers', names: names(initializers) },
  'Regularizers and constraints': { folder: 'regularizers', names: names(regularizers) },
  Metrics: { folder: 'metrics', names: names(metrics) },
  Diagnosis: { folder: 'diagnose', names: names(diagnose) },
  Transforms: { folder: 'transform', names: names(transform) },
}
const elsewhere = new Set([...core, ...Object.values(byGroup).flatMap((group) => group.names)])
// A new export of the package that is in no other group lands here, and so in a table or in `core`.
byGroup['Training and callbacks'] = {
  folder: 'train',
  names: names(everything).filter((name) => !elsewhere.has(name)),
}

// ---- The defaults in the source --------------------------------------------------------------------------------------

const literal = String.raw`('[^']*'|true|false|-?[\d._]+(?:e-?\d+)?(?: / \d+)?)`
const parsed = (written: string): string | number => {
  const [above, below] = written.replaceAll('_', '').split(' / ').map(Number)
  return above === undefined || Number.isNaN(above) ? written : above / (below ?? 1)
}
// `options.eps ?? 1e-5` and `rate = 0.5`.
const valuesIn = (source: string, name: string): (string | number)[] =>
  [...source.matchAll(new RegExp(String.raw`\b${name}\s*(?:\?\?|=)\s*${literal}`, 'g'))].map(([, written]) =>
    parsed(written as string),
  )

// Where options are read that several entries share.
const shared = [
  'ops/activations.ts',
  'ops/conv.ts',
  'ops/pool.ts',
  'metrics/classes.ts',
  'optimizers/adam.ts',
  'optimizers/momentum.ts',
  'train/model.ts',
].map((path) => text(`src/${path}`))

/** The defaults of an option of `name`: in its own body, else in its file, else in what entries share. */
function defaultsOf(folder: string, name: string, option: string): (string | number)[] {
  const file = readdirSync(join(root, 'src', folder))
    .filter((each) => each.endsWith('.ts'))
    .map((each) => text(`src/${folder}/${each}`))
    .find((source) => new RegExp(String.raw`^export (async )?(function|class) ${name}\b`, 'm').test(source))
  if (!file) throw new Error(`${name} is declared nowhere in src/${folder}`)
  const from = file.search(new RegExp(String.raw`^export (async )?(function|class) ${name}\b`, 'm'))
  const body = file.slice(from, file.indexOf('\n}\n', from) + 2 || undefined)
  return [body, file, ...shared].map((source) => valuesIn(source, option)).find((found) => found.length > 0) ?? []
}

// ---- The tests -------------------------------------------------------------------------------------------------------

describe.each(Object.entries(byGroup))('docs/catalogue.md: %s', (title, group) => {
  const rows = rowsOf(title)

  it('has a row for every export and no other', () => {
    expect(rows.map(({ name }) => name).sort()).toEqual([...group.names].sort())
  })

  it('has six filled columns, options aside', () => {
    for (const { name, cells } of rows) {
      const empty = cells.map((cell) => cell.trim() === '')
      expect(
        empty.filter((_, i) => i !== 2),
        name,
      ).toEqual([false, false, false, false, false])
    }
  })

  it('tells the defaults of the code', () => {
    for (const { name, defaults } of rows) {
      for (const [option, value] of defaults) {
        // lr and decay are checked on the optimizers themselves, below.
        if (title === 'Optimizers' && (option === 'lr' || option === 'decay')) continue
        const found = defaultsOf(group.folder, name, option)
        expect(found.length, `${name}, ${option}: no default in the source`).toBeGreaterThan(0)
        expect(new Set(found), `${name}, ${option}`).toEqual(new Set([parsed(value)]))
      }
    }
  })
})

describe('docs/catalogue.md', () => {
  it('tells rate, decay and limits of every optimizer', () => {
    const common = defaultsIn(section('Optimizers').split('\n| ')[0] as string)
    const makers = new Map(Object.entries(optimizers) as [string, () => optimizers.Optimizer][])
    expect(common.map(([option]) => option).sort()).toEqual(['clipNorm', 'clipTensorNorm', 'clipValue', 'decay'])
    for (const { name, defaults } of rowsOf('Optimizers')) {
      const make = makers.get(name)
      if (!make || name === 'Updater') continue
      const told = Object.fromEntries([...common, ...defaults].map(([option, value]) => [option, Number(value)]))
      const { lr, decay, clipNorm, clipValue, clipTensorNorm } = make()
      expect({ name, lr, decay, clipNorm, clipValue, clipTensorNorm }).toEqual({
        name,
        lr: told.lr,
        decay: told.decay,
        clipNorm: told.clipNorm,
        clipValue: told.clipValue,
        clipTensorNorm: told.clipTensorNorm,
      })
    }
  })

  it('names a test that exists for every formula that is wrong in circulation', () => {
    const items = section('Formulas that are wrong in circulation').split('\n- ').slice(1)
    expect(items.length).toBeGreaterThanOrEqual(12)
    for (const item of items) {
      const tests = [...item.matchAll(/Test: `([\w./]+)` "([^"]+)"/g)]
      expect(tests.length, item).toBeGreaterThan(0)
      for (const [, path, name] of tests as unknown as [string, string, string][]) {
        expect(text(path).includes(`'${name}'`), `${path}: ${name}`).toBe(true)
      }
    }
  })
})
