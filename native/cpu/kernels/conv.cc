// conv2d, conv2dInputGrad and conv2dFilterGrad over NHWC images, w [kh, kw, ci / groups, co], as implicit matrix
// products on the patches of gemm/patches.h. The input gradient is a convolution of dy with stride 1 for each residue
// of the stride: of every strideH x strideW pixels of dx, those at one place in the grid meet the same taps. Direct and
// Winograd forms do not exist here.
#include "../gemm/pack.h"
#include "../gemm/patches.h"
#include "columns.h"

namespace gradline::cpu::GL_ISA {

constexpr int64_t kBlockPlaces = 112;      // eight tiles of 14 rows: a panel of w serves them all from the cache
constexpr int64_t kGradBlockPlaces = 448;  // of the filter gradient, whose sums run over places: fewer, longer sums
constexpr int64_t kEnoughUnits = 32;
constexpr int64_t kMaxChunks = 16;              // partial filter gradients
constexpr int64_t kMaxPartialFloats = 1 << 20;  // of all of them
constexpr int64_t kFewestPlacesOfChunk = 512;
constexpr int64_t kReduceUnit = 1024;

// Columns of the output are cut into parts where blocks alone are too few units.
GL_SIMD int64_t partCols(int64_t cols, int64_t blocks) {
  int64_t panels = ceilDiv(cols, kTileCols);
  while (panels > 1 && blocks * ceilDiv(cols, panels * kTileCols) < kEnoughUnits) panels = (panels + 1) / 2;
  return panels * kTileCols;
}

// ---- conv2d: a unit is a block and a part of the output channels of each group

static void convolve(const Op &op, int64_t begin, int64_t end, void *scratch) {
  const Tensor &w = op.in[1];
  const Patches p = forwardPatches(op, op.in[0], w, op.out[0], kBlockPlaces);
  const int64_t co = w.dims[3], groups = op.iattr(attr::conv2d::groups), groupOut = co / groups;
  const int64_t part = partCols(groupOut, p.blocks()), parts = ceilDiv(groupOut, part);
  float *slab = static_cast<float *>(scratch);
  int64_t *rowA = offsetsBehindSlab(p, slab), *rowC = rowA + p.blockPlaces();
  for (int64_t u = begin; u < end; u++) {
    const Block block = openBlock(p, u / parts, op.in[0].as<float>(), slab);
    eachPlace(p, block, [&](int64_t i, int64_t offset, int64_t n, int64_t y, int64_t x) GL_LAMBDA {
      rowA[i] = offset;
      rowC[i] = ((n * p.y.grid + y) * p.x.grid + x) * co;
    });
    TileArgs args;
    args.walk = patchWalk(p, block);
    args.ldb = co;
    args.accumulate = false;
    const int64_t col = u % parts * part;
    for (int64_t g = 0; g < groups; g++) {
      args.a = block.base + g * p.groupChannels;
      multiplyBlock(op, args,
                    {block.places(), g * groupOut + col, smaller(part, groupOut - col),
                     w.as<float>() + g * groupOut + col, co, kTileCols},
                    rowA, rowC);
    }
  }
}

static double multiplyAdds(const Tensor &filter, const Tensor &output) {
  return static_cast<double>(filter.dims[0] * filter.dims[1] * filter.dims[2]) * static_cast<double>(output.size);
}

bool planConv2d(const Op &op, KernelPlan &plan) {
  if (!allF32(op) || op.in[0].size == 0 || op.in[1].size == 0 || op.out[0].size == 0) return false;
  const Patches p = forwardPatches(op, op.in[0], op.in[1], op.out[0], kBlockPlaces);
  const int64_t groupOut = op.in[1].dims[3] / op.iattr(attr::conv2d::groups);
  onePhase(plan, "conv2d", convolve, p.blocks() * ceilDiv(groupOut, partCols(groupOut, p.blocks())),
           multiplyAdds(op.in[1], op.out[0]) / kMultiplyAddsPerNs * 1.3);
  plan.scratch = scratchBytes(p, 2 * p.blockPlaces());
  return true;
}

// ---- conv2dInputGrad: classes of pixels of dx by their residue to the stride

// One axis of one class: pixels residue, residue + stride, ... of dx; taps that meet them, and where in dy they look.
struct ClassAxis {
  Axis axis;
  int64_t lastTap, tapStride;  // of w; the class meets taps lastTap, lastTap - tapStride, ...
  int64_t tapsBefore;          // taps of the classes with a smaller residue
};

GL_SIMD int64_t residueOf(int64_t tap, int64_t stride, int64_t dilation, int64_t pad) {
  const int64_t r = (tap * dilation - pad) % stride;
  return r < 0 ? r + stride : r;
}

GL_SIMD ClassAxis classAxis(int64_t residue, int64_t size, int64_t source, int64_t taps, int64_t stride,
                            int64_t dilation, int64_t pad) {
  ClassAxis c = {};
  int64_t count = 0, first = 0;
  for (int64_t t = 0; t < taps; t++) {
    const int64_t r = residueOf(t, stride, dilation, pad);
    c.tapsBefore += r < residue;
    if (r != residue) continue;
    if (count == 0) first = t;
    if (count == 1) c.tapStride = t - first;
    c.lastTap = t;
    count++;
  }
  // Pixel residue + i * stride of dx meets tap t of place (residue + pad - t * dilation) / stride + i of dy.
  c.axis = {
      residue < size ? ceilDiv(size - residue, stride) : 0,           source, count, 1, c.tapStride * dilation / stride,
      count > 0 ? (residue + pad - c.lastTap * dilation) / stride : 0};
  return c;
}

struct InputGrad {
  int64_t strideH, strideW, groups, ci, co, kh, kw, groupIn, groupOut, panels;
};

GL_SIMD InputGrad inputGradOf(const Op &op) {
  namespace at = attr::conv2dInputGrad;
  InputGrad s;
  s.strideH = op.iattr(at::strideH);
  s.strideW = op.iattr(at::strideW);
  s.groups = op.iattr(at::groups);
  s.ci = op.out[0].dims[3];
  s.co = op.in[0].dims[3];
  s.kh = op.in[1].dims[0];
  s.kw = op.in[1].dims[1];
  s.groupIn = op.in[1].dims[2];
  s.groupOut = s.co / s.groups;
  s.panels = ceilDiv(s.groupIn, kTileCols);
  return s;
}

GL_SIMD ClassAxis classRows(const Op &op, int64_t residue) {
  namespace at = attr::conv2dInputGrad;
  return classAxis(residue, op.out[0].dims[1], op.in[0].dims[1], op.in[1].dims[0], op.iattr(at::strideH),
                   op.iattr(at::dilationH), op.iattr(at::padTop));
}
GL_SIMD ClassAxis classCols(const Op &op, int64_t residue) {
  namespace at = attr::conv2dInputGrad;
  return classAxis(residue, op.out[0].dims[2], op.in[0].dims[2], op.in[1].dims[1], op.iattr(at::strideW),
                   op.iattr(at::dilationW), op.iattr(at::padLeft));
}

GL_SIMD Patches classPatches(const Op &op, const InputGrad &s, const ClassAxis &y, const ClassAxis &x) {
  Patches p;
  p.y = y.axis;
  p.x = x.axis;
  p.images = op.out[0].dims[0];
  p.channels = s.co;
  p.groupChannels = s.groupOut;
  if (p.y.grid > 0 && p.x.grid > 0) cutBlocks(p, kBlockPlaces);
  return p;
}

// Packed w: group after group, class after class (residues of rows, then of columns), panel after panel of input
// channels, and in a panel the taps of the class from the last to the first with the output channels of each.
GL_SIMD int64_t packedOffset(const InputGrad &s, int64_t group, const ClassAxis &y, const ClassAxis &x) {
  const int64_t taps = group * s.kh * s.kw + y.tapsBefore * s.kw + y.axis.taps * x.tapsBefore;
  return taps * s.groupOut * s.panels * kTileCols;
}

// A unit is one panel of one tap of one group: w[ky, kx, :, group] [groupIn, groupOut] transposed.
static void packFilter(const Op &op, int64_t begin, int64_t end, void *) {
  namespace at = attr::conv2dInputGrad;
  const InputGrad s = inputGradOf(op);
  for (int64_t u = begin; u < end; u++) {
    const int64_t panel = u % s.panels, tap = u / s.panels % (s.kh * s.kw), g = u / s.panels / (s.kh * s.kw);
    const int64_t ky = tap / s.kw, kx = tap % s.kw;
    const ClassAxis y = classRows(op, residueOf(ky, s.strideH, op.iattr(at::dilationH), op.iattr(at::padTop)));
    const ClassAxis x = classCols(op, residueOf(kx, s.strideW, op.iattr(at::dilationW), op.iattr(at::padLeft)));
    const int64_t placeY = y.tapStride > 0 ? (y.lastTap - ky) / y.tapStride : 0;
    const int64_t placeX = x.tapStride > 0 ? (x.lastTap - kx) / x.tapStride : 0;
    const int64_t depth = y.axis.taps * x.axis.taps * s.groupOut;
    const int64_t row = (placeY * x.axis.taps + placeX) * s.groupOut, col = panel * kTileCols;
    packTransposed(op.in[1].as<float>() + (tap * s.groupIn + col) * s.co + g * s.groupOut, s.co,
                   smaller(kTileCols, s.groupIn - col), s.groupOut,
                   static_cast<float *>(op.workspace) + packedOffset(s, g, y, x) + (panel * depth + row) * kTileCols);
  }
}

// Units: classes in order, in each its blocks times parts of the input channels.
static void convolveClasses(const Op &op, int64_t begin, int64_t end, void *scratch) {
  const InputGrad s = inputGradOf(op);
  const int64_t h = op.out[0].dims[1], w = op.out[0].dims[2];
  int64_t classBegin = 0;
  for (int64_t ry = 0; ry < s.strideH; ry++)
    for (int64_t rx = 0; rx < s.strideW && classBegin < end; rx++) {
      const ClassAxis y = classRows(op, ry), x = classCols(op, rx);
      const Patches p = classPatches(op, s, y, x);
      if (p.y.grid == 0 || p.x.grid == 0) continue;
      const int64_t part = partCols(s.groupIn, p.blocks() * s.strideH * s.strideW), parts = ceilDiv(s.groupIn, part);
      const int64_t units = p.blocks() * parts;
      float *slab = static_cast<float *>(scratch);
      int64_t *rowA = offsetsBehindSlab(p, slab);
      int64_t *rowC = rowA + p.blockPlaces();
      for (int64_t u = larger(0, begin - classBegin); u < smaller(units, end - classBegin); u++) {
        const Block block = openBlock(p, u / parts, op.in[0].as<float>(), slab);
        eachPlace(p, block, [&](int64_t i, int64_t offset, int64_t n, int64_t row, int64_t col) GL_LAMBDA {
          rowA[i] = offset;
          rowC[i] = ((n * h + ry + row * s.strideH) * w + rx + col * s.strideW) * s.ci;
        });
        TileArgs args;
        args.walk = patchWalk(p, block);
        args.ldb = kTileCols;
        args.accumulate = false;
        const int64_t col = u % parts * part, panelStride = p.depth() * kTileCols;
        for (int64_t g = 0; g < s.groups; g++) {
          args.a = block.base + g * s.groupOut;
          multiplyBlock(
              op, args,
              {block.places(), g * s.groupIn + col, smaller(part, s.groupIn - col),
               static_cast<const float *>(op.workspace) + packedOffset(s, g, y, x) + col / kTileCols * panelStride,
               kTileCols, panelStride},
              rowA, rowC);
        }
      }
      classBegin += units;
    }
}

bool planConv2dInputGrad(const Op &op, KernelPlan &plan) {
  if (!allF32(op) || op.in[0].size == 0 || op.in[1].size == 0 || op.out[0].size == 0) return false;
  const InputGrad s = inputGradOf(op);
  plan = {};
  plan.name = "conv2dInputGrad";
  int64_t units = 0;
  for (int64_t ry = 0; ry < s.strideH; ry++)
    for (int64_t rx = 0; rx < s.strideW; rx++) {
      const Patches p = classPatches(op, s, classRows(op, ry), classCols(op, rx));
      if (p.y.grid == 0 || p.x.grid == 0) continue;
      units += p.blocks() * ceilDiv(s.groupIn, partCols(s.groupIn, p.blocks() * s.strideH * s.strideW));
      const size_t need = scratchBytes(p, 2 * p.blockPlaces());
      plan.scratch = need > plan.scratch ? need : plan.scratch;
    }
  const int64_t packed = s.groups * s.kh * s.kw * s.groupOut * s.panels * kTileCols;
  plan.workspace = sizeof(float) * static_cast<size_t>(packed);
  addPhase(plan, packFilter, s.groups * s.kh * s.kw * s.panels, static_cast<double>(packed) * 0.15);
  addPhase(plan, convolveClasses, units, multiplyAdds(op.in[1], op.in[0]) / kMultiplyAddsPerNs * 1.3);
  return true;
}

// ---- conv2dFilterGrad: sums over places, cut into chunks of blocks; each chunk makes a partial dw

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
    float *sum = s.chunks == 1 ? op.out[0].as<float>() : static_cast<float *>(op.workspace) + chunk * op.out[0].size;
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
            args.a = block.base + g * p.groupChannels;
            args.rowA = rowA + first;
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
  const float *partial = static_cast<const float *>(op.workspace);
  float *dw = op.out[0].as<float>();
  const int64_t first = begin * kReduceUnit;
  eachVec(smaller(size, end * kReduceUnit) - first, [&](int64_t i, int64_t count) GL_LAMBDA {
    Vec sum = load(partial + first + i, count);
    for (int64_t c = 1; c < chunks; c++) sum += load(partial + c * size + first + i, count);
    store(dw + first + i, sum, count);
  });
}

// Sums over pieces of the rows of dy [n * oh * ow, co], then db = these added in order.
constexpr int64_t kBiasPieceFloats = 8192;
GL_SIMD int64_t biasPieceRows(int64_t co) { return larger(16, kBiasPieceFloats / co); }
GL_SIMD float *biasPieces(const Op &op) {
  const int64_t chunks = filterGradOf(op).chunks;
  return static_cast<float *>(op.workspace) + (chunks > 1 ? chunks * op.out[0].size : 0);
}

static void sumBiasPieces(const Op &op, int64_t begin, int64_t end, void *) {
  const int64_t rows = op.in[1].rows(), co = op.in[1].channels(), length = biasPieceRows(co);
  for (int64_t u = begin; u < end; u++)
    sumRows(op.in[1].as<float>() + u * length * co, co, smaller(length, rows - u * length), 0, co, false,
            biasPieces(op) + u * co);
}

static void addBiasPieces(const Op &op, int64_t, int64_t, void *) {
  const int64_t co = op.in[1].channels();
  sumRows(biasPieces(op), co, ceilDiv(op.in[1].rows(), biasPieceRows(co)), 0, co, false, op.out[1].as<float>());
}

bool planConv2dFilterGrad(const Op &op, KernelPlan &plan) {
  if (!allF32(op) || op.in[0].size == 0 || op.in[1].size == 0 || op.out[0].size == 0) return false;
  const FilterGrad s = filterGradOf(op);
  onePhase(plan, "conv2dFilterGrad", sumChunks, s.chunks * s.parts,
           multiplyAdds(op.out[0], op.in[1]) / kMultiplyAddsPerNs * 1.3);
  plan.scratch = scratchBytes(s.p, 2 * s.depth);
  if (s.chunks > 1) {
    const int64_t floats = s.chunks * op.out[0].size;
    plan.workspace = sizeof(float) * static_cast<size_t>(floats);
    addPhase(plan, addChunks, ceilDiv(op.out[0].size, kReduceUnit), streamTime(4.0 * static_cast<double>(floats)));
  }
  if (op.outputs > 1) {
    const int64_t co = op.in[1].channels(), pieces = ceilDiv(op.in[1].rows(), biasPieceRows(co));
    plan.workspace += sizeof(float) * static_cast<size_t>(pieces * co);
    addPhase(plan, sumBiasPieces, pieces, streamTime(4.0 * static_cast<double>(op.in[1].size)));
    addPhase(plan, addBiasPieces, 1, streamTime(4.0 * static_cast<double>(pieces * co)));
  }
  return true;
}

}  // namespace gradline::cpu::GL_ISA
