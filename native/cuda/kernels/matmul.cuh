// Matrix product of two matrices, either of them read transposed, with epilogues: the tile of tile.cuh over plain rows.
#pragma once
#include "tile.cuh"

namespace gradline::cuda {

// a [m, k] ([k, m] if transposeA), b [k, n] ([n, k] if transposeB) -> y [m, n], and the sum over k of b as read [n]
template <bool transposeA, bool transposeB>
struct Matmul {
  static constexpr bool kAByK = !transposeA, kBByK = transposeB, kSums = true;
  Global<const float> first, second;
  Global<float> y, columnSums;
  int m, n, k;
  bool hasSums;
  Epilogues epilogues;

  GL_INLINE bool sums() const { return hasSums; }
  GPU_DEVICE void storeSum(int, int column, float value) const { columnSums[column] = value; }
  GL_INLINE int groups() const { return 1; }
  GPU_DEVICE Line lineA(int row) const { return {transposeA ? row : row * k, 0, 0}; }
  GPU_DEVICE Line lineB(int column) const { return {transposeB ? column * k : column, 0, 0}; }
  GPU_DEVICE Step stepA(int at) const { return {transposeA ? at * m : at, 0, 0}; }
  GPU_DEVICE Step stepB(int at) const { return {transposeB ? at : at * n, 0, 0}; }
  GPU_DEVICE Global<const float> left() const { return first; }
  GPU_DEVICE Global<const float> right() const { return second; }
  GPU_DEVICE int placeA(const Line &line, const Step &step) const { return line.base + step.offset; }
  GPU_DEVICE int placeB(const Line &line, const Step &step) const { return line.base + step.offset; }
  GPU_DEVICE void store(int, int row, int column, float value) const {
    const int i = row * n + column;
    y[i] = applyEpilogues(epilogues, value, i, column, n);
  }
};

template <bool transposeA, bool transposeB>
Matmul<transposeA, transposeB> matmulOf(const Op &op) {
  return {
      global<const float>(op.in[0]),
      global<const float>(op.in[1]),
      global<float>(op.out[0]),
      op.outputs == 2 ? global<float>(op.out[1]) : Global<float>(nullptr),
      static_cast<int>(op.out[0].dims[0]),
      static_cast<int>(op.out[0].dims[1]),
      static_cast<int>(op.in[0].dims[transposeA ? 0 : 1]),
      op.outputs == 2,
      epiloguesOf(op),
  };
}

}  // namespace gradline::cuda
