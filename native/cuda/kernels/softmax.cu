// The planners of the kernels in softmax.cuh: which of them an op takes, with what grid and workspace, from shapes
// alone. No kernel stands here.
#include "softmax.cuh"

namespace gradline::cuda {

bool planSoftmax(const Op &op, Launches &launches) {
  if (!allF32(op)) return false;
  if (op.out[0].size == 0) return true;
  const int rows = static_cast<int>(op.in[0].rows()), c = static_cast<int>(op.in[0].channels());
  launch(launches, Softmax{global<const float>(op.in[0]), global<float>(op.out[0]), rows, c},
         {ceilDiv(rows, kBlock / 32)});
  return true;
}

bool planSoftmaxGrad(const Op &op, Launches &launches) {
  if (!allF32(op)) return false;
  if (op.out[0].size == 0) return true;
  const int rows = static_cast<int>(op.in[0].rows()), c = static_cast<int>(op.in[0].channels());
  launch(launches,
         SoftmaxGrad{global<const float>(op.in[0]), global<const float>(op.in[1]), global<float>(op.out[0]), rows, c},
         {ceilDiv(rows, kBlock / 32)});
  return true;
}

}  // namespace gradline::cuda
