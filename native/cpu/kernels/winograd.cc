// F(2x2, 3x3): a tile of 2x2 outputs from 4x4 inputs d and a filter g is A'[(G g G') * (B' d B)]A with * by element.
// Over channels the products by element are 16 matrix products, [tiles, channels] x [channels, outs], which the tile
// kernel makes. Filters are transformed once a step into the workspace; a unit transforms a block of tiles, multiplies
// and transforms back, panel by panel, all of it in the second-level cache.
#include "winograd.h"

#include "../gemm/pack.h"
#include "../gemm/patches.h"
#include "../gemm/tiles4.h"

namespace gradline::cpu::GL_ISA {

constexpr int64_t kFilterRows = 32;  // channels of a unit of the filter transform
constexpr int64_t kEnoughUnits = 32;

struct Winograd {
  Patches p;  // its places are tiles
  int64_t outs, outHeight, outWidth;
  int64_t panels, part, parts;  // of the output channels, in panels; a unit's share of them
  bool flipped;                 // the gradient: taps from the last to the first, channels exchanged

  GL_INLINE int64_t units() const { return p.blocks() * parts; }
  GL_INLINE int64_t filterChunks() const { return ceilDiv(p.channels, kFilterRows); }
  // Floats from point to point: of the transformed inputs, of the products, of a panel of the filter.
  GL_INLINE int64_t inputPoint() const { return ceilDiv(p.blockPlaces() * p.channels, 16) * 16 + kApart; }
  GL_INLINE int64_t productPoint() const { return p.blockPlaces() * kTileCols + kApart; }
  GL_INLINE int64_t filterPoint() const { return p.channels * kTileCols; }
  GL_INLINE int64_t slabFloats() const { return ceilDiv(p.slabSize(), 16) * 16; }
};

GL_SIMD Winograd winogradOf(const Op &op) {
  namespace at = attr::conv2d;  // those of conv2dInputGrad have the same places
  const Tensor &x = op.in[0], &y = op.out[0];
  Winograd s;
  s.flipped = op.code == OpCode::conv2dInputGrad;
  s.outs = y.dims[3];
  s.outHeight = y.dims[1];
  s.outWidth = y.dims[2];
  const int64_t top = op.iattr(at::padTop), left = op.iattr(at::padLeft);
  s.p.y = {ceilDiv(y.dims[1], 2), x.dims[1], 4, 2, 1, s.flipped ? top - 2 : -top};
  s.p.x = {ceilDiv(y.dims[2], 2), x.dims[2], 4, 2, 1, s.flipped ? left - 2 : -left};
  s.p.images = x.dims[0];
  s.p.channels = s.p.groupChannels = x.dims[3];
  cutBlocks(s.p, kBlockTiles);
  s.panels = ceilDiv(s.outs, kTileCols);
  s.part = s.panels;
  while (s.part > 1 && s.p.blocks() * ceilDiv(s.panels, s.part) < kEnoughUnits) s.part = (s.part + 1) / 2;
  s.parts = ceilDiv(s.panels, s.part);
  return s;
}

// G g, of three taps.
GL_SIMD void transformTaps(Vec a, Vec b, Vec c, Vec (&to)[4]) {
  const Vec ends = (a + c) * 0.5f, middle = b * 0.5f;
  to[0] = a;
  to[1] = ends + middle;
  to[2] = ends - middle;
  to[3] = c;
}

// One vector of outputs of one channel: taps[3 * row + column] at these addresses to the 16 points, `point` apart.
template <class Tap>
GL_SIMD void transformFilterVec(Tap tap, float *to, int64_t point) {
  Vec down[3][4], across[4];
#pragma GCC unroll 3
  for (int x = 0; x < 3; x++) transformTaps(tap(x), tap(3 + x), tap(6 + x), down[x]);
#pragma GCC unroll 4
  for (int y = 0; y < 4; y++) {
    transformTaps(down[0][y], down[1][y], down[2][y], across);
#pragma GCC unroll 4
    for (int x = 0; x < 4; x++) store(to + (4 * y + x) * point, across[x]);
  }
}

// w -> [panel][point][channel][kTileCols]; columns beyond the outputs become 0. A unit is kFilterRows channels of a
// panel.
static void transformFilter(const Op &op, int64_t begin, int64_t end, void *scratch) {
  const Winograd s = winogradOf(op);
  const int64_t channels = s.p.channels, point = s.filterPoint();
  const float *w = op.in[1].as<float>();
  float *turned = static_cast<float *>(scratch);
  for (int64_t u = begin; u < end; u++) {
    const int64_t panel = u / s.filterChunks(), first = u % s.filterChunks() * kFilterRows;
    const int64_t rows = smaller(kFilterRows, channels - first), col = panel * kTileCols;
    const int64_t cols = smaller(kTileCols, s.outs - col);
    float *to = static_cast<float *>(op.workspace) + panel * kPoints * point + first * kTileCols;
    if (s.flipped)
      for (int64_t t = 0; t < 9; t++)
        packTransposed(w + ((8 - t) * s.outs + col) * channels + first, channels, cols, rows,
                       turned + t * kFilterRows * kTileCols);
    for (int64_t r = 0; r < rows; r++)
      for (int64_t c = 0; c < kTileCols; c += kLanes) {
        const int64_t count = smaller(kLanes, cols - c);
        transformFilterVec(
            [&](int64_t t) GL_LAMBDA {
              if (s.flipped) return load(turned + (t * kFilterRows + r) * kTileCols + c);
              return count > 0 ? load(w + (t * channels + first + r) * s.outs + col + c, count) : Vec{};
            },
            to + r * kTileCols + c, point);
      }
  }
}

// Block -> [point][tile][channel]
static void transformBlock(const Winograd &s, const Block &b, float *to) {
  eachPlace(s.p, b, [&](int64_t i, int64_t offset, int64_t, int64_t, int64_t) GL_LAMBDA {
    transformTile(b.base + offset, b.rowStride, b.colStride, s.p.channels, to + i * s.p.channels, s.inputPoint());
  });
}

// A' m A of one vector of one tile, 2x2 outputs.
GL_SIMD void transformProducts(const float *m, int64_t point, Vec (&to)[2][2]) {
  Vec down[2][4];
#pragma GCC unroll 4
  for (int x = 0; x < 4; x++) {
    const Vec a = load(m + x * point), b = load(m + (4 + x) * point), c = load(m + (8 + x) * point),
              d = load(m + (12 + x) * point);
    down[0][x] = a + b + c;
    down[1][x] = b - c - d;
  }
#pragma GCC unroll 2
  for (int y = 0; y < 2; y++) {
    to[y][0] = down[y][0] + down[y][1] + down[y][2];
    to[y][1] = down[y][1] - down[y][2] - down[y][3];
  }
}

// [point][tile][column] -> the outputs of a block, columns [col, col + cols), with epilogues.
static void finishBlock(const Op &op, const Winograd &s, const Block &b, const float *products, int64_t col,
                        int64_t cols) {
  const int64_t point = s.productPoint();
  float *out = op.out[0].as<float>();
  int64_t pixel[4];
  eachPlace(s.p, b, [&](int64_t i, int64_t, int64_t n, int64_t row, int64_t column) GL_LAMBDA {
    const int64_t high = smaller(2, s.outHeight - 2 * row), wide = smaller(2, s.outWidth - 2 * column);
    const int64_t first = ((n * s.outHeight + 2 * row) * s.outWidth + 2 * column) * s.outs;
    eachVec(cols, [&](int64_t c, int64_t count) GL_LAMBDA {
      Vec tile[2][2];
      transformProducts(products + i * kTileCols + c, point, tile);
      float *to = out + first + col + c;
      store(to, tile[0][0], count);
      if (wide > 1) store(to + s.outs, tile[0][1], count);
      if (high == 1) return;
      store(to + s.outWidth * s.outs, tile[1][0], count);
      if (wide > 1) store(to + (s.outWidth + 1) * s.outs, tile[1][1], count);
    });
    if (op.epilogues == 0) return;
    int64_t pixels = 0;
    for (int64_t y = 0; y < high; y++)
      for (int64_t x = 0; x < wide; x++) pixel[pixels++] = first + (y * s.outWidth + x) * s.outs;
    finishTile(op, pixel, pixels, col, cols);
  });
}

static void convolve(const Op &op, int64_t begin, int64_t end, void *scratch) {
  const Winograd s = winogradOf(op);
  const int64_t places = s.p.blockPlaces(), channels = s.p.channels;
  float *slab = static_cast<float *>(scratch), *inputs = slab + s.slabFloats();
  float *products = inputs + kPoints * s.inputPoint();
  int64_t *rowC = reinterpret_cast<int64_t *>(products + kPoints * s.productPoint());
  for (int64_t i = 0; i < places; i++) rowC[i] = i * kTileCols;
  TileArgs args;
  args.walk = {{1, 1, channels}, {0, 0, 1}};
  args.rows = RowsOfA::spaced;
  args.spacing = channels;
  args.ldb = kTileCols;
  args.accumulate = false;
  for (int64_t u = begin; u < end; u++) {
    const Block block = openBlock(s.p, u / s.parts, op.in[0].as<float>(), slab);
    transformBlock(s, block, inputs);
    const int64_t tiles = ceilDiv(block.places(), kTileRows), part = u % s.parts * s.part;
    for (int64_t panel = part; panel < smaller(part + s.part, s.panels); panel++) {
      const int64_t cols = smaller(kTileCols, s.outs - panel * kTileCols);
      for (int64_t i = 0; i < kPoints; i++) {
        args.b = static_cast<float *>(op.workspace) + (panel * kPoints + i) * s.filterPoint();
        args.c = products + i * s.productPoint();
        for (int64_t t = 0; t < tiles; t++) {
          const int64_t row = tileBegin(t, tiles, block.places());
          args.a = inputs + i * s.inputPoint() + row * channels;
          args.rowC = rowC + row;
          multiplyTile(args, tileBegin(t + 1, tiles, block.places()) - row, ceilDiv(cols, kLanes) * kLanes);
        }
      }
      finishBlock(op, s, block, products, panel * kTileCols, cols);
    }
  }
}

bool planWinograd(const Op &op, KernelPlan &plan) {
  if (!isWinograd(op, op.in[1], op.out[0])) return false;
  const Winograd s = winogradOf(op);
  const int64_t filter = s.panels * kPoints * s.filterPoint();
  plan = {};
  plan.name = s.flipped ? "conv2dInputGrad winograd" : "conv2d winograd";
  plan.workspace = sizeof(float) * static_cast<size_t>(filter);
  const int64_t turned = s.flipped ? 9 * kFilterRows * kTileCols : 0;
  const int64_t block = s.slabFloats() + kPoints * (s.inputPoint() + s.productPoint()) + 2 * s.p.blockPlaces();
  plan.scratch = sizeof(float) * static_cast<size_t>(larger(turned, block));
  const double products = static_cast<double>(s.p.images * s.p.y.grid * s.p.x.grid * kPoints * s.p.channels);
  addPhase(plan, transformFilter, s.panels * s.filterChunks(), static_cast<double>(filter) * 0.1);
  addPhase(plan, convolve, s.units(), products * static_cast<double>(s.outs) / kMultiplyAddsPerNs * 1.3);
  return true;
}

}  // namespace gradline::cpu::GL_ISA
