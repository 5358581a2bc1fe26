// F(3x3, 2x2): the nine taps of dw from a tile of 4x4 inputs d and the 2x2 numbers g of dy that they meet are
// A'[(G g G') * (B' d B)]A with * by element. Over channels these are 16 matrix products, and their sums over all tiles
// are transformed back at the end: [inputs, tiles] x [tiles, outputs], point after point. A unit is a part of both
// channels over a chunk of the tiles, so that what it transforms and its sums stay in the second-level cache.
#include "../gemm/patches.h"
#include "../gemm/tiles4.h"
#include "filterGrad.h"
#include "winograd.h"

namespace gradline::cpu::GL_ISA {

constexpr int64_t kPartChannels = 64;
constexpr int64_t kMaxChunks = 16;
constexpr int64_t kMaxPartialFloats = 1 << 20;  // of all of them

struct TileGrad {
  Patches x;  // its places are tiles; dy has the same
  int64_t ci, co;
  int64_t ciPart, coPart;  // channels of a unit
  int64_t ciParts, coParts;
  int64_t chunks;  // of the tiles, with a partial sum each

  GL_INLINE int64_t units() const { return chunks * ciParts * coParts; }
  GL_INLINE int64_t sumFloats() const { return kPoints * ci * co; }  // [point][ci][co]
  GL_INLINE int64_t point(int64_t part) const { return ceilDiv(x.blockPlaces() * part, 16) * 16 + kApart; }
};

GL_SIMD TileGrad tileGradOf(const Op &op) {
  namespace at = attr::conv2dFilterGrad;
  const Tensor &x = op.in[0], &dy = op.in[1];
  TileGrad s;
  s.ci = x.dims[3];
  s.co = dy.dims[3];
  s.x.y = {ceilDiv(dy.dims[1], 2), x.dims[1], 4, 2, 1, -op.iattr(at::padTop)};
  s.x.x = {ceilDiv(dy.dims[2], 2), x.dims[2], 4, 2, 1, -op.iattr(at::padLeft)};
  s.x.images = x.dims[0];
  s.x.channels = s.x.groupChannels = s.ci;
  cutBlocks(s.x, kBlockTiles);
  s.ciPart = evenBlock(s.ci, kPartChannels);
  s.coPart = evenBlock(s.co, kPartChannels);
  s.ciParts = ceilDiv(s.ci, s.ciPart);
  s.coParts = ceilDiv(s.co, s.coPart);
  s.chunks = larger(1, smaller(smaller(kMaxChunks, s.x.blocks()), kMaxPartialFloats / s.sumFloats()));
  return s;
}

// `side` x `side` pixels of some channels of an image; those outside are 0.
struct Square {
  const float *data;
  int64_t rowStride, colStride;
};

// Some channels of the square at (y, x): where they lie, or a copy with zeros where the image ends.
GL_SIMD Square squareAt(const Tensor &images, int64_t n, int64_t y, int64_t x, int64_t side, int64_t channel,
                        int64_t count, float *copy) {
  const int64_t height = images.dims[1], width = images.dims[2], channels = images.dims[3];
  const float *image = images.as<float>() + n * height * width * channels + channel;
  if (y >= 0 && x >= 0 && y + side <= height && x + side <= width)
    return {image + (y * width + x) * channels, width * channels, channels};
  for (int64_t i = 0; i < side; i++)
    for (int64_t j = 0; j < side; j++) {
      float *to = copy + (i * side + j) * count;
      const bool inside = y + i >= 0 && y + i < height && x + j >= 0 && x + j < width;
      if (inside)
        copyFloats(to, image + ((y + i) * width + x + j) * channels, count);
      else
        zeroFloats(to, count);
    }
  return {copy, side * count, count};
}

// G g, of two numbers.
GL_SIMD void transformPair(Vec a, Vec b, Vec (&to)[4]) {
  const Vec first = a * 0.5f, second = b * 0.5f;
  to[0] = a;
  to[1] = first + second;
  to[2] = first - second;
  to[3] = b;
}

GL_SIMD void transformGradient(const Square &g, int64_t channels, float *to, int64_t point) {
  eachVec(channels, [&](int64_t c, int64_t count) GL_LAMBDA {
    Vec down[2][4], across[4];
#pragma GCC unroll 2
    for (int x = 0; x < 2; x++) {
      const float *column = g.data + c + x * g.colStride;
      transformPair(load(column, count), load(column + g.rowStride, count), down[x]);
    }
#pragma GCC unroll 4
    for (int y = 0; y < 4; y++) {
      transformPair(down[0][y], down[1][y], across);
#pragma GCC unroll 4
      for (int x = 0; x < 4; x++) store(to + (4 * y + x) * point + c, across[x], count);
    }
  });
}

static void sumTiles(const Op &op, int64_t begin, int64_t end, void *scratch) {
  const TileGrad s = tileGradOf(op);
  const Tensor &x = op.in[0], &dy = op.in[1];
  const int64_t xPoint = s.point(s.ciPart), dyPoint = s.point(s.coPart);
  float *xTiles = static_cast<float *>(scratch), *dyTiles = xTiles + kPoints * xPoint;
  float *copy = dyTiles + kPoints * dyPoint;
  int64_t rowC[kPartChannels];
  for (int64_t i = 0; i < s.ciPart; i++) rowC[i] = i * s.co;
  for (int64_t u = begin; u < end; u++) {
    const int64_t chunk = u / (s.ciParts * s.coParts), part = u % (s.ciParts * s.coParts);
    const int64_t c = part / s.coParts * s.ciPart, o = part % s.coParts * s.coPart;
    const int64_t inputs = smaller(s.ciPart, s.ci - c), outputs = smaller(s.coPart, s.co - o);
    const int64_t firstBlock = chunk * s.x.blocks() / s.chunks, lastBlock = (chunk + 1) * s.x.blocks() / s.chunks;
    float *sum = partialSums(op) + chunk * s.sumFloats() + c * s.co + o;
    for (int64_t i = firstBlock; i < lastBlock; i++) {
      const Block block = blockAt(s.x, i);
      eachPlace(s.x, block, [&](int64_t t, int64_t, int64_t n, int64_t row, int64_t col) GL_LAMBDA {
        const Square d = squareAt(x, n, s.x.y.first + 2 * row, s.x.x.first + 2 * col, 4, c, inputs, copy);
        transformTile(d.data, d.rowStride, d.colStride, inputs, xTiles + t * inputs, xPoint);
        transformGradient(squareAt(dy, n, 2 * row, 2 * col, 2, o, outputs, copy), outputs, dyTiles + t * outputs,
                          dyPoint);
      });
      TileArgs args;
      args.walk = {{1, 1, block.places()}, {0, 0, inputs}};
      args.rows = RowsOfA::adjacent;
      args.ldb = outputs;
      args.accumulate = i > firstBlock;
      const int64_t tiles = ceilDiv(inputs, kTileRows);
      for (int64_t p = 0; p < kPoints; p++)
        for (int64_t col = 0; col < outputs; col += kTileCols)
          for (int64_t t = 0; t < tiles; t++) {
            const int64_t row = tileBegin(t, tiles, inputs);
            args.a = xTiles + p * xPoint + row;
            args.b = dyTiles + p * dyPoint + col;
            args.c = sum + p * s.ci * s.co + col;
            args.rowC = rowC + row;
            multiplyTile(args, tileBegin(t + 1, tiles, inputs) - row, smaller(kTileCols, outputs - col));
          }
    }
  }
}

// A' m, three taps of four sums.
GL_SIMD void transformSums(Vec a, Vec b, Vec c, Vec d, Vec (&to)[3]) {
  const Vec both = b + c;
  to[0] = a + both;
  to[1] = b - c;
  to[2] = both - d;
}

// dw from the partial sums, added in order of the chunks. A unit is an input channel.
static void transformFilter(const Op &op, int64_t begin, int64_t end, void *) {
  const TileGrad s = tileGradOf(op);
  float *dw = op.out[0].as<float>();
  for (int64_t c = begin; c < end; c++) {
    const float *sums = partialSums(op) + c * s.co;
    eachVec(s.co, [&](int64_t o, int64_t count) GL_LAMBDA {
      const auto total = [&](int64_t p) GL_LAMBDA {
        const float *at = sums + p * s.ci * s.co + o;
        Vec sum = load(at, count);
        for (int64_t k = 1; k < s.chunks; k++) sum += load(at + k * s.sumFloats(), count);
        return sum;
      };
      Vec down[4][3], across[3];
#pragma GCC unroll 4
      for (int x = 0; x < 4; x++) transformSums(total(x), total(4 + x), total(8 + x), total(12 + x), down[x]);
#pragma GCC unroll 3
      for (int y = 0; y < 3; y++) {
        transformSums(down[0][y], down[1][y], down[2][y], down[3][y], across);
#pragma GCC unroll 3
        for (int x = 0; x < 3; x++) store(dw + ((3 * y + x) * s.ci + c) * s.co + o, across[x], count);
      }
    });
  }
}

bool planWinogradFilterGrad(const Op &op, KernelPlan &plan) {
  if (!isWinograd(op, op.out[0], op.in[1])) return false;
  const TileGrad s = tileGradOf(op);
  const double tiles = static_cast<double>(s.x.images * s.x.y.grid * s.x.x.grid);
  const double sums = static_cast<double>(s.sumFloats());
  onePhase(plan, "conv2dFilterGrad winograd", sumTiles, s.units(), tiles * sums / kMultiplyAddsPerNs * 1.3);
  const int64_t square = kPoints * larger(s.ciPart, s.coPart);
  plan.scratch = sizeof(float) * static_cast<size_t>(kPoints * (s.point(s.ciPart) + s.point(s.coPart)) + square);
  plan.workspace = sizeof(float) * static_cast<size_t>(s.chunks * s.sumFloats());
  addPhase(plan, transformFilter, s.ci, streamTime(4.0 * static_cast<double>(s.chunks) * sums));
  return true;
}

}  // namespace gradline::cpu::GL_ISA
