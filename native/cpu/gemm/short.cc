// The kernels for short sums of one instruction set, one per length.
#include "short.h"

namespace gradline::cpu::GL_ISA {

// As many rows at once as keep the multipliers busy: each sum is a chain of dependent additions.
constexpr int kShortRows = 4;

template <int k, int rows, bool full>
GL_SIMD void shortRows(const ShortArgs args, int64_t row) {
  const int64_t last = full ? kLanes : args.cols - kLanes;  // columns of the second vector
  const float *a = args.a + row * args.lda;
  Vec sum[rows][kTileVecs] = {};
#pragma GCC unroll 16
  for (int p = 0; p < k; p++)
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
      const Vec x = set1(a[r * args.lda + p]);
#pragma GCC unroll 2
      for (int v = 0; v < kTileVecs; v++) sum[r][v] += x * load(args.b + p * kTileCols + v * kLanes);
    }
  // Isolated, for else the compiler moves the second vector's sums behind the branches of the stores and runs out of
  // registers.
#pragma GCC unroll 4
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
    for (int v = 0; v < kTileVecs; v++) sum[r][v] = isolate(sum[r][v]);
#pragma GCC unroll 4
  for (int r = 0; r < rows; r++) {
    float *c = args.c + (row + r) * args.ldc;
    store(c, sum[r][0], full || last > 0 ? kLanes : args.cols);
    if (full || last > 0) store(c + kLanes, sum[r][1], last);
  }
}

template <int k, bool full>
GL_SIMD void shortPanel(const ShortArgs args) {
  int64_t row = 0;
  for (; row + kShortRows <= args.rows; row += kShortRows) shortRows<k, kShortRows, full>(args, row);
  for (; row < args.rows; row++) shortRows<k, 1, full>(args, row);
}

template <int k>
static void shortSums(const ShortArgs &args) {
  if (args.cols == kTileCols) return shortPanel<k, true>(args);
  shortPanel<k, false>(args);
}

template <int k>
static consteval void fillTable(ShortTable &table) {
  table.kernel[k - 1] = shortSums<k>;
  if constexpr (k > 1) fillTable<k - 1>(table);
}
static consteval ShortTable makeTable() {
  ShortTable table = {};
  fillTable<kMostShort>(table);
  return table;
}
constinit const ShortTable kShort = makeTable();

}  // namespace gradline::cpu::GL_ISA
