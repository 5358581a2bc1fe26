// Patches whose pixels are turned into planes: a unit copies its part of the image so that one channel of one row lies
// side by side. Then the rows of a tile are neighbouring floats, a tile needs one address instead of one for each row,
// and tiles may be 28 rows by one vector. That pays where a patch is short (few input channels); elsewhere patches.h
// reads the image where it lies. The kernels stand in planar.cc.
#pragma once
#include "pack.h"
#include "patches.h"

namespace gradline::cpu::GL_ISA {

// Sums, a row of B and one element of A fill the registers: by vectors - 1.
#if defined(__AVX512F__)
constexpr int kPlanarRows[2] = {28, 14};
#elif defined(__AVX2__)
constexpr int kPlanarRows[2] = {12, 6};
#else
constexpr int kPlanarRows[2] = {8, 4};
#endif
constexpr int kMostPlanarRows = kPlanarRows[0];
constexpr int64_t kPlanarPlaces = 256;  // of a block; twice as many where channels are few

// The tile C[r][0 .. cols) = sum over k of a[r + offsets[k]] * b[k * ldb].
struct PlanarArgs {
  int64_t depth;
  const int64_t *offsets;
  const float *a, *b;
  int64_t ldb;
  float *c;
  int64_t ldc;
  int64_t lastCols;  // columns of the last vector, 1 .. kLanes
};
using PlanarKernel = void (*)(const PlanarArgs &);

struct PlanarTable {
  PlanarKernel kernel[kTileVecs][kMostPlanarRows];  // by vectors - 1, rows - 1
};
extern const PlanarTable kPlanarTiles;

// How the planes of a block lie: [image][row][channel][column modulo the step][column / step].
struct Planes {
  int64_t phases, width;  // of one channel of one row
  int64_t plane, row, image;
};

GL_SIMD Planes planesOf(const Patches &p, int64_t rows, int64_t cols) {
  Planes s;
  s.phases = smaller(p.x.step, p.x.span(cols));
  s.width = ceilDiv(p.x.span(cols), p.x.step);
  s.plane = s.phases * s.width;
  s.row = p.channels * s.plane;
  s.image = p.y.span(rows) * s.row;
  return s;
}
// Where element k of a patch lies, in the order of w: taps down, taps across, channels of the group.
GL_SIMD void planarOffsets(const Patches &p, const Planes &s, int64_t *offsets) {
  for (int64_t ty = 0; ty < p.y.taps; ty++)
    for (int64_t tx = 0; tx < p.x.taps; tx++)
      for (int64_t c = 0; c < p.groupChannels; c++) {
        const int64_t col = tx * p.x.tapStep;
        *offsets++ = ty * p.y.tapStep * s.row + c * s.plane + col % p.x.step * s.width + col / p.x.step;
      }
}

GL_SIMD int64_t planesSize(const Patches &p) {
  return ceilDiv(p.blockImages * planesOf(p, p.blockRows, p.blockCols).image, 16) * 16;
}

// Column i of `phase` for channels [0, channels) of one row of the image, first <= i < last.
GL_SIMD void splitRow(const float *source, int64_t pixel, int64_t channels, int64_t first, int64_t last, int64_t plane,
                      float *to) {
  if (channels * 2 < kLanes) {
    for (int64_t c = 0; c < channels; c++)
      for (int64_t i = first; i < last; i++) to[c * plane + i] = source[i * pixel + c];
    return;
  }
  for (int64_t i = first; i < last; i += kLanes) {
    const int64_t columns = smaller(kLanes, last - i);
    eachVec(channels, [&](int64_t c, int64_t count) GL_LAMBDA {
      Vec rows[kLanes];
#pragma GCC unroll 16
      for (int64_t r = 0; r < kLanes; r++) rows[r] = r < columns ? load(source + (i + r) * pixel + c, count) : Vec{};
      transposeBlock(rows);
#pragma GCC unroll 16
      for (int64_t r = 0; r < kLanes; r++)
        if (r < count) store(to + (c + r) * plane + i, rows[r], columns);
    });
  }
}

[[maybe_unused]] static void fillPlanes(const Patches &p, const Block &b, const Planes &s, const float *source,
                                        float *to) {
  const int64_t y0 = p.y.first + b.row * p.y.step, x0 = p.x.first + b.col * p.x.step;
  for (int64_t n = b.image; n < b.image + b.images; n++)
    for (int64_t y = y0; y < y0 + p.y.span(b.rows); y++, to += s.row) {
      const bool outside = y < 0 || y >= p.y.source;
      if (outside || x0 < 0 || x0 + s.plane > p.x.source) zeroFloats(to, s.row);
      if (outside) continue;
      const float *row = source + (n * p.y.source + y) * p.x.source * p.channels;
      for (int64_t phase = 0; phase < s.phases; phase++) {
        const int64_t start = x0 + phase;  // column of the image at i = 0
        const int64_t first = start < 0 ? ceilDiv(-start, p.x.step) : 0;
        const int64_t last = start < p.x.source ? smaller(s.width, ceilDiv(p.x.source - start, p.x.step)) : 0;
        float *at = to + phase * s.width;
        if (p.channels == 1 && p.x.step == 1)
          copyFloats(at + first, row + start + first, larger(0, last - first));
        else
          splitRow(row + start * p.channels, p.x.step * p.channels, p.channels, first, last, s.plane, at);
      }
    }
}

// b: filter of one group in the order of w, `ldb` floats between its rows.
GL_SIMD void multiplyPlanar(const Op &op, const Patches &p, const Block &block, const Planes &s, const float *planes,
                            const int64_t *offsets, const OutputGrid &out, const BlockProduct &q) {
  PlanarArgs args;
  args.depth = p.depth();
  args.offsets = offsets;
  args.ldb = q.ldb;
  args.ldc = out.colStep;
  int64_t rowC[kMostPlanarRows];
  for (int64_t col = 0; col < q.cols; col += kTileCols) {
    const int64_t cols = smaller(kTileCols, q.cols - col), vecs = ceilDiv(cols, kLanes);
    const int64_t most = vecs == 1 ? kPlanarRows[0] : kPlanarRows[1], tiles = ceilDiv(block.cols, most);
    args.lastCols = cols - (vecs - 1) * kLanes;
    args.b = q.b + col / kTileCols * q.panelStride;
    for (int64_t n = 0; n < block.images; n++)
      for (int64_t y = 0; y < block.rows; y++)
        for (int64_t t = 0; t < tiles; t++) {
          const int64_t x = tileBegin(t, tiles, block.cols), rows = tileBegin(t + 1, tiles, block.cols) - x;
          const int64_t at = out.at(block.image + n, block.row + y, block.col + x);
          args.a = planes + n * s.image + y * p.y.step * s.row + x;
          args.c = op.out[0].as<float>() + at + q.firstCol + col;
          kPlanarTiles.kernel[vecs - 1][rows - 1](args);
          if (op.epilogues == 0) continue;
          for (int64_t r = 0; r < rows; r++) rowC[r] = at + r * out.colStep;
          finishTile(op, rowC, rows, q.firstCol + col, cols);
        }
  }
}

}  // namespace gradline::cpu::GL_ISA
