// Holds the order of the rooms: a file of src/ imports only from its own room or from those below it, and native sources
// include only what their room may know. It reads import and include lines; formatted sources (`npm run format`) have
// them at the start of a line.
import { existsSync, readFileSync } from 'node:fs'
import { basename, dirname, join, posix } from 'node:path'
import { filesBelow, isMain, main, root } from './common.mjs'

/** src/, from the ground up. A name that ends with a slash is a folder. */
const rooms = [
  ['pure', 'shape.ts dtype.ts errors.ts tree.ts'],
  ['core', 'op.ts tensor.ts step.ts graph.ts grad.ts'],
  ['ops', 'ops/'],
  ['model', 'layers/ losses/ optimizers/ schedules/ initializers/ regularizers/'],
  [
    'machine',
    'platform.ts loadFailure.ts binaries.ts native.ts device.ts lower.ts passes/ plan.ts encode.ts print.ts profile.ts stream.ts program.ts eager.ts memory.ts',
  ],
  ['use', 'train/ data/ io/ diagnose/ metrics/ transform/ search/'],
  ['door', 'index.ts cublas.ts cli/'],
].map(([name, members]) => ({ name, members: members.split(' ').map((member) => `src/${member}`) }))
const loaders = ['src/binaries.ts', 'src/native.ts'] // the only files that may find and load the addons

/** native/: which rooms a room may include besides itself. The first entry whose path matches is the room. */
const nativeRooms = [
  { name: 'contract', path: /^native\/(abi\.h|ops\.def|philox\.h|portable\.h|isa\.h)$/, may: [] },
  { name: 'blas table', path: /^native\/cuda\/blas\.h$/, may: ['contract'] },
  { name: 'ref', path: /^native\/ref\//, may: ['contract'] },
  { name: 'core', path: /^native\/core\//, may: ['contract'] },
  { name: 'cpu', path: /^native\/cpu\//, may: ['contract', 'ref'] },
  { name: 'replay', path: /^native\/replay\//, may: ['contract', 'ref', 'core', 'cpu'] },
  { name: 'cuda', path: /^native\/cuda\//, may: ['contract', 'blas table'], cuda: true },
  { name: 'cublas', path: /^native\/cublas\//, may: ['contract', 'blas table'], napi: true },
  {
    name: 'addon',
    path: /^native\/addon\//,
    may: ['contract', 'blas table', 'ref', 'core', 'cpu', 'cublas'],
    napi: true,
  },
]

const isComment = (line) => /^\s*(\/\/|\/?\*)/.test(line)

/** Every match of a pattern in a text, with its line number; matches in comment lines are left out. */
function* matches(text, pattern) {
  for (const match of text.matchAll(pattern)) {
    const line = text.slice(0, match.index + match[0].length).split('\n').length
    if (!isComment(text.split('\n')[line - 1])) yield { line, found: match }
  }
}

/** `import x from 'y'`, `export * from 'y'`, `import 'y'` and `import('y')`, also of types only. */
const imports =
  /^(?:import|export)\s+(?:(?:type\s+)?[\w*{][^'"();=]*?\bfrom\s*)?['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/gm

/** Ways to load an addon; `createRequire(x).resolve(y)` only finds a file. */
const loads = /\bcreateRequire\((?!.*\)\.resolve\()|\bprocess\.dlopen\b|\.node['"`]/g

function checkSource(path, report) {
  const roomOf = (file) =>
    rooms.findIndex(({ members }) =>
      members.some((member) => file === member || (member.endsWith('/') && file.startsWith(member))),
    )
  const text = readFileSync(join(root, path), 'utf8')
  const own = roomOf(path)
  if (own < 0) report(path, 1, 'the file', 'stands in no room: give it one in the table of scripts/rooms.mjs')
  for (const { line, found } of matches(text, imports)) {
    const specifier = found[1] ?? found[2]
    if (!specifier.startsWith('.')) continue
    const target = posix.join(dirname(path), specifier).replace(/\.js$/, '.ts')
    const room = roomOf(target)
    if (!target.startsWith('src/')) report(path, line, specifier, 'is outside of src/')
    else if (own >= 0 && room > own) {
      report(path, line, specifier, `room ${room} (${rooms[room].name}) is above room ${own} (${rooms[own].name})`)
    }
  }
  if (loaders.includes(path)) return
  for (const { line, found } of matches(text, loads)) {
    report(path, line, found[0], `only ${loaders.join(' and ')} may find and load addons`)
  }
}

function checkNative(path, report) {
  const roomOf = (file) => nativeRooms.find((room) => room.path.test(file))
  const text = readFileSync(join(root, path), 'utf8')
  const own = roomOf(path)
  if (!own) return report(path, 1, 'the file', 'stands in no room: give it one in the table of scripts/rooms.mjs')
  for (const { line, found } of matches(text, /^\s*#\s*include\s+([<"])([^>"]+)[>"]/gm)) {
    const [, bracket, name] = found
    if (bracket === '<' || /^(napi|node_api|js_native_api)/.test(name)) {
      if (/^(napi|node_api|js_native_api|uv|v8|node)\b.*\.h$/.test(name) && !own.napi) {
        report(path, line, name, 'Node-API is for native/addon and native/cublas only')
      }
      if (/^(cuda|cublas|cudnn|nccl|nv|cooperative_groups)/.test(name) && !own.cuda) {
        report(path, line, name, 'CUDA headers are for native/cuda only')
      }
      continue
    }
    const beside = posix.join(dirname(path), name)
    const target = name.startsWith('.') || existsSync(join(root, beside)) ? beside : posix.join('native', name)
    const room = roomOf(target)
    if (!room) report(path, line, name, 'stands in no room of native/')
    else if (room !== own && !own.may.includes(room.name)) {
      report(
        path,
        line,
        name,
        `room "${own.name}" may include ${['itself', ...own.may].join(', ')}, not "${room.name}"`,
      )
    }
  }
}

/** Prints each breach as file:line, what is imported and why it is refused; returns how many there were. */
export function checkRooms() {
  let breaches = 0
  const report = (path, line, what, why) => {
    breaches++
    console.error(`${path}:${line}: ${what}: ${why}`)
  }
  for (const path of filesBelow('src', '.ts')) {
    if (!basename(path).endsWith('.test.ts')) checkSource(path, report)
  }
  for (const path of filesBelow('native', '.h', '.cc', '.cu', '.cuh', '.def')) checkNative(path, report)
  return breaches
}

if (isMain(import.meta.url)) main(() => (checkRooms() > 0 ? 1 : 0))
