// How the workspace of a conv2dFilterGrad is shared out, for both of its kernels: first the sums of dy over pieces of
// its rows, where the gradient of a bias is asked for, then the partial filter gradients.
#pragma once
#include "kernels.h"

namespace gradline::cpu::GL_ISA {

constexpr int64_t kBiasPieceFloats = 8192;

GL_INLINE int64_t biasPieceRows(int64_t co) { return larger(16, kBiasPieceFloats / co); }
GL_INLINE int64_t biasPieces(const Op &op) {
  return op.outputs > 1 ? ceilDiv(op.in[1].rows(), biasPieceRows(op.in[1].channels())) : 0;
}
GL_INLINE int64_t biasFloats(const Op &op) { return ceilDiv(biasPieces(op) * op.in[1].channels(), 16) * 16; }
GL_INLINE float *partialSums(const Op &op) { return static_cast<float *>(op.workspace) + biasFloats(op); }

}  // namespace gradline::cpu::GL_ISA
