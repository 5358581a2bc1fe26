// conv2dFilterGrad: x [n, h, w, ci], dy [n, oh, ow, co] -> dw [kh, kw, ci / groups, co]: sums over places, cut into
// chunks of blocks; each chunk makes a partial dw. An optional second output receives the sums of dy over all places.
#include "columns.h"
#include "conv.h"
#include "depthwise.h"
#include "filterGrad.h"
#include "winograd.h"

namespace gradline::cpu::GL_ISA {

constexpr int64_t kGradBlockPlaces = 448;  // sums run over places: fewer, longer sums
constexpr int64_t kMaxChunks = 16;
constexpr int64_t kMaxPartialFloats = 1 << 20;  // of all of them
constexpr int64_t kFewestPlacesOfChunk = 512;
constexpr int64_t kReduceUnit = 1024;

struct FilterGrad {
  Patches p;
  int64_t depth, co, groups, groupOut;
  int64_t chunks;  // partial sums; 1: dw itself is written
  int64_t tiles;   // of rows of dw in one group
  int64_t parts;   // of the tiles, where chunks alone are too few units
};

GL_SIMD FilterGrad filterGradOf(const Op &op) {
  FilterGrad s;
  s.p = forwardPatches(op, op.in[0], op.out[0], op.in[1], kGradBlockPlaces);
  s.depth = s.p.depth();
  s.co = op.out[0].dims[3];
  s.groups = op.iattr(attr::conv2dFilterGrad::groups);
  s.groupOut = s.co / s.groups;
  const int64_t places = op.in[1].size / s.co;
  s.chunks = smaller(smaller(kMaxChunks, s.p.blocks()),
                     smaller(places / kFewestPlacesOfChunk, kMaxPartialFloats / op.out[0].size));
  s.chunks = larger(1, s.chunks);
  s.tiles = ceilDiv(s.depth, kTileRows);
  s.parts = smaller(s.tiles, ceilDiv(kEnoughUnits, s.chunks));
  return s;
}

static void sumChunks(const Op &op, int64_t begin, int64_t end, void *scratch) {
  const FilterGrad s = filterGradOf(op);
  const Patches &p = s.p;
  float *slab = static_cast<float *>(scratch);
  int64_t *rowA = offsetsBehindSlab(p, slab), *rowC = rowA + s.depth;
  for (int64_t i = 0; i < s.depth; i++) rowC[i] = i * s.co;
  for (int64_t u = begin; u < end; u++) {
    const int64_t chunk = u / s.parts, part = u % s.parts;
    float *sum = s.chunks == 1 ? op.out[0].as<float>() : partialSums(op) + chunk * op.out[0].size;
    const int64_t blockBegin = chunk * p.blocks() / s.chunks, blockEnd = (chunk + 1) * p.blocks() / s.chunks;
    for (int64_t i = blockBegin; i < blockEnd; i++) {
      const Block block = openBlock(p, i, op.in[0].as<float>(), slab);
      int64_t row = 0;
      for (int64_t ty = 0; ty < p.y.taps; ty++)
        for (int64_t tx = 0; tx < p.x.taps; tx++)
          for (int64_t c = 0; c < p.groupChannels; c++)
            rowA[row++] = ty * p.y.tapStep * block.rowStride + tx * p.x.tapStep * block.colStride + c;
      TileArgs args;
      args.accumulate = i > blockBegin;
      args.walk = {{block.images, block.rows, block.cols},
                   {block.imageStride, p.y.step * block.rowStride, p.x.step * block.colStride}};
      args.ldb = s.co;
      // Rows of dy are contiguous over a block unless columns are cut, and then a block is one row.
      const float *dy = op.in[1].as<float>() + ((block.image * p.y.grid + block.row) * p.x.grid + block.col) * s.co;
      for (int64_t g = 0; g < s.groups; g++)
        for (int64_t col = 0; col < s.groupOut; col += kTileCols)
          for (int64_t t = part * s.tiles / s.parts; t < (part + 1) * s.tiles / s.parts; t++) {
            const int64_t first = tileBegin(t, s.tiles, s.depth), rows = tileBegin(t + 1, s.tiles, s.depth) - first;
            placeRows(args, block.base + g * p.groupChannels, rowA + first, rows);
            args.b = dy + g * s.groupOut + col;
            args.c = sum + g * s.groupOut + col;
            args.rowC = rowC + first;
            multiplyTile(args, rows, smaller(kTileCols, s.groupOut - col));
          }
    }
  }
}

// dw = partial sums added in order of the chunks
static void addChunks(const Op &op, int64_t begin, int64_t end, void *) {
  const int64_t size = op.out[0].size, chunks = filterGradOf(op).chunks;
  const float *partial = partialSums(op);
  float *dw = op.out[0].as<float>();
  const int64_t first = begin * kReduceUnit;
  eachVec(smaller(size, end * kReduceUnit) - first, [&](int64_t i, int64_t count) GL_LAMBDA {
    Vec sum = load(partial + first + i, count);
    for (int64_t c = 1; c < chunks; c++) sum += load(partial + c * size + first + i, count);
    store(dw + first + i, sum, count);
  });
}

// Sums over pieces of the rows of dy [n * oh * ow, co], then db = these added in order.
static void sumBiasPieces(const Op &op, int64_t begin, int64_t end, void *) {
  const int64_t rows = op.in[1].rows(), co = op.in[1].channels(), length = biasPieceRows(co);
  for (int64_t u = begin; u < end; u++)
    sumRows(op.in[1].as<float>() + u * length * co, co, smaller(length, rows - u * length), 0, co, false,
            static_cast<float *>(op.workspace) + u * co);
}

static void addBiasPieces(const Op &op, int64_t, int64_t, void *) {
  const int64_t co = op.in[1].channels();
  sumRows(static_cast<float *>(op.workspace), co, biasPieces(op), 0, co, false, op.out[1].as<float>());
}

static void planProducts(const Op &op, KernelPlan &plan) {
  const FilterGrad s = filterGradOf(op);
  onePhase(plan, "conv2dFilterGrad", sumChunks, s.chunks * s.parts, convolutionTime(op.out[0], op.in[1]));
  plan.scratch = scratchBytes(s.p, 2 * s.depth);
  if (s.chunks > 1) {
    const int64_t floats = s.chunks * op.out[0].size;
    plan.workspace = sizeof(float) * static_cast<size_t>(floats);
    addPhase(plan, addChunks, ceilDiv(op.out[0].size, kReduceUnit), streamTime(4.0 * static_cast<double>(floats)));
  }
}

bool planConv2dFilterGrad(const Op &op, KernelPlan &plan) {
  if (!allF32(op) || op.in[0].size == 0 || op.in[1].size == 0 || op.out[0].size == 0) return false;
  if (!planDepthwise(op, plan) && !(op.numerics == Numerics::fast && planWinogradFilterGrad(op, plan)))
    planProducts(op, plan);
  if (op.outputs > 1) {
    const int64_t co = op.in[1].channels(), pieces = biasPieces(op);
    plan.workspace += sizeof(float) * static_cast<size_t>(biasFloats(op));
    addPhase(plan, sumBiasPieces, pieces, streamTime(4.0 * static_cast<double>(op.in[1].size)));
    addPhase(plan, addBiasPieces, 1, streamTime(4.0 * static_cast<double>(pieces * co)));
  }
  return true;
}

}  // namespace gradline::cpu::GL_ISA
