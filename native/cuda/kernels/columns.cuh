// How a block walks columns of x [rows, c]: its threads stand as [lanes, width], width columns side by side, and take
// one chunk of the rows. Chunks follow from the shape alone. It reads nothing itself.
#pragma once
#include "fold.cuh"
#include "kernels.h"

namespace gradline::cuda {

struct Columns {
  static constexpr int kThreads = 256;
  static constexpr int kRowsPerThread = 32;  // of a chunk, at the least
  static constexpr int kMostChunks = 1024;

  int rows, c, width, perChunk;

  // ---- Of the calling thread
  GPU_DEVICE int lanes() const { return kThreads / width; }
  GPU_DEVICE int columnOfThread() const { return thread() % width; }
  GPU_DEVICE int column() const { return block() * width + columnOfThread(); }
  GPU_DEVICE int chunk() const { return blockY(); }
  GPU_DEVICE bool isInside() const { return column() < c; }
  GPU_DEVICE bool isFirstRow() const { return thread() < width; }
  GPU_DEVICE int endOfBlock() const { return static_cast<int>(smaller((chunk() + 1) * perChunk, rows)); }
  GPU_DEVICE int rowsOfBlock() const { return endOfBlock() - chunk() * perChunk; }

  // visit(element) for the rows of the chunk that this thread takes: every lanes()-th.
  template <class Visit>
  GPU_DEVICE void eachRow(Visit visit) const {
    if (!isInside()) return;
    for (int row = chunk() * perChunk + thread() / width; row < endOfBlock(); row += lanes()) visit(row * c + column());
  }
  // The same, but neighbouring rows go to one thread, so that what is merged in order stays in order.
  template <class Visit>
  GPU_DEVICE void eachOfRun(Visit visit) const {
    if (!isInside()) return;
    const int each = (rowsOfBlock() + lanes() - 1) / lanes(), begin = chunk() * perChunk + thread() / width * each;
    for (int row = begin; row < smaller(begin + each, endOfBlock()); row++) visit(row * c + column());
  }

  // ---- On the host
  int64_t chunks() const { return ceilDiv(rows, perChunk); }
  Grid grid() const { return {ceilDiv(c, width), chunks()}; }
  // The columns of [chunks, c], as one chunk.
  Columns overChunks() const {
    const int count = static_cast<int>(chunks());
    return {count, c, width, count};
  }
};

// x [..., c] with at least one element
inline Columns columnsOf(const Tensor &x) {
  const int width = columnsPerBlock(x.channels());
  const int64_t least = Columns::kThreads / width * Columns::kRowsPerThread;
  const int64_t perChunk = larger(least, ceilDiv(x.rows(), Columns::kMostChunks));
  return {static_cast<int>(x.rows()), static_cast<int>(x.channels()), width, static_cast<int>(perChunk)};
}

}  // namespace gradline::cuda
