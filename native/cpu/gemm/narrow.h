// Convolutions to very few output channels: the lanes of a vector are input channels, each output has a sum of its own
// in a register, and at the end the lanes of all of them are added up at once. A unit copies its part of the image so
// that a vector of channels of neighbouring pixels lies side by side, channels filled up with zeros.
// The kernels stand in narrow.cc.
#pragma once
#include "pack.h"
#include "patches.h"

namespace gradline::cpu::GL_ISA {

constexpr int kMostNarrow = kLanes / 2;  // output channels
constexpr int64_t kNarrowPlaces = 128;   // of a block

// `pixels` neighbouring outputs of `outs` channels each, at most kLanes numbers, stored side by side.
struct NarrowArgs {
  int64_t tapRows, vectors, tapCols;  // the order of the packed filter; then outputs, then lanes
  int64_t tapRow, vector, tapCol;     // floats in the copy of the image
  const float *a, *b;
  float *c;
};
using NarrowKernel = void (*)(const NarrowArgs &);
struct NarrowTable {
  NarrowKernel kernel[kMostNarrow][kLanes];  // by outputs - 1, pixels - 1
};
extern const NarrowTable kNarrowTiles;

// Whether lanes of input channels waste less than lanes of output channels.
GL_SIMD bool isNarrow(int64_t channels, int64_t outs) {
  return outs <= kMostNarrow && channels > outs * ceilDiv(channels, kLanes);
}

GL_SIMD int64_t narrowVectors(const Patches &p) { return ceilDiv(p.channels, kLanes); }
GL_SIMD int64_t narrowFilterSize(const Patches &p, int64_t outs) {
  return p.y.taps * p.x.taps * narrowVectors(p) * outs * kLanes;
}
GL_SIMD int64_t narrowSlabSize(const Patches &p) {
  return p.blockImages * p.y.span(p.blockRows) * narrowVectors(p) * p.x.span(p.blockCols) * kLanes;
}

// [image][row][vector of channels][column][lane]
[[maybe_unused]] static void fillNarrow(const Patches &p, const Block &b, const float *source, float *to) {
  const int64_t rows = p.y.span(b.rows), cols = p.x.span(b.cols), width = cols * kLanes;
  const int64_t y0 = p.y.first + b.row * p.y.step, x0 = p.x.first + b.col;
  const int64_t left = smaller(cols, larger(0, -x0)), right = larger(left, smaller(cols, p.x.source - x0));
  for (int64_t n = b.image; n < b.image + b.images; n++)
    for (int64_t y = y0; y < y0 + rows; y++)
      eachVec(p.channels, [&](int64_t c, int64_t count) GL_LAMBDA {
        const bool inside = y >= 0 && y < p.y.source;
        const float *from = source + ((n * p.y.source + y) * p.x.source + x0) * p.channels + c;
        int64_t x = 0;
        for (; x < (inside ? left : cols); x++) store(to + x * kLanes, Vec{});
        for (; x < right; x++) store(to + x * kLanes, load(from + x * p.channels, count));
        for (; x < cols; x++) store(to + x * kLanes, Vec{});
        to += width;
      });
}

// The epilogues on `count` floats of the result that begin with channel 0 of a pixel.
GL_SIMD void finishPixels(const Op &op, int64_t at, int64_t count, int64_t outs) {
  for (int e = 0; e < op.epilogues; e++) {
    const Epilogue &epilogue = op.epilogue[e];
    float *out = op.out[0].as<float>() + at;
    const float attr = static_cast<float>(epilogue.attr);
    const bool isRow = epilogue.hasOperand && epilogue.operand.size != op.out[0].size;
    float repeated[2 * kLanes];  // of a row, so that any stretch of lanes can be read
    if (isRow)
      for (int64_t i = 0; i < 2 * kLanes; i++) repeated[i] = epilogue.operand.as<float>()[i % outs];
    const float *operand = epilogue.hasOperand && !isRow ? epilogue.operand.as<float>() + at : out;
    withEpilogueCode(epilogue.code, [&](auto code) GL_LAMBDA {
      eachVec(count, [&](int64_t i, int64_t n) GL_LAMBDA {
        const Vec other = isRow ? load(repeated + i % outs) : load(operand + i, n);
        store(out + i, activate<decltype(code)::value>(load(out + i, n), other, attr), n);
      });
    });
  }
}

// Row ty and column tx of taps, from elements source[o * outStep + c * channelStep] of output o and channel c.
GL_SIMD void packNarrowTap(const Patches &p, int64_t ty, int64_t tx, int64_t outs, const float *source, int64_t outStep,
                           int64_t channelStep, float *packed) {
  for (int64_t v = 0; v < narrowVectors(p); v++)
    for (int64_t o = 0; o < outs; o++)
      for (int64_t lane = 0, c = v * kLanes; lane < kLanes; lane++, c++)
        packed[(((ty * narrowVectors(p) + v) * p.x.taps + tx) * outs + o) * kLanes + lane] =
            c < p.channels ? source[o * outStep + c * channelStep] : 0.0f;
}

// One block of a convolution to `outs` channels, with the filter packed for it.
GL_SIMD void convolveNarrow(const Op &op, const Patches &p, const Block &block, const OutputGrid &out, int64_t outs,
                            const float *filter, float *slab) {
  fillNarrow(p, block, op.in[0].as<float>(), slab);
  const int64_t width = p.x.span(block.cols) * kLanes;
  NarrowArgs args;
  args.tapRows = p.y.taps;
  args.vectors = narrowVectors(p);
  args.tapCols = p.x.taps;
  args.vector = width;
  args.tapRow = p.y.tapStep * args.vectors * width;
  args.tapCol = p.x.tapStep * kLanes;
  args.b = filter;
  const int64_t tiles = ceilDiv(block.cols, kLanes / outs);
  float apart[kLanes];  // results whose pixels do not lie side by side
  for (int64_t n = 0; n < block.images; n++)
    for (int64_t y = 0; y < block.rows; y++) {
      const int64_t at = out.at(block.image + n, block.row + y, block.col);
      float *to = op.out[0].as<float>() + at;
      const bool dense = out.colStep == outs;
      for (int64_t t = 0; t < tiles; t++) {
        const int64_t x = tileBegin(t, tiles, block.cols), pixels = tileBegin(t + 1, tiles, block.cols) - x;
        args.a = slab + ((n * p.y.span(block.rows) + y * p.y.step) * args.vectors) * width + x * kLanes;
        args.c = dense ? to + x * outs : apart;
        kNarrowTiles.kernel[outs - 1][pixels - 1](args);
        if (dense) continue;
        for (int64_t i = 0; i < pixels; i++)
          for (int64_t o = 0; o < outs; o++) to[(x + i) * out.colStep + o] = apart[i * outs + o];
      }
      if (dense)
        finishPixels(op, at, block.cols * outs, outs);
      else
        for (int64_t i = 0; i < block.cols; i++) finishPixels(op, at + i * out.colStep, outs, outs);
    }
}

}  // namespace gradline::cpu::GL_ISA
