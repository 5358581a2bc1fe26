// What both kernels of Winograd's convolutions share: which convolutions they are for, and the transform of 4x4 inputs.
// The algorithm is the same for 2x2 outputs of 3x3 taps and for 3x3 outputs of 2x2 taps, whose inputs are 4x4 both.
#pragma once
#include "tile.h"

namespace gradline::cpu::GL_ISA {

constexpr int64_t kPoints = 16;      // matrix products: elements of a transformed tile
constexpr int64_t kBlockTiles = 64;  // that are transformed at a time
constexpr int64_t kApart = 16;       // floats between the points, so that they do not share sets of the cache

// Below these the transforms of the tiles (few channels) or of the filter (few tiles) eat what is saved. Measured on a
// Zen 5: with 16 channels 1.1 to 1.5 times as fast, with 32 from 1.3; at 49 tiles 1.1 to 1.4, at 16 no faster.
constexpr int64_t kFewestChannels = 16;
constexpr int64_t kFewestTiles = 48;

// 3x3, dense, with nothing between the taps and the places, and worth it. `places`: outputs, or what stands for them.
GL_SIMD bool isWinograd(const Op &op, const Tensor &filter, const Tensor &places) {
  namespace at = attr::conv2d;  // the gradients have theirs at the same places
  const int ones[] = {at::strideH, at::strideW, at::dilationH, at::dilationW, at::groups};
  for (int i : ones)
    if (op.iattr(i) != 1) return false;
  const int64_t tiles = places.dims[0] * ceilDiv(places.dims[1], 2) * ceilDiv(places.dims[2], 2);
  return filter.dims[0] == 3 && filter.dims[1] == 3 && filter.dims[2] >= kFewestChannels &&
         filter.dims[3] >= kFewestChannels && tiles >= kFewestTiles;
}

// B' d, of four inputs.
GL_SIMD void transformInputs(Vec a, Vec b, Vec c, Vec d, Vec (&to)[4]) {
  to[0] = a - c;
  to[1] = b + c;
  to[2] = c - b;
  to[3] = b - d;
}

// B' d B of the channels of one tile: point i of channel c goes to to[i * point + c].
GL_SIMD void transformTile(const float *from, int64_t rowStride, int64_t colStride, int64_t channels, float *to,
                           int64_t point) {
  eachVec(channels, [&](int64_t c, int64_t count) GL_LAMBDA {
    Vec down[4][4], across[4];
#pragma GCC unroll 4
    for (int x = 0; x < 4; x++) {
      const float *column = from + c + x * colStride;
      transformInputs(load(column, count), load(column + rowStride, count), load(column + 2 * rowStride, count),
                      load(column + 3 * rowStride, count), down[x]);
    }
#pragma GCC unroll 4
    for (int y = 0; y < 4; y++) {
      transformInputs(down[0][y], down[1][y], down[2][y], down[3][y], across);
#pragma GCC unroll 4
      for (int x = 0; x < 4; x++) store(to + (4 * y + x) * point + c, across[x], count);
    }
  });
}

}  // namespace gradline::cpu::GL_ISA
