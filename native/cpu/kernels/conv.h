// What conv2d and conv2dInputGrad share: a convolution with stride 1 or more over blocks of a grid of places, by one of
// three kernels. Forward is one of them, the input gradient one for each residue of the stride. How each tensor becomes
// such a convolution stands in conv2d.cc and conv2dInputGrad.cc.
#pragma once
#include "../gemm/narrow.h"
#include "../gemm/planar.h"

namespace gradline::cpu::GL_ISA {

enum class Method {
  patches,  // gemm/patches.h: wide in the input channels
  planar,   // gemm/planar.h: short patches
  narrow    // gemm/narrow.h: very few outputs
};

constexpr int64_t kBlockPlaces = 112;  // eight tiles of 14 rows: a panel of w serves them all from the cache
constexpr int64_t kLinePlaces = 256;   // where outputs fill one vector: fewer rows of the image are copied twice
constexpr int64_t kEnoughUnits = 32;
constexpr int64_t kFewChannels = 4;

struct Convolution {
  Patches p;
  Method method;
  int64_t groups, outs;  // output channels of a group
  int64_t part, parts;   // of them, a unit's share
  OutputGrid out;

  GL_INLINE int64_t units() const { return p.blocks() * parts; }
};

// Columns of the output are cut into parts where blocks alone are too few units.
GL_SIMD int64_t partCols(int64_t cols, int64_t blocks) {
  int64_t panels = ceilDiv(cols, kTileCols);
  while (panels > 1 && blocks * ceilDiv(cols, panels * kTileCols) < kEnoughUnits) panels = (panels + 1) / 2;
  return panels * kTileCols;
}

// By the axes of `p`, its images and channels; everything else is set here. `sisters`: convolutions like this one that
// run beside it.
GL_SIMD Convolution chooseMethod(Patches p, int64_t groups, int64_t outs, OutputGrid out, int64_t sisters) {
  Convolution s;
  s.method = Method::patches;
  if (p.groupChannels <= kFewChannels) s.method = Method::planar;
  if (groups == 1 && p.x.step == 1 && isNarrow(p.channels, outs)) s.method = Method::narrow;
  s.p = p;
  s.groups = groups;
  s.outs = outs;
  s.out = out;
  const int64_t planarPlaces = p.channels <= kFewChannels ? 2 * kPlanarPlaces : kPlanarPlaces;
  if (p.y.grid > 0 && p.x.grid > 0)
    cutBlocks(s.p, s.method == Method::patches  ? outs <= kLanes ? kLinePlaces : kBlockPlaces
                   : s.method == Method::planar ? planarPlaces
                                                : kNarrowPlaces);
  s.part = s.method == Method::narrow ? outs : partCols(outs, s.p.blocks() * sisters);
  s.parts = ceilDiv(outs, s.part);
  return s;
}

GL_SIMD size_t scratchBytes(const Convolution &s) {
  if (s.method == Method::patches) return scratchBytes(s.p, 2 * s.p.blockPlaces());
  if (s.method == Method::narrow) return sizeof(float) * static_cast<size_t>(narrowSlabSize(s.p));
  return static_cast<size_t>(4 * planesSize(s.p) + 8 * s.p.depth());
}

// The filter of group 0, in panels of rows [tap][channel] of a group (patches, planar) or as packed for narrow.
struct Filter {
  const float *data;
  int64_t group, ld, panel;  // floats from group to group, row to row, panel to panel
};

GL_SIMD void convolveUnits(const Op &op, const Convolution &s, const Filter &filter, int64_t begin, int64_t end,
                           void *scratch) {
  const Patches &p = s.p;
  const float *source = op.in[0].as<float>();
  float *slab = static_cast<float *>(scratch);
  for (int64_t u = begin; u < end; u++) {
    const int64_t col = u % s.parts * s.part;
    const auto productOf = [&](int64_t places, int64_t g) GL_LAMBDA {
      return BlockProduct{places,
                          g * s.outs + col,
                          smaller(s.part, s.outs - col),
                          filter.data + g * filter.group + col / kTileCols * filter.panel,
                          filter.ld,
                          filter.panel};
    };
    if (s.method == Method::narrow) {
      convolveNarrow(op, p, blockAt(p, u), s.out, s.outs, filter.data, slab);
    } else if (s.method == Method::planar) {
      const Block block = blockAt(p, u / s.parts);
      const Planes planes = planesOf(p, block.rows, block.cols);
      int64_t *offsets = reinterpret_cast<int64_t *>(slab + planesSize(p));
      fillPlanes(p, block, planes, source, slab);
      planarOffsets(p, planes, offsets);
      for (int64_t g = 0; g < s.groups; g++)
        multiplyPlanar(op, p, block, planes, slab + g * p.groupChannels * planes.plane, offsets, s.out,
                       productOf(block.places(), g));
    } else {
      int64_t *rowA = offsetsBehindSlab(p, slab), *rowC = rowA + p.blockPlaces();
      const Block block = openBlock(p, u / s.parts, source, slab);
      eachPlace(p, block, [&](int64_t i, int64_t offset, int64_t n, int64_t y, int64_t x) GL_LAMBDA {
        rowA[i] = offset;
        rowC[i] = s.out.at(n, y, x);
      });
      TileArgs args;
      args.walk = patchWalk(p, block);
      args.ldb = filter.ld;
      args.accumulate = false;
      for (int64_t g = 0; g < s.groups; g++) {
        const float *base = block.base + g * p.groupChannels;
        const BlockProduct product = productOf(block.places(), g);
        if (s.outs <= kLanes)
          multiplyLines(op, args, base, block, product, rowA, rowC);
        else
          multiplyBlock(op, args, base, product, rowA, rowC);
      }
    }
  }
}

GL_SIMD double convolutionTime(const Tensor &filter, const Tensor &output) {
  return static_cast<double>(filter.dims[0] * filter.dims[1] * filter.dims[2]) * static_cast<double>(output.size) /
         kMultiplyAddsPerNs * 1.3;
}

}  // namespace gradline::cpu::GL_ISA
