// The multiplication kernels of one instruction set: one function per tile size, chosen from a table.
// It holds no blocking and knows no op.
#include "tile.h"

namespace gradline::cpu::GL_ISA {

// rows x vecs sums in registers. Every loop over rows or vecs is unrolled, so the sums never touch memory.
template <int rows, int vecs, bool partial>
static void multiply(const TileArgs &args) {
  const int64_t lastCols = partial ? args.lastCols : kLanes;
  if (partial && (lastCols < 1 || lastCols >= kLanes)) __builtin_unreachable();  // keeps a branch out of the loop
  Vec sum[rows][vecs] = {};
  int64_t rowA[rows];
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++) rowA[r] = args.rowA[r];
  const float *b = args.b;
  const int64_t ldb = args.ldb, count = args.walk.count[2], stride = args.walk.stride[2];
  for (int64_t i0 = 0; i0 < args.walk.count[0]; i0++)
    for (int64_t i1 = 0; i1 < args.walk.count[1]; i1++) {
      const float *a = args.a + i0 * args.walk.stride[0] + i1 * args.walk.stride[1];
      for (int64_t i2 = 0; i2 < count; i2++) {
        Vec row[vecs];
#pragma GCC unroll 2
        for (int v = 0; v < vecs; v++)
          row[v] = partial && v == vecs - 1 ? load(b + v * kLanes, lastCols) : load(b + v * kLanes);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
          const Vec x = set1(a[rowA[r]]);
#pragma GCC unroll 2
          for (int v = 0; v < vecs; v++) sum[r][v] += x * row[v];
        }
        a += stride;
        b += ldb;
      }
    }
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
    for (int v = 0; v < vecs; v++) {
      float *c = args.c + args.rowC[r] + v * kLanes;
      const int64_t cols = v == vecs - 1 ? lastCols : kLanes;
      store(c, args.accumulate ? load(c, cols) + sum[r][v] : sum[r][v], cols);
    }
  }
}

template <int rows>
static consteval void fillTable(TileTable &table) {
  table.kernel[rows - 1][0][0] = multiply<rows, 1, false>;
  table.kernel[rows - 1][0][1] = multiply<rows, 1, true>;
  table.kernel[rows - 1][1][0] = multiply<rows, 2, false>;
  table.kernel[rows - 1][1][1] = multiply<rows, 2, true>;
  if constexpr (rows > 1) fillTable<rows - 1>(table);
}
static consteval TileTable makeTable() {
  TileTable table = {};
  fillTable<kTileRows>(table);
  return table;
}
constinit const TileTable kTiles = makeTable();

}  // namespace gradline::cpu::GL_ISA
