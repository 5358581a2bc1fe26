// Packing of a transposed right-hand side into panels of kTileCols columns. An untransposed one is read where it lies.
#pragma once
#include "tile.h"

namespace gradline::cpu::GL_ISA {

// rows[i] lane j becomes rows[j] lane i: log2(kLanes) perfect shuffles of the whole block.
GL_SIMD void transposeBlock(Vec (&rows)[kLanes]) {
#pragma GCC unroll 4
  for (int round = 1; round < kLanes; round *= 2) {
    Vec next[kLanes];
#pragma GCC unroll 8
    for (int i = 0; i < kLanes / 2; i++) {
      next[2 * i] = interleave<0>(rows[i], rows[i + kLanes / 2]);
      next[2 * i + 1] = interleave<kLanes / 2>(rows[i], rows[i + kLanes / 2]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; i++) rows[i] = next[i];
  }
}

// source [cols, k] with rows `ld` apart -> panel [k, kTileCols]; columns beyond `cols` become 0.
GL_SIMD void packTransposed(const float *source, int64_t ld, int64_t cols, int64_t k, float *panel) {
  for (int64_t c = 0; c < kTileCols; c += kLanes)
    eachVec(k, [&](int64_t p, int64_t count) GL_LAMBDA {
      Vec rows[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) rows[i] = c + i < cols ? load(source + (c + i) * ld + p, count) : Vec{};
      transposeBlock(rows);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++)
        if (i < count) store(panel + (p + i) * kTileCols + c, rows[i]);
    });
}

// tile [rows, kTileCols], cols of them used -> C[j][0 .. rows) for j < cols, row j at c + rowC[j]; added where
// `accumulate`.
GL_SIMD void storeTransposed(const float *tile, int64_t rows, int64_t cols, bool accumulate, float *c,
                             const int64_t *rowC) {
  for (int64_t j0 = 0; j0 < cols; j0 += kLanes)
    eachVec(rows, [&](int64_t r0, int64_t count) GL_LAMBDA {
      Vec block[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) block[i] = i < count ? load(tile + (r0 + i) * kTileCols + j0) : Vec{};
      transposeBlock(block);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++)
        if (j0 + i < cols) {
          float *to = c + rowC[j0 + i] + r0;
          store(to, accumulate ? load(to, count) + block[i] : block[i], count);
        }
    });
}

}  // namespace gradline::cpu::GL_ISA
