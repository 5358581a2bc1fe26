// The one multiplication kernel under matmul and the three convolutions: a tile of C in registers, A read where it lies
// through row offsets and a walk of three loops, so that neither a matrix product nor a convolution needs A packed.
// Blocking, packing of B and the choice of tiles are the callers' business.
#pragma once
#include "../kernels/activation.h"
#include "../kernels/kernels.h"

namespace gradline::cpu::GL_ISA {

// A tile of kTileRows x kTileCols fills the vector registers with sums and leaves room for a row of B and one element
// of A (Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 2008).
#if defined(__AVX512F__)
constexpr int kTileRows = 14;
#elif defined(__AVX2__)
constexpr int kTileRows = 6;
#else
constexpr int kTileRows = 4;
#endif
constexpr int kTileVecs = 2;
constexpr int kTallRows = kTileVecs * kTileRows;  // of a tile that is one vector wide, its rows spaced
constexpr int kTileCols = kTileVecs * kLanes;

// The summation loop as seen by A: element (r, k) of A is a[row r + i0 * stride[0] + i1 * stride[1] + i2 * stride[2]],
// where k counts i2 fastest. B simply goes on to its next row with each k.
struct Walk {
  int64_t count[3];
  int64_t stride[3];
};

// Where the rows of A begin. An offset for each is more than there are registers for addresses; where they follow a
// rule, a tile needs fewer. Short sums gain most: up to a quarter at a length of 32.
enum class RowsOfA { anywhere, spaced, adjacent };  // at rowA[r], r * spacing, r
constexpr int kRowsOfA = 3;

// C[r][0 .. cols) = (accumulate ? C : 0) + sum over k of A[r][k] * B[k][0 .. cols), the sum taken in order of k from 0
// and then added to C: the bits of an element depend neither on its place in a tile nor on the tile's size.
struct TileArgs {
  Walk walk;
  const float *a;
  RowsOfA rows;
  const int64_t *rowA;
  int64_t spacing;
  const float *b;
  int64_t ldb;
  float *c;
  const int64_t *rowC;
  int64_t lastCols;  // columns of the last vector, 1 .. kLanes
  bool accumulate;
};
using TileKernel = void (*)(const TileArgs &);

// By where rows of A begin, rows - 1, vectors - 1, and whether the last vector is partial.
struct TileTable {
  TileKernel kernel[kRowsOfA][kTileRows][kTileVecs][2];
  TileKernel tall[kTallRows][2];
};
extern const TileTable kTiles;

// Rows that begin at base + rowA[0 .. rows): sets a and where they begin by the simplest rule that holds.
GL_SIMD void placeRows(TileArgs &args, const float *base, const int64_t *rowA, int64_t rows) {
  args.rowA = rowA;
  args.spacing = rows > 1 ? rowA[1] - rowA[0] : 1;
  bool even = true;
  for (int64_t r = 1; r < rows; r++) even &= rowA[r] - rowA[r - 1] == args.spacing;
  args.rows = !even ? RowsOfA::anywhere : args.spacing == 1 ? RowsOfA::adjacent : RowsOfA::spaced;
  args.a = even ? base + rowA[0] : base;
}

// First of the rows of tile t when `rows` are dealt out evenly to `tiles` tiles: 32 rows are 10 + 11 + 11, not
// 14 + 14 + 4, since a short tile leaves the multipliers waiting for each other.
GL_SIMD int64_t tileBegin(int64_t t, int64_t tiles, int64_t rows) { return t * rows / tiles; }

// One tile of rows <= kTileRows and cols <= kTileCols; args.lastCols is set here.
GL_SIMD void multiplyTile(TileArgs &args, int64_t rows, int64_t cols) {
  const int64_t vecs = ceilDiv(cols, kLanes);
  args.lastCols = cols - (vecs - 1) * kLanes;
  kTiles.kernel[static_cast<int>(args.rows)][rows - 1][vecs - 1][args.lastCols != kLanes](args);
}

// One tile of rows <= kTallRows and cols <= kLanes; the rows are `args.spacing` apart.
GL_SIMD void multiplyTall(TileArgs &args, int64_t rows, int64_t cols) {
  args.lastCols = cols;
  kTiles.tall[rows - 1][cols != kLanes](args);
}

// The epilogues of `op` on the elements out[rowC[r] + col .. + cols) of out[0]. They run on the tile while it lies in
// the first-level cache, with the vector functions of the elementwise kernels.
GL_SIMD void finishTile(const Op &op, const int64_t *rowC, int64_t rows, int64_t col, int64_t cols) {
  float *out = op.out[0].as<float>();
  for (int e = 0; e < op.epilogues; e++) {
    const Epilogue &epilogue = op.epilogue[e];
    const float attr = static_cast<float>(epilogue.attr);
    const float *operand = epilogue.hasOperand ? epilogue.operand.as<float>() : out;  // `out`: read but not used
    const bool isRow = epilogue.hasOperand && epilogue.operand.size != op.out[0].size;
    withEpilogueCode(epilogue.code, [&](auto code) GL_LAMBDA {
      for (int64_t r = 0; r < rows; r++) {
        float *c = out + rowC[r] + col;
        const float *b = operand + (isRow ? 0 : rowC[r]) + col;
        eachVec(cols, [&](int64_t i, int64_t count) GL_LAMBDA {
          store(c + i, activate<decltype(code)::value>(load(c + i, count), load(b + i, count), attr), count);
        });
      }
    });
  }
}

// Rough rate of the kernels, in multiply-adds per nanosecond on one thread; only for choosing thread counts.
constexpr double kMultiplyAddsPerNs = kLanes * (kLanes > 4 ? 5.0 : 3.0);

}  // namespace gradline::cpu::GL_ISA
