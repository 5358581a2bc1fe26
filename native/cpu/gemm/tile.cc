// The multiplication kernels of one instruction set: one function per tile size, chosen from a table.
// It holds no blocking and knows no op.
#include "tile.h"

namespace gradline::cpu::GL_ISA {

// The same address, of which the compiler does not know where it came from.
GL_SIMD const char *hidden(const char *address) {
  asm("" : "+r"(address));
  return address;
}

// rows x vecs sums in registers. Every loop over rows or vecs is unrolled, so the sums never touch memory.
template <int rows, int vecs, bool partial, RowsOfA where>
static void multiply(const TileArgs &args) {
  const int64_t lastCols = partial ? args.lastCols : kLanes;
  if (partial && (lastCols < 1 || lastCols >= kLanes)) __builtin_unreachable();  // keeps a branch out of the loop
  Vec sum[rows][vecs] = {};
  const float *b = args.b;
  const int64_t ldb = args.ldb, count = args.walk.count[2], stride = args.walk.stride[2];
  // One step of the sum; element(r) is that of A in row r.
  const auto step = [&](auto element) GL_LAMBDA {
    Vec row[vecs];
#pragma GCC unroll 2
    for (int v = 0; v < vecs; v++)
      row[v] = partial && v == vecs - 1 ? load(b + v * kLanes, lastCols) : load(b + v * kLanes);
#pragma GCC unroll 32
    for (int r = 0; r < rows; r++) {
      const Vec x = set1(element(r));
#pragma GCC unroll 2
      for (int v = 0; v < vecs; v++) sum[r][v] += x * row[v];
    }
    b += ldb;
  };
  int64_t rowA[rows];
  if constexpr (where == RowsOfA::anywhere)
#pragma GCC unroll 16
    for (int r = 0; r < rows; r++) rowA[r] = args.rowA[r];
  const int64_t bytes = args.spacing * static_cast<int64_t>(sizeof(float));
  for (int64_t i0 = 0; i0 < args.walk.count[0]; i0++)
    for (int64_t i1 = 0; i1 < args.walk.count[1]; i1++) {
      const float *a = args.a + i0 * args.walk.stride[0] + i1 * args.walk.stride[1];
      for (int64_t i2 = 0; i2 < count; i2++, a += stride) {
        if constexpr (where == RowsOfA::adjacent)
          step([&](int r) GL_LAMBDA { return a[r]; });
        else if constexpr (where == RowsOfA::anywhere)
          step([&](int r) GL_LAMBDA { return a[rowA[r]]; });
        else {
          // Rows 0 to 4 of each of a few bases: an address adds 1, 2 or 4 times `bytes`, or 3 times, in a register.
          // Hidden from the compiler, which would make them an offset for each row again.
          constexpr int bases = (rows + 4) / 5;
          const char *base[bases];
#pragma GCC unroll 6
          for (int i = 0; i < bases; i++) base[i] = hidden(reinterpret_cast<const char *>(a) + 5 * i * bytes);
          step([&](int r) GL_LAMBDA { return *reinterpret_cast<const float *>(base[r / 5] + r % 5 * bytes); });
        }
      }
    }
  // Read once: for all the compiler knows, a store to C changes them.
  float *c = args.c;
  const int64_t *rowC = args.rowC;
  const auto finish = [&](auto result) GL_LAMBDA {
#pragma GCC unroll 32
    for (int r = 0; r < rows; r++) {
      float *to = c + rowC[r];
#pragma GCC unroll 2
      for (int v = 0; v < vecs; v++) {
        const int64_t cols = v == vecs - 1 ? lastCols : kLanes;
        store(to + v * kLanes, result(to + v * kLanes, cols, sum[r][v]), cols);
      }
    }
  };
  if (args.accumulate)
    finish([](const float *to, int64_t cols, Vec sum) GL_LAMBDA { return load(to, cols) + sum; });
  else
    finish([](const float *, int64_t, Vec sum) GL_LAMBDA { return sum; });
}

template <int rows, RowsOfA where>
static consteval void fillTable(TileTable &table) {
  auto &kernel = table.kernel[static_cast<int>(where)][rows - 1];
  kernel[0][0] = multiply<rows, 1, false, where>;
  kernel[0][1] = multiply<rows, 1, true, where>;
  kernel[1][0] = multiply<rows, 2, false, where>;
  kernel[1][1] = multiply<rows, 2, true, where>;
  if constexpr (rows > 1) fillTable<rows - 1, where>(table);
}
template <int rows>
static consteval void fillTall(TileTable &table) {
  table.tall[rows - 1][0] = multiply<rows, 1, false, RowsOfA::spaced>;
  table.tall[rows - 1][1] = multiply<rows, 1, true, RowsOfA::spaced>;
  if constexpr (rows > 1) fillTall<rows - 1>(table);
}
static consteval TileTable makeTable() {
  TileTable table = {};
  fillTable<kTileRows, RowsOfA::anywhere>(table);
  fillTable<kTileRows, RowsOfA::spaced>(table);
  fillTable<kTileRows, RowsOfA::adjacent>(table);
  fillTall<kTallRows>(table);
  return table;
}
constinit const TileTable kTiles = makeTable();

}  // namespace gradline::cpu::GL_ISA
