// The planners of all kernel files, and what they have in common. A planner looks at shapes and dtypes only; it returns
// false for a form it has no kernel for, which the device then reports when it compiles a program.
#pragma once
#include "../launch.h"

namespace gradline::cuda {

// elementwise.cu
bool planUnary(const Op &, Launches &);
bool planBinary(const Op &, Launches &);
bool planSelect(const Op &, Launches &);
// reduce.cu
bool planSum(const Op &, Launches &);
bool planMax(const Op &, Launches &);
bool planArgmax(const Op &, Launches &);
// matmul.cu
bool planMatmul(const Op &, Launches &);
// library.cu
bool isSmall(const GlGemm &, const Launches &own);
bool planByLibrary(const Op &, const GlGemm &, const Launches &own, Launches &);
// conv.cu
bool planConv2d(const Op &, Launches &);
bool planConv2dInputGrad(const Op &, Launches &);
bool planConv2dFilterGrad(const Op &, Launches &);
// pool.cu
bool planMaxPool2d(const Op &, Launches &);
bool planMaxPool2dGrad(const Op &, Launches &);
bool planAvgPool2d(const Op &, Launches &);
bool planAvgPool2dGrad(const Op &, Launches &);
// norm.cu, normGrad.cu
bool planBatchNorm(const Op &, Launches &);
bool planBatchNormGrad(const Op &, Launches &);
bool planBatchNormInference(const Op &, Launches &);
// softmax.cu
bool planSoftmax(const Op &, Launches &);
bool planSoftmaxGrad(const Op &, Launches &);
// move.cu
bool planCopy(const Op &, Launches &);
bool planFill(const Op &, Launches &);
bool planStrided(const Op &, Launches &);
bool planConcat(const Op &, Launches &);
bool planPad(const Op &, Launches &);
bool planGather(const Op &, Launches &);
bool planGatherGrad(const Op &, Launches &);
// loss.cu
bool planSoftmaxCrossEntropy(const Op &, Launches &);
bool planSoftmaxCrossEntropyGrad(const Op &, Launches &);
bool planOneHot(const Op &, Launches &);
bool planRequireFinite(const Op &, Launches &);
// random.cu
bool planDropout(const Op &, Launches &);
bool planCropFlip(const Op &, Launches &);
bool planRandomUniform(const Op &, Launches &);
bool planRandomNormal(const Op &, Launches &);
bool planSampleRows(const Op &, Launches &);
// schedule.cu
bool planScheduleRate(const Op &, Launches &);
// update.cu
bool planAdvance(const Op &, Launches &);
bool planStepValue(const Op &, Launches &);
bool planCountGroup(const Op &, Launches &);
bool planAccumulateGradient(const Op &, Launches &);
bool planPrepareUpdate(const Op &, Launches &);
// constrain.cu
bool planMaxNorm(const Op &, Launches &);
bool planAverageWeights(const Op &, Launches &);
// rules.cu
bool planUpdateRule(const Op &, Launches &);

// Most kernels: threads of a block, neighbours that a thread takes.
constexpr int kBlock = 256, kPerThread = 4, kPerBlock = kBlock * kPerThread;

GL_INLINE int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
GL_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
GL_INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// Kernels count elements in 32 bits, with room for one block beyond the end.
constexpr int64_t kMaxElements32 = 0x7fff0000;

// Nothing is fp64 and all sizes fit the kernels' counters.
inline bool isCountable(const Op &op) {
  if (op.fp64) return false;
  for (int i = 0; i < op.inputs; i++)
    if (op.in[i].size > kMaxElements32) return false;
  for (int i = 0; i < op.outputs; i++)
    if (op.out[i].size > kMaxElements32) return false;
  return true;
}
inline bool isF32(const Tensor &tensor) { return tensor.dtype == DType::f32; }
inline bool allF32(const Op &op) {
  if (!isCountable(op)) return false;
  for (int i = 0; i < op.inputs; i++)
    if (!isF32(op.in[i])) return false;
  for (int i = 0; i < op.outputs; i++)
    if (!isF32(op.out[i])) return false;
  return true;
}

}  // namespace gradline::cuda
