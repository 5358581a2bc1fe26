// matmul: [m, k] x [k, n] -> [m, n], either operand read transposed, with epilogues. Both are read where they lie,
// unless B is transposed or rows would compete for places in the cache. Units are blocks of C; how tiles sum and finish
// stands in gemm/tile.h.
#include "../gemm/pack.h"
#include "columns.h"

namespace gradline::cpu::GL_ISA {

// Everything that follows from the shapes; computed by the plan and again by each phase.
struct MatmulShape {
  int64_t m, n, k;
  bool transposeA, transposeB;
  bool copyA, packB;
  int64_t tiles;      // of rows
  int64_t blockCols;  // columns of a unit, a multiple of kTileCols
  int64_t blocks;     // of columns; unit u is tile u % tiles of column block u / tiles
  int64_t slice;      // length of the pieces that the sum over k is cut into
};

constexpr int64_t kSlice = 320;        // a tile of A and a panel of B of this depth stay in the first-level cache
constexpr int64_t kWidestBlock = 256;  // columns: a slice of such a block stays in the second-level cache
constexpr int64_t kCopiedRows = (kTileRows + kLanes - 1) / kLanes * kLanes;
constexpr int64_t kEnoughUnits = 16;   // where rows alone give fewer, columns are cut too
constexpr int64_t kPackedSlice = 128;  // of a panel of B that is one unit of packing
// Rows a multiple of 4 KB apart compete for the same few lines of a cache, and then a copy pays: with 8 lanes it lifts
// a product of 1024 x 1024 matrices from 60 to 85 % of peak. With 16 lanes a tile uses nearly all of each line it
// meets, and the copy costs more than it saves.
constexpr int64_t kLongRow = 1024;
constexpr bool kRowsCompete = kLanes < 16;

static MatmulShape shapeOf(const Op &op) {
  MatmulShape s;
  s.transposeA = op.iattr(attr::matmul::transposeA) != 0;
  s.transposeB = op.iattr(attr::matmul::transposeB) != 0;
  s.m = op.out[0].dims[0];
  s.n = op.out[0].dims[1];
  s.k = op.in[0].dims[s.transposeA ? 0 : 1];
  s.tiles = ceilDiv(s.m, kTileRows);
  int64_t panels = ceilDiv(smaller(s.n, kWidestBlock), kTileCols);
  while (panels > 1 && s.tiles * ceilDiv(s.n, panels * kTileCols) < kEnoughUnits) panels = (panels + 1) / 2;
  s.blockCols = panels * kTileCols;
  s.blocks = ceilDiv(s.n, s.blockCols);
  s.slice = ceilDiv(s.k, ceilDiv(s.k, kSlice));
  s.packB = s.transposeB || (kRowsCompete && s.n % kLongRow == 0 && s.tiles >= 8);
  s.copyA = kRowsCompete && s.transposeA && s.m % kLongRow == 0 && panels >= 4;
  return s;
}

// b [k, n] ([n, k] if transposeB) -> workspace: panels [k, kTileCols]. A unit is one slice of one panel.
static void packB(const Op &op, int64_t begin, int64_t end, void *) {
  const MatmulShape s = shapeOf(op);
  const int64_t slices = ceilDiv(s.k, kPackedSlice);
  const float *b = op.in[1].as<float>();
  float *packed = static_cast<float *>(op.workspace);
  for (int64_t u = begin; u < end; u++) {
    const int64_t col = u / slices * kTileCols, k0 = u % slices * kPackedSlice;
    const int64_t cols = smaller(kTileCols, s.n - col), depth = smaller(kPackedSlice, s.k - k0);
    float *panel = packed + col * s.k + k0 * kTileCols;
    if (s.transposeB) {
      packTransposed(b + col * s.k + k0, s.k, cols, depth, panel);
    } else {
      for (int64_t p = 0; p < depth; p++)
        eachVec(cols, [&](int64_t c, int64_t count)
                          GL_LAMBDA { store(panel + p * kTileCols + c, load(b + (k0 + p) * s.n + col + c, count)); });
    }
  }
}

static void multiplyBlocks(const Op &op, int64_t begin, int64_t end, void *scratch) {
  const MatmulShape s = shapeOf(op);
  const float *a = op.in[0].as<float>();
  const float *b = s.packB ? static_cast<const float *>(op.workspace) : op.in[1].as<float>();
  float *c = op.out[0].as<float>(), *db = op.out[1].as<float>();
  int64_t rowA[kTileRows], rowC[kTileRows];
  TileArgs args;
  args.rowA = rowA;
  args.rowC = rowC;
  args.ldb = s.packB ? kTileCols : s.n;
  for (int64_t u = begin, unitEnd; u < end; u = unitEnd) {
    unitEnd = smaller(end, (u / s.tiles + 1) * s.tiles);  // all units of this column block
    const int64_t colBegin = u / s.tiles * s.blockCols, colEnd = smaller(s.n, colBegin + s.blockCols);
    for (int64_t k = 0; k < s.k; k += s.slice) {
      const int64_t depth = smaller(s.slice, s.k - k);
      args.accumulate = k > 0;
      for (int64_t t = u; t < unitEnd; t++) {
        const int64_t row = tileBegin(t % s.tiles, s.tiles, s.m);
        const int64_t rows = tileBegin(t % s.tiles + 1, s.tiles, s.m) - row;
        for (int64_t r = 0; r < rows; r++) {
          rowA[r] = r * (s.transposeA ? 1 : s.k);
          rowC[r] = (row + r) * s.n;
        }
        args.a = a + (s.transposeA ? k * s.m + row : row * s.k + k);
        args.walk = {{1, 1, depth}, {0, 0, s.transposeA ? s.m : 1}};
        if (s.copyA) {
          float *copy = static_cast<float *>(scratch);  // [depth, kCopiedRows]
          for (int64_t p = 0; p < depth; p++)
            eachVec(rows, [&](int64_t r, int64_t count)
                              GL_LAMBDA { store(copy + p * kCopiedRows + r, load(args.a + p * s.m + r, count)); });
          args.a = copy;
          args.walk.stride[2] = kCopiedRows;
        }
        for (int64_t col = colBegin; col < colEnd; col += kTileCols) {
          const int64_t cols = smaller(kTileCols, colEnd - col);
          args.b = s.packB ? b + col * s.k + k * kTileCols : b + k * s.n + col;
          args.c = c + col;
          if (op.outputs > 1 && row == 0) sumRows(args.b, args.ldb, depth, 0, cols, args.accumulate, db + col);
          multiplyTile(args, rows, cols);
          if (k + depth == s.k) finishTile(op, rowC, rows, col, cols);
        }
      }
    }
  }
}

bool planMatmul(const Op &op, KernelPlan &plan) {
  if (!allF32(op) || op.out[0].size == 0 || op.in[0].size == 0) return false;
  const MatmulShape s = shapeOf(op);
  plan = {};
  plan.name = "matmul";
  const double width = static_cast<double>(ceilDiv(s.n, kLanes) * kLanes), m = static_cast<double>(s.m);
  const double k = static_cast<double>(s.k);
  if (s.copyA) plan.scratch = sizeof(float) * static_cast<size_t>(s.slice * kCopiedRows);
  if (s.packB) {
    plan.workspace = sizeof(float) * static_cast<size_t>(ceilDiv(s.n, kTileCols) * kTileCols * s.k);
    addPhase(plan, packB, ceilDiv(s.n, kTileCols) * ceilDiv(s.k, kPackedSlice), width * k * 0.15);
  }
  addPhase(plan, multiplyBlocks, s.tiles * s.blocks, m * width * k / kMultiplyAddsPerNs);
  if (s.blocks == 1) byRows(plan, s.m, 0, (s.transposeA ? 0 : inputBit(0)) | outputBit(0));
  return true;
}

}  // namespace gradline::cpu::GL_ISA
