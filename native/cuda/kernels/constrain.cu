// The planners of the kernels in constrain.cuh: which of them an op takes, with what grid and workspace, from shapes
// alone. No kernel stands here.
#include "constrain.cuh"

namespace gradline::cuda {

bool planMaxNorm(const Op &op, Launches &launches) {
  if (!isCountable(op) || !isF32(op.out[0])) return false;
  if (op.out[0].size == 0) return true;
  const int64_t units = op.out[0].channels();
  const int width = columnsPerBlock(units);
  launch(launches,
         MaxNorm{global<float>(op.out[0]), global<const StepState>(op.in[1]), static_cast<int>(op.out[0].rows()),
                 static_cast<int>(units), width, op.attr[attr::maxNorm::limit]},
         {ceilDiv(units, width)});
  return true;
}

bool planAverageWeights(const Op &op, Launches &launches) {
  if (!isCountable(op) || !isF32(op.out[0])) return false;
  const int n = static_cast<int>(op.out[0].size);
  if (n == 0) return true;
  launch(launches,
         AverageWeights{global<float>(op.out[0]), global<const float>(op.in[1]), global<const StepState>(op.in[2]), n,
                        op.attr[attr::averageWeights::decay]},
         {ceilDiv(n, kBlock)});
  return true;
}

}  // namespace gradline::cuda
