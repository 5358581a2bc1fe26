// Swapping the last two axes of [batch, rows, columns]: tiles go through shared memory, so that both reading and
// writing take neighbours together. Other orders of axes are walked by strides in move.cuh.
#pragma once
#include "axes.cuh"

namespace gradline::cuda {

// x [batch, columns, rows] -> y [batch, rows, columns]
template <class T>
struct SwapAxes {
  static constexpr int kTile = 32, kPitch = kTile + 1;  // + 1: a column of a tile lies in 32 different banks
  static constexpr int kThreads = 256, kLanes = kThreads / kTile;
  Global<const T> x;
  Global<T> y;
  int rows, columns, tilesAcross;

  GPU_DEVICE void run() const {
    GPU_SHARED(T, tile, kTile * kPitch);
    const int row0 = block() / tilesAcross * kTile, column0 = block() % tilesAcross * kTile;
    const int base = blockY() * rows * columns, along = thread() % kTile;
    for (int i = thread() / kTile; i < kTile; i += kLanes) {
      const int row = row0 + along, column = column0 + i;
      if (row < rows && column < columns) tile[i * kPitch + along] = x[base + column * rows + row];
    }
    barrier();
    for (int i = thread() / kTile; i < kTile; i += kLanes) {
      const int row = row0 + i, column = column0 + along;
      if (row < rows && column < columns) y[base + row * columns + column] = tile[along * kPitch + i];
    }
  }
};

// Appends it when the axes of a move (operand 0 is x, y in order) are a swap of the last two; else false.
template <class T>
bool planSwap(Launches &launches, const Tensor &x, const Tensor &y, const Axes &axes) {
  if (axes.rank < 2 || axes.rank > 3) return false;
  const int64_t rows = axes.length[axes.rank - 2], columns = axes.length[axes.rank - 1];
  const int64_t batch = axes.rank == 3 ? axes.length[0] : 1;
  const int *step = axes.step[0];
  if (step[axes.rank - 2] != 1 || step[axes.rank - 1] != rows || batch > 65535) return false;
  if (axes.rank == 3 && step[0] != rows * columns) return false;
  const int64_t across = ceilDiv(columns, SwapAxes<T>::kTile), tiles = ceilDiv(rows, SwapAxes<T>::kTile) * across;
  const SwapAxes<T> kernel = {global<const T>(x), global<T>(y), static_cast<int>(rows), static_cast<int>(columns),
                              static_cast<int>(across)};
  launch(launches, kernel, {tiles, batch});
  return true;
}

}  // namespace gradline::cuda
