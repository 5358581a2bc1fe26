// The planners of the kernels in norm.cuh: which of them an op takes, with what grid and workspace, from shapes alone.
// No kernel stands here.
#include "norm.cuh"

namespace gradline::cuda {
namespace {

Row rowOf(const Op &op, double eps) {
  return {global<const float>(op.in[1]), global<const float>(op.in[2]), static_cast<float>(eps), epiloguesOf(op)};
}

}  // namespace

bool planBatchNorm(const Op &op, Launches &launches) {
  if (!allF32(op) || op.out[0].size == 0) return false;
  const Columns at = columnsOf(op.in[0]);
  const Row row = rowOf(op, op.attr[attr::batchNorm::eps]);
  const Global<const float> x = global<const float>(op.in[0]);
  const Global<float> y = global<float>(op.out[0]), mean = global<float>(op.out[1]),
                      variance = global<float>(op.out[2]);
  if (at.chunks() == 1) {
    launch(launches, BatchNorm{at, row, x, y, mean, variance}, at.grid());
    return true;
  }
  const Columns overChunks = at.overChunks();
  const Global<Statistics> partial = scratch<Statistics>(op, launches, at.chunks() * at.c);
  launch(launches, ChunkStatistics{at, x, partial}, at.grid());
  launch(launches, MergeStatistics{overChunks, partial, mean, variance}, overChunks.grid());
  launch(launches, Normalize{at, row, x, mean, variance, y}, at.grid());
  return true;
}

bool planBatchNormInference(const Op &op, Launches &launches) {
  if (!allF32(op)) return false;
  if (op.out[0].size == 0) return true;
  const Columns at = columnsOf(op.in[0]);
  launch(launches,
         Normalize{at, rowOf(op, op.attr[attr::batchNormInference::eps]), global<const float>(op.in[0]),
                   global<const float>(op.in[3]), global<const float>(op.in[4]), global<float>(op.out[0])},
         at.grid());
  return true;
}

}  // namespace gradline::cuda
