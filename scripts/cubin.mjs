// What instructions stand in the machine code that nvcc put into an object file: for the compile gate of scripts/cuda.mjs,
// which cannot count on NVIDIA's disassembler being there. It knows opcodes, not operands.

/**
 * Low 12 bits of an instruction, the same from Turing on: as NVIDIA's cuobjdump shows them in the words beside HMMA.* and
 * LDGSTS.*, which `mma.sync` of floating point and `cp.async` become.
 */
export const opcodes = { HMMA: 0x23c, LDGSTS: 0xfae }

const magic = Buffer.from('\x7fELF', 'latin1')
const cuda = 190 // e_machine

/** The kernels of every architecture in the file: mangled name and how often each of `opcodes` stands in it. */
export function kernelsIn(file) {
  const found = []
  for (let at = file.indexOf(magic); at >= 0; at = file.indexOf(magic, at + 4)) {
    if (file.readUInt16LE(at + 18) === cuda) found.push(...kernelsOf(file.subarray(at)))
  }
  return found
}

// An ELF file of 64 bits whose kernels are sections of their own, `.text.NAME`, of instructions of 16 bytes.
function kernelsOf(elf) {
  const [table, size, count, names] = [
    Number(elf.readBigUInt64LE(40)),
    elf.readUInt16LE(58),
    elf.readUInt16LE(60),
    elf.readUInt16LE(62),
  ]
  const section = (index) => {
    const header = elf.subarray(table + index * size)
    const [offset, bytes] = [Number(header.readBigUInt64LE(24)), Number(header.readBigUInt64LE(32))]
    return { name: header.readUInt32LE(0), kind: header.readUInt32LE(4), offset, bytes }
  }
  const text = section(names).offset
  const nameOf = ({ name }) => elf.toString('latin1', text + name, elf.indexOf(0, text + name))
  const kernels = []
  for (let index = 0; index < count; index++) {
    const code = section(index)
    const name = nameOf(code)
    if (code.kind !== 1 || !name.startsWith('.text.')) continue // SHT_PROGBITS
    const counts = Object.fromEntries(Object.keys(opcodes).map((what) => [what, 0]))
    for (let at = code.offset; at < code.offset + code.bytes; at += 16) {
      const opcode = elf.readUInt16LE(at) & 0xfff
      for (const [what, wanted] of Object.entries(opcodes)) if (opcode === wanted) counts[what]++
    }
    kernels.push({ name: name.slice('.text.'.length), counts })
  }
  return kernels
}
