// Products with short sums, such as the gradient that a head of ten classes hands back: the few rows of B stay where
// they are, in registers as far as those reach, and the rows of A go past them. A tile of gemm/tile.h would spend as
// long on starting and storing as on multiplying. Chosen by kernels/matmul.cc.
#pragma once
#include "pack.h"

namespace gradline::cpu::GL_ISA {

// C[r][0 .. cols) = sum over k of a[r][k] * b[k][0 .. cols) for r < rows, the sum taken in order of k.
struct ShortArgs {
  const float *a;
  int64_t lda;
  const float *b;  // a panel [k, kTileCols]
  int64_t rows, cols;
  float *c;
  int64_t ldc;
};
using ShortKernel = void (*)(const ShortArgs &);

constexpr int kMostShort = 16;  // length of the sum
struct ShortTable {
  ShortKernel kernel[kMostShort];  // by length - 1
};
extern const ShortTable kShort;

}  // namespace gradline::cpu::GL_ISA
