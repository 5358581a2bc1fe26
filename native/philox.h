// Random numbers without state: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2,
// 3", SC 2011) and a permutation of 0..n-1 that needs no memory. Every backend computes exactly these integers,
// whatever its threads and launch shape. Not a secure generator.
#pragma once
#include "abi.h"

namespace gradline {

struct Philox4 {
  uint32_t v[4];
};

// One block of four 32-bit numbers from a 128-bit counter and a 64-bit key.
GL_INLINE Philox4 philox4x32(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint64_t seed) {
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; round++) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c0, p1 = uint64_t{0xCD9E8D57} * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0, n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return {{c0, c1, c2, c3}};
}

// What a number is for; two uses of one stream and step never share a counter.
enum class Purpose : uint32_t { dropout = 1, uniform = 2, normal = 3, shuffle = 4, choice = 5, window = 6 };

// Block `block` (elements 4*block .. 4*block+3) of stream `stream` in step `step`.
GL_INLINE Philox4 randomBlock(uint64_t seed, uint64_t step, uint32_t stream, Purpose purpose, uint64_t block) {
  // 40 bits of block, 32 of stream, 48 of step, 8 of purpose.
  return philox4x32(static_cast<uint32_t>(block), stream, static_cast<uint32_t>(step),
                    static_cast<uint32_t>(purpose) << 24 | static_cast<uint32_t>((block >> 32) & 0xff) << 16 |
                        static_cast<uint32_t>((step >> 32) & 0xffff),
                    seed);
}

// 24 random bits as a float in [0, 1).
GL_INLINE float uniform24(uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24f; }

// Dropout keeps an element when its 24 bits are at or above this.
GL_INLINE uint32_t dropThreshold(double rate) { return static_cast<uint32_t>(rate * 16777216.0 + 0.5); }

// Image of i under a permutation of 0..n-1 that is fixed by (seed, epoch): a balanced Feistel network over the next
// even number of bits, walked until it lands inside (cycle walking: fewer than four rounds on average). n <= 2^62.
GL_INLINE uint64_t permuteIndex(uint64_t i, uint64_t n, uint64_t seed, uint64_t epoch) {
  int half = 1;
  while (half < 31 && (uint64_t{1} << (2 * half)) < n) half++;
  const uint64_t mask = (uint64_t{1} << half) - 1;
  do {
    uint64_t left = i >> half, right = i & mask;
    for (uint32_t round = 0; round < 6; round++) {
      const Philox4 f = randomBlock(seed, epoch, round, Purpose::shuffle, right);
      const uint64_t next = (left ^ f.v[0]) & mask;
      left = right;
      right = next;
    }
    i = left << half | right;
  } while (i >= n);
  return i;
}

}  // namespace gradline
