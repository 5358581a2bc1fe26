// The dot-product kernels of one instruction set, one per number of columns.
#include "dots.h"

namespace gradline::cpu::GL_ISA {

// Lane i of the result is the sum of the lanes of v[i]: the rounds of a transposition, adding where that one
// interleaves.
GL_SIMD Vec sumEach(Vec (&v)[kLanes]) {
#pragma GCC unroll 4
  for (int half = kLanes / 2; half > 0; half /= 2)
#pragma GCC unroll 8
    for (int i = 0; i < half; i++) v[i] = interleave<0>(v[i], v[i + half]) + interleave<kLanes / 2>(v[i], v[i + half]);
  return v[0];
}

template <int rows, int cols>
GL_SIMD void dotRows(const DotArgs &args, int64_t row) {
  Vec sum[rows][kLanes] = {};
  const float *a = args.a + row * args.lda;
  eachVec(args.k, [&](int64_t p, int64_t count) GL_LAMBDA {
    Vec x[rows];
#pragma GCC unroll 2
    for (int r = 0; r < rows; r++) x[r] = load(a + r * args.lda + p, count);
#pragma GCC unroll 16
    for (int j = 0; j < cols; j++) {
      const Vec y = load(args.b + j * args.ldb + p, count);
#pragma GCC unroll 2
      for (int r = 0; r < rows; r++) sum[r][j] += x[r] * y;
    }
  });
#pragma GCC unroll 2
  for (int r = 0; r < rows; r++) store(args.c + (row + r) * args.ldc, sumEach(sum[r]), cols);
}

template <int cols>
static void dots(const DotArgs &args) {
  int64_t row = 0;
  for (; row + 2 <= args.rows; row += 2) dotRows<2, cols>(args, row);
  if (row < args.rows) dotRows<1, cols>(args, row);
}

template <int cols>
static consteval void fillTable(DotTable &table) {
  table.kernel[cols - 1] = dots<cols>;
  if constexpr (cols > 1) fillTable<cols - 1>(table);
}
static consteval DotTable makeTable() {
  DotTable table = {};
  fillTable<kDotCols>(table);
  return table;
}
constinit const DotTable kDots = makeTable();

}  // namespace gradline::cpu::GL_ISA
