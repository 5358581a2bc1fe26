// Products with few columns and long sums, as dot products: vectors run along the sum, so that no lane stands empty
// where C has fewer columns than a vector has lanes. Both sides must lie along k. Chosen by kernels/matmul.cc.
#pragma once
#include "pack.h"

namespace gradline::cpu::GL_ISA {

// C[r][0 .. cols) = sum over k of a[r][k] * b[col][k] for r < rows. The sum is taken in kLanes parts, p modulo kLanes,
// each in order of k, which are then added in a tree: the same for every element.
struct DotArgs {
  const float *a, *b;
  int64_t lda, ldb, k, rows;
  float *c;
  int64_t ldc;
};
using DotKernel = void (*)(const DotArgs &);

// By columns - 1. Two rows of kTileRows columns fill the registers with sums.
constexpr int kDotCols = kTileRows;
struct DotTable {
  DotKernel kernel[kDotCols];
};
extern const DotTable kDots;

// c [rows, n] with the columns dealt out evenly to as few kernels as there must be.
GL_SIMD void multiplyDots(DotArgs args, int64_t n) {
  const int64_t parts = ceilDiv(n, kDotCols);
  const DotArgs whole = args;
  for (int64_t part = 0; part < parts; part++) {
    const int64_t col = tileBegin(part, parts, n);
    args.b = whole.b + col * args.ldb;
    args.c = whole.c + col;
    kDots.kernel[tileBegin(part + 1, parts, n) - col - 1](args);
  }
}

// source [k, cols], cols <= 2 kLanes, rows `ld` apart -> rows of columns [cols, k], `ldc` apart
GL_SIMD void packColumns(const float *source, int64_t ld, int64_t k, int64_t cols, float *packed, int64_t ldPacked) {
  for (int64_t c = 0; c < cols; c += kLanes) {
    const int64_t count = smaller(kLanes, cols - c);
    for (int64_t p = 0; p < k; p += kLanes) {
      Vec rows[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++) rows[i] = p + i < k ? load(source + (p + i) * ld + c, count) : Vec{};
      transposeBlock(rows);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; i++)
        if (i < count) store(packed + (c + i) * ldPacked + p, rows[i], smaller(kLanes, k - p));
    }
  }
}

}  // namespace gradline::cpu::GL_ISA
