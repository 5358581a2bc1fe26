// The multiplication kernels on planes of planar.h: one function per tile size, chosen from a table. It holds no
// blocking and knows no op.
#include "planar.h"

namespace gradline::cpu::GL_ISA {

template <int rows, int vecs>
static void multiply(const PlanarArgs &args) {
  Vec sum[rows][vecs] = {};
  const float *b = args.b;
  const int64_t *at = args.offsets;
  const int64_t ldb = args.ldb, lastCols = args.lastCols, ldc = args.ldc;
  float *c = args.c;
  for (int64_t k = args.depth; k > 0; k--, at++, b += ldb) {
    const float *a = args.a + *at;
    Vec row[vecs];
#pragma GCC unroll 2
    for (int v = 0; v < vecs - 1; v++) row[v] = load(b + v * kLanes);
    row[vecs - 1] = load(b + (vecs - 1) * kLanes, lastCols);
#pragma GCC unroll 32
    for (int r = 0; r < rows; r++) {
      const Vec x = set1(a[r]);
#pragma GCC unroll 2
      for (int v = 0; v < vecs; v++) sum[r][v] += x * row[v];
    }
  }
#pragma GCC unroll 32
  for (int r = 0; r < rows; r++) {
#pragma GCC unroll 2
    for (int v = 0; v < vecs; v++) store(c + v * kLanes, sum[r][v], v == vecs - 1 ? lastCols : kLanes);
    c += ldc;
  }
}

template <int vecs, int rows>
static consteval void fillTable(PlanarTable &table) {
  table.kernel[vecs - 1][rows - 1] = multiply<rows, vecs>;
  if constexpr (rows > 1) fillTable<vecs, rows - 1>(table);
}
static consteval PlanarTable makeTable() {
  PlanarTable table = {};
  fillTable<1, kPlanarRows[0]>(table);
  fillTable<2, kPlanarRows[1]>(table);
  return table;
}
constinit const PlanarTable kPlanarTiles = makeTable();

}  // namespace gradline::cpu::GL_ISA
