// matmul: [m, k] x [k, n] -> [m, n], either operand read transposed, with epilogues and, where asked for, the sums over
// k of B. This file holds the blocking: which product the tiles form, what is packed, and how the work is cut into
// units. How tiles sum and finish stands in gemm/tile.h; products with few columns stand in gemm/dots.h, those with
// short sums in gemm/short.h.
#include "../gemm/dots.h"
#include "../gemm/short.h"
#include "columns.h"

namespace gradline::cpu::GL_ISA {

// A matrix as a side of the product reads it: element (i, p) is data[i * row + p * step], p counting the sum.
struct Side {
  int64_t row, step;
};

// Everything that follows from the shapes; computed by the plan and again by the units. The tiles form
// left [rows, k] x right [k, cols]: C itself or, when `flip`, C^T = B^T A^T. An element's sum is the same either way.
struct MatmulShape {
  int64_t m, n, k;
  bool transposeB;
  bool shortSums;  // in gemm/short.h; of the rest only `right` counts then
  bool dots;       // in gemm/dots.h; nothing below counts then but `pack`: B is copied to lie along k
  bool flip;
  int64_t rows, cols;
  Side left, right;
  bool pack;       // right is copied into panels of kTileCols, a slice of a column block at a time
  bool copy;       // of left, a slice of a tile's rows at a time
  int64_t slice;   // length of the pieces that the sum over k is cut into
  int64_t tiles;   // of rows
  int64_t panels;  // of columns
  int64_t blocks;  // of panels; unit u is tile u % tiles of block u / tiles
};

// A slice of a tile's rows stays in the first-level cache (14 x 512 floats, 28 KB), the panels of a block in the
// second-level cache (512 x 256 floats, 512 KB). Of short sums C is most of the traffic: a block as wide as the cache
// allows writes it row after row, 2 % faster where C leaves the cache.
constexpr int64_t kSlice = 512;
constexpr int64_t kWidestBlock = 256 / kTileCols;  // panels
constexpr int64_t kShortSum = 128;
constexpr int64_t kEnoughUnits = 16;
// Rows a multiple of 4 KB apart compete for the same few lines of a cache. Then packing pays although the side could be
// read where it lies: it lifts a product of 1024 x 1024 matrices by 3 % (16 lanes) and 40 % (8 lanes). Of the left side
// this holds for 8 lanes only: with 16 a tile uses nearly all of each line it meets, and a copy costs that product 7 %.
constexpr int64_t kLongRow = 1024;
constexpr int64_t kTilesWorthPacking = 8;
constexpr int64_t kStepsOfTile = 8;    // of the sum that starting and storing a tile take as long as
constexpr int64_t kMostDots = 14;      // columns
constexpr int64_t kShortestDot = 64;   // below, adding up the lanes costs more than empty ones
constexpr int64_t kRowsOfDots = 16;    // of a unit
constexpr int64_t kRowsOfShort = 32;   // of a unit
constexpr int64_t kShortestFlip = 64;  // of the sum: below, writing tiles transposed costs more than packing B does

static MatmulShape shapeOf(const Op &op) {
  MatmulShape s = {};
  const bool transposeA = op.iattr(attr::matmul::transposeA) != 0;
  s.transposeB = op.iattr(attr::matmul::transposeB) != 0;
  s.m = op.out[0].dims[0];
  s.n = op.out[0].dims[1];
  s.k = op.in[0].dims[transposeA ? 0 : 1];
  s.dots = !transposeA && s.n <= kMostDots && s.k >= kShortestDot;
  if (s.dots) {
    s.pack = !s.transposeB;
    return s;
  }
  const Side a = transposeA ? Side{1, s.m} : Side{s.k, 1}, b = s.transposeB ? Side{s.k, 1} : Side{1, s.n};
  s.right = b;
  s.shortSums = !transposeA && s.k > 0 && s.k <= kMostShort && s.n > kLanes;
  if (s.shortSums) return s;
  // Flipped, the columns of a short C^T fill a tile where those of C left most of one empty; and of a product that
  // needs packing, the smaller side is packed.
  const bool thin = transposeA && !s.transposeB && s.n <= kMostDots && s.n < s.m;
  const bool cheaper = !transposeA && s.transposeB && s.m < s.n && s.k >= kShortestFlip;
  s.flip = thin || cheaper;
  s.left = s.flip ? b : a;
  s.right = s.flip ? a : b;
  s.rows = s.flip ? s.n : s.m;
  s.cols = s.flip ? s.m : s.n;
  s.slice = ceilDiv(s.k, ceilDiv(s.k, kSlice));
  s.tiles = ceilDiv(s.rows, kTileRows);
  s.panels = ceilDiv(s.cols, kTileCols);
  // An even number of blocks, so that two threads seldom pack the same one.
  const int64_t widest = kWidestBlock * (s.k <= kShortSum ? kSlice / kShortSum : 1);
  s.blocks = smaller(s.panels, 2 * ceilDiv(s.panels, 2 * widest));
  while (s.blocks < s.panels && s.tiles * s.blocks < kEnoughUnits) s.blocks = smaller(s.panels, 2 * s.blocks);
  s.pack = s.right.row != 1 || (s.right.step % kLongRow == 0 && s.tiles >= kTilesWorthPacking);
  s.copy = kLanes < 16 && !s.flip && s.left.row == 1 && s.left.step % kLongRow == 0 && s.panels >= 4 * s.blocks;
  return s;
}

// First of the panels of a block, and of the columns.
GL_SIMD int64_t blockBegin(const MatmulShape &s, int64_t block) {
  return smaller(s.cols, block * s.panels / s.blocks * kTileCols);
}

constexpr int64_t kCopiedRows = (kTileRows + kLanes - 1) / kLanes * kLanes;

// Scratch of a thread: panels, then a tile that is written transposed or the copied rows of left [slice, kCopiedRows].
GL_SIMD int64_t panelFloats(const MatmulShape &s) {
  return s.pack ? ceilDiv(s.panels, s.blocks) * kTileCols * s.slice : 0;
}

GL_SIMD int64_t tileFloats(const MatmulShape &s) {
  return s.flip ? kTileRows * kTileCols : s.copy ? s.slice * kCopiedRows : 0;
}

// right [depth, cols] -> panels [depth, kTileCols], one after the other
GL_SIMD void packPanels(const Side &side, const float *right, int64_t depth, int64_t cols, float *panels) {
  for (int64_t c = 0; c < cols; c += kTileCols) {
    const int64_t width = smaller(kTileCols, cols - c);
    float *panel = panels + c * depth;
    if (side.row != 1) {
      packTransposed(right + c * side.row, side.row, width, depth, panel);
      continue;
    }
    for (int64_t p = 0; p < depth; p++)
      eachVec(width, [&](int64_t i, int64_t count)
                         GL_LAMBDA { store(panel + p * kTileCols + i, load(right + p * side.step + c + i, count)); });
  }
}

// Output 1 for the columns [begin, end) of op(B): their sum over the slice that begins at k0, added to that of the
// others.
GL_SIMD void sumColumns(const Op &op, const MatmulShape &s, int64_t k0, int64_t depth, int64_t begin, int64_t end) {
  const float *b = op.in[1].as<float>();
  float *db = op.out[1].as<float>();
  if (!s.transposeB) return sumRows(b + k0 * s.n, s.n, depth, begin, end, k0 > 0, db);
  for (int64_t j = begin; j < end; j++) {
    float sum = 0;
    for (int64_t p = 0; p < depth; p++) sum += b[j * s.k + k0 + p];
    db[j] = k0 > 0 ? db[j] + sum : sum;
  }
}

// A unit is kRowsOfShort rows of a panel of C; unit u is piece u % pieces of panel u / pieces.
static void multiplyShort(const Op &op, int64_t begin, int64_t end, void *) {
  const MatmulShape s = shapeOf(op);
  const int64_t pieces = ceilDiv(s.m, kRowsOfShort);
  float panel[kMostShort * kTileCols] = {};
  for (int64_t u = begin; u < end; u++) {
    const int64_t col = u / pieces * kTileCols, row = u % pieces * kRowsOfShort;
    ShortArgs args;
    args.a = op.in[0].as<float>() + row * s.k;
    args.lda = s.k;
    args.b = panel;
    args.rows = smaller(kRowsOfShort, s.m - row);
    args.cols = smaller(kTileCols, s.n - col);
    args.c = op.out[0].as<float>() + row * s.n + col;
    args.ldc = s.n;
    if (row == 0 || u == begin) packPanels(s.right, op.in[1].as<float>() + col * s.right.row, s.k, args.cols, panel);
    if (row == 0 && op.outputs > 1) sumColumns(op, s, 0, s.k, col, col + args.cols);
    kShort.kernel[s.k - 1](args);
    int64_t rowC[kRowsOfShort];
    for (int64_t r = 0; r < args.rows; r++) rowC[r] = (row + r) * s.n;
    finishTile(op, rowC, args.rows, col, args.cols);
  }
}

static void multiplyBlocks(const Op &op, int64_t begin, int64_t end, void *scratch) {
  const MatmulShape s = shapeOf(op);
  const float *left = op.in[s.flip ? 1 : 0].as<float>(), *right = op.in[s.flip ? 0 : 1].as<float>();
  float *c = op.out[0].as<float>(), *panels = static_cast<float *>(scratch), *tile = panels + panelFloats(s);
  int64_t rowTile[kTileRows], rowC[kTileCols];
  for (int64_t r = 0; r < kTileRows; r++) rowTile[r] = r * kTileCols;
  TileArgs args;
  args.rows = s.left.row == 1 ? RowsOfA::adjacent : RowsOfA::spaced;
  args.spacing = s.left.row;
  args.rowC = s.flip ? rowTile : rowC;
  args.ldb = s.pack ? kTileCols : s.right.step;
  for (int64_t u = begin, unitEnd; u < end; u = unitEnd) {
    const int64_t block = u / s.tiles, colBegin = blockBegin(s, block), colEnd = blockBegin(s, block + 1);
    unitEnd = smaller(end, (block + 1) * s.tiles);  // all units of this block
    for (int64_t k = 0; k < s.k; k += s.slice) {
      const int64_t depth = smaller(s.slice, s.k - k);
      const bool last = k + depth == s.k;
      const float *b = right + k * s.right.step + colBegin * s.right.row;
      if (s.pack) packPanels(s.right, b, depth, colEnd - colBegin, panels);
      args.accumulate = k > 0 && !s.flip;
      args.walk = {{1, 1, depth}, {0, 0, s.copy ? kCopiedRows : s.left.step}};
      for (int64_t t = u - block * s.tiles; t < unitEnd - block * s.tiles; t++) {
        const int64_t row = tileBegin(t, s.tiles, s.rows), rows = tileBegin(t + 1, s.tiles, s.rows) - row;
        args.a = left + row * s.left.row + k * s.left.step;
        if (s.copy) {
          for (int64_t p = 0; p < depth; p++)
            eachVec(rows, [&](int64_t r, int64_t count) GL_LAMBDA {
              store(tile + p * kCopiedRows + r, load(args.a + p * s.left.step + r, count));
            });
          args.a = tile;
        }
        if (op.outputs > 1 && s.flip && block == 0) sumColumns(op, s, k, depth, row, row + rows);
        if (op.outputs > 1 && !s.flip && t == 0) sumColumns(op, s, k, depth, colBegin, colEnd);
        if (!s.flip)
          for (int64_t r = 0; r < rows; r++) rowC[r] = (row + r) * s.n;
        for (int64_t col = colBegin; col < colEnd; col += kTileCols) {
          const int64_t cols = smaller(kTileCols, colEnd - col);
          args.b = s.pack ? panels + (col - colBegin) * depth : b + col - colBegin;
          if (s.flip)
            for (int64_t r = 0; r < cols; r++) rowC[r] = (col + r) * s.n;
          args.c = s.flip ? tile : c + col;
          multiplyTile(args, rows, cols);
          if (s.flip) storeTransposed(tile, rows, cols, k > 0, c + row, rowC);
          if (last) finishTile(op, rowC, s.flip ? cols : rows, s.flip ? row : col, s.flip ? rows : cols);
        }
      }
    }
  }
}

// A unit is kRowsOfDots rows of C.
static void multiplyNarrow(const Op &op, int64_t begin, int64_t end, void *scratch) {
  const MatmulShape s = shapeOf(op);
  const float *b = op.in[1].as<float>();
  if (s.pack) packColumns(b, s.n, s.k, s.n, static_cast<float *>(scratch), s.k);
  DotArgs args = {op.in[0].as<float>(),
                  s.pack ? static_cast<const float *>(scratch) : b,
                  s.k,
                  s.k,
                  s.k,
                  0,
                  op.out[0].as<float>(),
                  s.n};
  if (op.outputs > 1 && begin == 0) sumColumns(op, s, 0, s.k, 0, s.n);
  for (int64_t u = begin; u < end; u++) {
    const int64_t row = u * kRowsOfDots;
    args.rows = smaller(kRowsOfDots, s.m - row);
    args.a = op.in[0].as<float>() + row * s.k;
    args.c = op.out[0].as<float>() + row * s.n;
    multiplyDots(args, s.n);
    int64_t rowC[kRowsOfDots];
    for (int64_t r = 0; r < args.rows; r++) rowC[r] = (row + r) * s.n;
    finishTile(op, rowC, args.rows, 0, s.n);
  }
}

bool planMatmul(const Op &op, KernelPlan &plan) {
  if (!allF32(op) || op.out[0].size == 0 || op.in[0].size == 0) return false;
  const MatmulShape s = shapeOf(op);
  if (s.dots) {
    onePhase(plan, "matmul", multiplyNarrow, ceilDiv(s.m, kRowsOfDots),
             2.0 * static_cast<double>(s.m * s.k * s.n) / kMultiplyAddsPerNs);
    plan.scratch = sizeof(float) * static_cast<size_t>(s.pack ? s.k * s.n : 0);
    byRows(plan, s.m, kRowsOfDots, inputBit(0) | outputBit(0));
    return true;
  }
  if (s.shortSums) {
    onePhase(plan, "matmul", multiplyShort, ceilDiv(s.m, kRowsOfShort) * ceilDiv(s.n, kTileCols),
             static_cast<double>(s.m * s.n * (s.k + kStepsOfTile)) / kMultiplyAddsPerNs);
    return true;
  }
  const double width = static_cast<double>(ceilDiv(s.cols, kLanes) * kLanes);
  onePhase(plan, "matmul", multiplyBlocks, s.tiles * s.blocks,
           static_cast<double>(s.rows * (s.k + kStepsOfTile)) * width / kMultiplyAddsPerNs);
  plan.scratch = sizeof(float) * static_cast<size_t>(panelFloats(s) + tileFloats(s));
  if (s.blocks == 1 && !s.flip) byRows(plan, s.m, 0, (s.left.row == 1 ? 0 : inputBit(0)) | outputBit(0));
  return true;
}

}  // namespace gradline::cpu::GL_ISA
