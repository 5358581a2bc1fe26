// Reads a shared library of Linux, Windows or macOS as far as a release asks: which libraries and which versions of glibc it
// needs, what it asks the program for that loads it, whether symbols were stripped, whether it is signed. It only reads; release
// checks judge.
import { readFileSync } from 'node:fs'

/**
 * { format, needed, glibc (newest version asked for, or undefined), fromNode (functions no library is named for), stripped,
 * signed, oldest (macOS it is for) }
 */
export function readBinary(path) {
  const bytes = readFileSync(path)
  if (bytes.readUInt32BE(0) === 0x7f454c46) return readElf(bytes)
  if (bytes.readUInt32LE(0) === 0xfeedfacf) return readMachO(bytes)
  if (bytes.toString('latin1', 0, 2) === 'MZ') return readPe(bytes)
  throw new Error(`${path} is no library of a known format`)
}

const text = (bytes, at) => bytes.toString('latin1', at, bytes.indexOf(0, at))
const wide = (bytes, at) => Number(bytes.readBigUInt64LE(at))

/** ELF64, little-endian (System V ABI): sections .dynamic (6), .symtab (2) and .gnu.version_r (0x6ffffffe). */
function readElf(bytes) {
  const [table, size, count] = [wide(bytes, 40), bytes.readUInt16LE(58), bytes.readUInt16LE(60)]
  const sections = Array.from({ length: count }, (_, i) => {
    const at = table + i * size
    return {
      type: bytes.readUInt32LE(at + 4),
      offset: wide(bytes, at + 24),
      size: wide(bytes, at + 32),
      link: bytes.readUInt32LE(at + 40),
      info: bytes.readUInt32LE(at + 44),
    }
  })
  const needed = []
  const versions = []
  for (const { type, offset, size: length, link, info } of sections) {
    const strings = sections[link]?.offset
    if (type === 6) {
      for (let at = offset; at < offset + length; at += 16) {
        if (wide(bytes, at) === 1) needed.push(text(bytes, strings + wide(bytes, at + 8))) // DT_NEEDED
      }
    }
    if (type === 0x6ffffffe) {
      for (let at = offset, i = 0; i < info; i++) {
        for (let aux = at + bytes.readUInt32LE(at + 8), j = 0; j < bytes.readUInt16LE(at + 2); j++) {
          versions.push(text(bytes, strings + bytes.readUInt32LE(aux + 8)))
          aux += bytes.readUInt32LE(aux + 12)
        }
        at += bytes.readUInt32LE(at + 12)
      }
    }
  }
  const glibc = versions
    .flatMap((name) => /^GLIBC_(\d+\.\d+)/.exec(name)?.[1] ?? [])
    .sort(compareVersions)
    .at(-1)
  const fromNode = glibc === undefined ? [] : unversioned(bytes, sections)
  return { format: 'ELF', needed, glibc, fromNode, stripped: !sections.some(({ type }) => type === 2), signed: false }
}

// Undefined symbols of .dynsym (11) whose entry in .gnu.version (0x6fffffff) names no library; weak ones may stay undefined.
// musl's functions have no versions, so there this tells nothing.
function unversioned(bytes, sections) {
  const symbols = sections.find(({ type }) => type === 11)
  const versions = sections.find(({ type }) => type === 0x6fffffff)
  return Array.from({ length: symbols.size / 24 }, (_, i) => i).flatMap((i) => {
    const at = symbols.offset + 24 * i
    const isUndefined = bytes.readUInt16LE(at + 6) === 0 && bytes[at + 4] >> 4 === 1
    if (!isUndefined || bytes.readUInt16LE(versions.offset + 2 * i) > 1) return []
    return [text(bytes, sections[symbols.link].offset + bytes.readUInt32LE(at))]
  })
}

export function compareVersions(a, b) {
  const [x, y] = [a, b].map((v) => v.split('.').map(Number))
  return x[0] - y[0] || x[1] - y[1]
}

/** PE32+ (Microsoft's PE Format): the import directory, and what it lists of node.exe. */
function readPe(bytes) {
  const header = bytes.readUInt32LE(60)
  const sectionCount = bytes.readUInt16LE(header + 6)
  const symbols = bytes.readUInt32LE(header + 12)
  const optional = header + 24
  const sectionsAt = optional + bytes.readUInt16LE(header + 20)
  const fileOffset = (address) => {
    for (let i = 0; i < sectionCount; i++) {
      const at = sectionsAt + 40 * i
      const [size, start, raw] = [bytes.readUInt32LE(at + 16), bytes.readUInt32LE(at + 12), bytes.readUInt32LE(at + 20)]
      if (address >= start && address < start + size) return address - start + raw
    }
    return undefined
  }
  const needed = []
  const fromNode = []
  for (let at = fileOffset(bytes.readUInt32LE(optional + 120)); at !== undefined; at += 20) {
    const name = bytes.readUInt32LE(at + 12)
    if (name === 0) break
    needed.push(text(bytes, fileOffset(name)))
    if (needed.at(-1) !== 'node.exe') continue
    for (let entry = fileOffset(bytes.readUInt32LE(at)); wide(bytes, entry) !== 0; entry += 8) {
      fromNode.push(text(bytes, fileOffset(bytes.readUInt32LE(entry)) + 2)) // after the hint
    }
  }
  return { format: 'PE', needed, glibc: undefined, fromNode, stripped: symbols === 0, signed: false }
}

/**
 * Mach-O, 64 bits: LC_SYMTAB (0x2), in which functions of Node have the ordinal 0 (of Zig's linker) or DYNAMIC_LOOKUP (0xfe),
 * LC_LOAD_DYLIB (0xc), LC_CODE_SIGNATURE (0x1d), LC_BUILD_VERSION (0x32). Stripped, it has no local symbol but the thunks of its
 * calls to other libraries.
 */
function readMachO(bytes) {
  const needed = []
  const fromNode = []
  let signed = false
  let stripped = true
  let oldest
  for (let at = 32, i = 0; i < bytes.readUInt32LE(16); i++) {
    const command = bytes.readUInt32LE(at) & 0x7fffffff
    if (command === 0xc) needed.push(text(bytes, at + bytes.readUInt32LE(at + 8)))
    if (command === 0x1d) signed = true
    if (command === 0x32) oldest = `${bytes.readUInt16LE(at + 14)}.${bytes[at + 13]}`
    if (command === 0x2) {
      const [symbols, count, strings] = [8, 12, 16].map((offset) => bytes.readUInt32LE(at + offset))
      for (let entry = symbols; entry < symbols + 16 * count; entry += 16) {
        const name = text(bytes, strings + bytes.readUInt32LE(entry)).replace(/^_/, '')
        const [isDefined, isExternal] = [(bytes[entry + 4] & 0xe) !== 0, (bytes[entry + 4] & 0x11) === 1]
        if (isDefined && !isExternal && !name.endsWith('__thunk')) stripped = false
        if (!isDefined && isExternal && [0, 0xfe].includes(bytes[entry + 7])) fromNode.push(name)
      }
    }
    at += bytes.readUInt32LE(at + 4)
  }
  return { format: 'Mach-O', needed, glibc: undefined, fromNode, stripped, signed, oldest }
}
