// The planners of the kernels in normGrad.cuh: which of them an op takes, with what grid and workspace, from shapes
// alone. No kernel stands here.
#include "normGrad.cuh"

namespace gradline::cuda {

bool planBatchNormGrad(const Op &op, Launches &launches) {
  if (!allF32(op) || op.out[0].size == 0) return false;
  const Columns at = columnsOf(op.in[0]);
  GradOperands o = {};
  o.dy = global<const float>(op.in[0]);
  o.x = global<const float>(op.in[1]);
  o.gamma = global<const float>(op.in[2]);
  o.mean = global<const float>(op.in[3]);
  o.variance = global<const float>(op.in[4]);
  if (op.inputs == 6) o.beta = global<const float>(op.in[5]);
  o.dx = global<float>(op.out[0]);
  o.dgamma = global<float>(op.out[1]);
  o.dbeta = global<float>(op.out[2]);
  o.eps = static_cast<float>(op.attr[attr::batchNormGrad::eps]);
  o.slope = static_cast<float>(op.attr[attr::batchNormGrad::slope]);
  if (at.chunks() == 1) {
    launch(launches, BatchNormGrad{at, o}, at.grid());
    return true;
  }
  const Columns overChunks = at.overChunks();
  const Global<float> partial = scratch<float>(op, launches, at.chunks() * 2 * at.c);
  launch(launches, ChunkGradients{at, o, partial}, at.grid());
  launch(launches, MergeGradients{overChunks, o, partial}, overChunks.grid());
  launch(launches, InputGradient{at, o}, at.grid());
  return true;
}

}  // namespace gradline::cuda
