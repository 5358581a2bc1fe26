// What each elementwise op does to one element; the same functions serve as epilogues of other ops. Comparisons are
// written so that NaN goes the way ops.def says: a comparison with NaN is false. No kernel stands here.
#pragma once
#include "../gpu.h"

namespace gradline::cuda {

GPU_DEVICE float maximumOf(float a, float b) { return a > b || a != a ? a : b; }
GPU_DEVICE float minimumOf(float a, float b) { return a < b || a != a ? a : b; }

template <OpCode code>
GPU_DEVICE float unary(float x, float a, float b) {
  if constexpr (code == OpCode::neg) return -x;
  if constexpr (code == OpCode::abs) return fabsf(x);
  if constexpr (code == OpCode::sign) return x > 0 ? 1.0f : x < 0 ? -1.0f : x;
  if constexpr (code == OpCode::exp) return expf(x);
  if constexpr (code == OpCode::log) return logf(x);
  if constexpr (code == OpCode::log1p) return log1pf(x);
  if constexpr (code == OpCode::erf) return erff(x);
  if constexpr (code == OpCode::sqrt) return sqrtf(x);
  if constexpr (code == OpCode::scale) return a * x + b;
  if constexpr (code == OpCode::relu) return x <= 0 ? 0.0f : x;
  if constexpr (code == OpCode::leakyRelu) return x > 0 ? x : a * x;
  if constexpr (code == OpCode::elu) return x > 0 ? x : a * expm1f(x);
  if constexpr (code == OpCode::sigmoid) return 1.0f / (1.0f + expf(-x));
  if constexpr (code == OpCode::tanh) return tanhf(x);
}

template <OpCode code, class T>
GPU_DEVICE float binary(T a, T b, float attr, float second = 0) {
  if constexpr (code == OpCode::reluGrad) return b > 0 ? a : 0.0f;
  if constexpr (code == OpCode::leakyReluGrad) return b > 0 ? a : attr * a;
  if constexpr (code == OpCode::eluGrad) return b > 0 ? a : a * (b + attr);
  if constexpr (code == OpCode::sigmoidGrad) return a * b * (1.0f - b);
  if constexpr (code == OpCode::tanhGrad) return a * (1.0f - b * b);
  if constexpr (code == OpCode::add) return a + b;
  if constexpr (code == OpCode::sub) return a - b;
  if constexpr (code == OpCode::mul) return a * b;
  if constexpr (code == OpCode::div) return a / b;
  if constexpr (code == OpCode::maximum) return maximumOf(a, b);
  if constexpr (code == OpCode::minimum) return minimumOf(a, b);
  if constexpr (code == OpCode::weightedSum) return attr * a + second * b;
  if constexpr (code == OpCode::greater) return a > b ? 1.0f : 0.0f;
  if constexpr (code == OpCode::equal) return a == b ? 1.0f : 0.0f;
}

// ---- Epilogues: elementwise ops on the result of another op before it is stored

struct EpilogueStep {
  Global<const float> operand;  // null: none
  int operandSize;              // it repeats along the elements of the result
  float attr;
  OpCode code;
};
struct Epilogues {
  EpilogueStep step[kMaxEpilogues];
  int count;
};

inline Epilogues epiloguesOf(const Op &op) {
  Epilogues all = {};
  all.count = op.epilogues;
  for (int i = 0; i < op.epilogues; i++) {
    const Epilogue &e = op.epilogue[i];
    all.step[i].code = e.code;
    all.step[i].attr = static_cast<float>(e.attr);
    if (!e.hasOperand) continue;
    all.step[i].operand = global<const float>(e.operand);
    all.step[i].operandSize = static_cast<int>(e.operand.size);
  }
  return all;
}

// x is element i of a result [..., channels], in column `channel`. An operand is a row or as large as the result.
GPU_DEVICE float applyEpilogues(const Epilogues &all, float x, int i, int channel, int channels) {
  for (int e = 0; e < all.count; e++) {
    const EpilogueStep &step = all.step[e];
    float b = 0;
    if (step.operandSize > 0) b = step.operand[step.operandSize == channels ? channel : i];
    switch (step.code) {
#define GL_CASE(name)                            \
  case OpCode::name:                             \
    x = unary<OpCode::name>(x, step.attr, 0.0f); \
    break;
      GL_CASE(relu)
      GL_CASE(leakyRelu)
      GL_CASE(elu)
      GL_CASE(sigmoid)
      GL_CASE(tanh)
#undef GL_CASE
#define GL_CASE(name)                          \
  case OpCode::name:                           \
    x = binary<OpCode::name>(x, b, step.attr); \
    break;
      GL_CASE(reluGrad)
      GL_CASE(leakyReluGrad)
      GL_CASE(eluGrad)
      GL_CASE(sigmoidGrad)
      GL_CASE(tanhGrad)
      GL_CASE(add)
      GL_CASE(mul)
#undef GL_CASE
      default:
        break;  // a verified program holds no other
    }
  }
  return x;
}

}  // namespace gradline::cuda
