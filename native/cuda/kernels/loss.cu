// The planners of the kernels in loss.cuh: which of them an op takes, with what grid and workspace, from shapes alone.
// No kernel stands here.
#include "loss.cuh"

namespace gradline::cuda {
namespace {

// The labels of a loss: indices or a row of weights each. The other one stays null.
bool areIndices(const Tensor &labels) { return labels.dtype == DType::i32; }
Global<const int32_t> indicesOf(const Tensor &labels) {
  if (areIndices(labels)) return global<const int32_t>(labels);
  return nullptr;
}
Global<const float> targetsOf(const Tensor &labels) {
  if (areIndices(labels)) return nullptr;
  return global<const float>(labels);
}

}  // namespace

bool planSoftmaxCrossEntropy(const Op &op, Launches &launches) {
  if (!isCountable(op) || !isF32(op.in[0])) return false;
  const int n = static_cast<int>(op.in[0].rows()), k = static_cast<int>(op.in[0].channels());
  if (n == 0) return true;
  if (k == 0) return false;
  launch(launches,
         SoftmaxCrossEntropy{global<const float>(op.in[0]), indicesOf(op.in[1]), targetsOf(op.in[1]),
                             global<float>(op.out[0]), global<float>(op.out[1]), n, k, reporterOf(op, launches)},
         {ceilDiv(n, kRowsPerBlock)});
  return true;
}

bool planSoftmaxCrossEntropyGrad(const Op &op, Launches &launches) {
  if (!isCountable(op) || !isF32(op.in[0])) return false;
  const int n = static_cast<int>(op.in[1].rows()), k = static_cast<int>(op.in[1].channels());
  if (n == 0) return true;
  if (k == 0) return false;
  launch(launches,
         SoftmaxCrossEntropyGrad{global<const float>(op.in[0]), global<const float>(op.in[1]), indicesOf(op.in[2]),
                                 targetsOf(op.in[2]), global<float>(op.out[0]), n, k, reporterOf(op, launches)},
         {ceilDiv(n, kRowsPerBlock)});
  return true;
}

bool planOneHot(const Op &op, Launches &launches) {
  if (!isCountable(op) || !isF32(op.out[0])) return false;
  const int size = static_cast<int>(op.out[0].size), k = static_cast<int>(op.out[0].channels());
  if (op.in[0].size == 0) return true;
  if (k == 0) return false;
  launch(launches,
         OneHot{global<const int32_t>(op.in[0]), global<float>(op.out[0]), size, k, op.attr[attr::oneHot::ignore],
                reporterOf(op, launches)},
         {ceilDiv(size, kBlock)});
  return true;
}

bool planRequireFinite(const Op &op, Launches &launches) {
  if (!allF32(op)) return false;
  const int n = static_cast<int>(op.out[0].size);
  if (n == 0) return true;
  launch(launches, RequireFinite{global<const float>(op.in[0]), global<float>(op.out[0]), n, reporterOf(op, launches)},
         {ceilDiv(n, kBlock)});
  return true;
}

}  // namespace gradline::cuda
