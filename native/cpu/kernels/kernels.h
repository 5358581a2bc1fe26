// The plan functions of all kernel files of one instruction set, and what their plans have in common: sizes of units
// and a rough clock. A plan looks at shapes and dtypes only; whatever it declines runs in ref.
#pragma once
#include "../target.h"

namespace gradline::cpu::GL_ISA {

// elementwise.cc
bool planUnary(const Op &, KernelPlan &);
bool planBinary(const Op &, KernelPlan &);
bool planSelect(const Op &, KernelPlan &);
// reduce.cc
bool planSum(const Op &, KernelPlan &);
bool planMax(const Op &, KernelPlan &);
bool planArgmax(const Op &, KernelPlan &);
// matmul.cc, conv2d.cc, conv2dInputGrad.cc, conv2dFilterGrad.cc
bool planMatmul(const Op &, KernelPlan &);
bool planConv2d(const Op &, KernelPlan &);
bool planConv2dInputGrad(const Op &, KernelPlan &);
bool planConv2dFilterGrad(const Op &, KernelPlan &);
// pool.cc, poolGrad.cc
bool planMaxPool2d(const Op &, KernelPlan &);
bool planMaxPool2dGrad(const Op &, KernelPlan &);
bool planAvgPool2d(const Op &, KernelPlan &);
bool planAvgPool2dGrad(const Op &, KernelPlan &);
// norm.cc
bool planBatchNorm(const Op &, KernelPlan &);
bool planBatchNormGrad(const Op &, KernelPlan &);
bool planBatchNormInference(const Op &, KernelPlan &);
bool planSoftmax(const Op &, KernelPlan &);
bool planSoftmaxGrad(const Op &, KernelPlan &);
// move.cc
bool planCopy(const Op &, KernelPlan &);
bool planFill(const Op &, KernelPlan &);
bool planBroadcast(const Op &, KernelPlan &);
bool planTranspose(const Op &, KernelPlan &);
bool planConcat(const Op &, KernelPlan &);
bool planSlice(const Op &, KernelPlan &);
bool planPad(const Op &, KernelPlan &);
bool planGather(const Op &, KernelPlan &);
bool planGatherGrad(const Op &, KernelPlan &);
// loss.cc
bool planSoftmaxCrossEntropy(const Op &, KernelPlan &);
bool planSoftmaxCrossEntropyGrad(const Op &, KernelPlan &);
// random.cc
bool planDropout(const Op &, KernelPlan &);
bool planCropFlip(const Op &, KernelPlan &);
bool planRandomUniform(const Op &, KernelPlan &);
bool planRandomNormal(const Op &, KernelPlan &);
bool planSampleRows(const Op &, KernelPlan &);
// update.cc
bool planPrepareUpdate(const Op &, KernelPlan &);
bool planAccumulateGradient(const Op &, KernelPlan &);
bool planUpdateRule(const Op &, KernelPlan &);
bool planMaxNorm(const Op &, KernelPlan &);
bool planAverageWeights(const Op &, KernelPlan &);

int64_t burnMultiplyAdds(int64_t rounds, float *sink);

constexpr int64_t kChunk = 4096;  // elements of a unit of streaming work: 16 KB per operand

GL_INLINE int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
GL_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
GL_INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

// Nanoseconds to stream so many bytes on one thread: about 60 GB/s while they fit a cache, 20 GB/s from memory.
GL_INLINE double streamTime(double bytes) { return 100 + (bytes < 512 * 1024 ? bytes / 60 : bytes / 20); }

GL_INLINE bool isF32(const Tensor &tensor) { return tensor.dtype == DType::f32; }
GL_INLINE bool allF32(const Op &op) {
  if (op.fp64) return false;
  for (int i = 0; i < op.inputs; i++)
    if (!isF32(op.in[i])) return false;
  for (int i = 0; i < op.outputs; i++)
    if (!isF32(op.out[i])) return false;
  return true;
}

using RunFn = void (*)(const Op &op, int64_t begin, int64_t end, void *scratch);

GL_INLINE void addPhase(KernelPlan &plan, RunFn run, int64_t units, double nanoseconds) {
  plan.phases[plan.count++] = {run, units, nanoseconds};
}
GL_INLINE bool onePhase(KernelPlan &plan, const char *name, RunFn run, int64_t units, double nanoseconds) {
  plan = {};
  plan.name = name;
  addPhase(plan, run, units, nanoseconds);
  return true;
}

// Says of the phase added last that it works by rows, see Phase. Operands that are not named may be met anywhere.
GL_INLINE void byRows(KernelPlan &plan, int64_t rows, int64_t rowsPerUnit, uint32_t operands) {
  Phase &phase = plan.phases[plan.count - 1];
  phase.rows = rows;
  phase.rowsPerUnit = rowsPerUnit;
  phase.byRow = operands;
}

}  // namespace gradline::cpu::GL_ISA
