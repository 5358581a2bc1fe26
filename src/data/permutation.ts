// A seeded order of rows for splitting data sets: the same on every machine. The order of training batches is not made here
// but by the training program itself.

/** A permutation of 0 .. length - 1 (Fisher and Yates, in Durstenfeld's form), the same for the same seed everywhere. */
export function permutation(length: number, seed: number): Uint32Array {
  const order = new Uint32Array(length)
  for (let i = 0; i < length; i += 1) order[i] = i
  const below = randomBelow(seed)
  for (let i = length - 1; i > 0; i -= 1) {
    const j = below(i + 1)
    const held = order[i] ?? 0
    order[i] = order[j] ?? 0
    order[j] = held
  }
  return order
}

// Counter-based: word k is a hash of k and the seed. Numbers past the last whole multiple of the bound are drawn again, so
// that every value is equally likely.
function randomBelow(seed: number): (bound: number) => number {
  const high = mix(Math.floor(seed / 2 ** 32) + 0x9e3779b9)
  let counter = mix((seed >>> 0) ^ high)
  return (bound) => {
    const limit = 2 ** 32 - (2 ** 32 % bound)
    for (;;) {
      counter = (counter + 0x9e3779b9) >>> 0
      const word = mix(mix(counter) ^ high)
      if (word < limit) return word % bound
    }
  }
}

// The finalizer of MurmurHash3 (A. Appleby): a bijection of 32-bit words that changes about half of the bits.
function mix(word: number): number {
  let h = word >>> 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
