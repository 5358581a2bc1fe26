// The ops that may follow another op (a product, batch norm, the derivative of a pool) as epilogues, as functions of
// vectors: one per op, and the same chosen by code. elementwise.cc uses these very functions, and each result is isolated from the
// arithmetic around it, so a fused and an unfused op give equal bits. It does not load, store or broadcast.
#pragma once
#include "../simd.h"

namespace gradline::cpu::GL_ISA {

GL_SIMD Vec relu(Vec x) { return maxOf(set1(0.0f), x); }  // NaN is the second argument and passes
GL_SIMD Vec leakyRelu(Vec x, float slope) { return select(x > 0.0f, x, slope * x); }
GL_SIMD Vec elu(Vec x, float alpha) { return select(x > 0.0f, x, alpha * expm1OfNegative(minOf(set1(0.0f), x))); }
GL_SIMD Vec reluGrad(Vec dy, Vec y) { return select(y > 0.0f, dy, set1(0.0f)); }
GL_SIMD Vec leakyReluGrad(Vec dy, Vec y, float slope) { return select(y > 0.0f, dy, slope * dy); }
GL_SIMD Vec eluGrad(Vec dy, Vec y, float alpha) { return select(y > 0.0f, dy, dy * (y + alpha)); }
GL_SIMD Vec sigmoidGrad(Vec dy, Vec y) { return dy * y * (1.0f - y); }
GL_SIMD Vec tanhGrad(Vec dy, Vec y) { return dy * (1.0f - y * y); }

// Result of one epilogue op with code known at compile time; `operand` and `attr` are ignored by ops without them.
template <OpCode code>
GL_SIMD Vec activate(Vec x, Vec operand, float attr) {
  x = isolate(x);
  Vec y = x;
  if constexpr (code == OpCode::add) y = x + operand;
  if constexpr (code == OpCode::mul) y = x * operand;
  if constexpr (code == OpCode::relu) y = relu(x);
  if constexpr (code == OpCode::leakyRelu) y = leakyRelu(x, attr);
  if constexpr (code == OpCode::elu) y = elu(x, attr);
  if constexpr (code == OpCode::sigmoid) y = sigmoid(x);
  if constexpr (code == OpCode::tanh) y = tanh(x);
  if constexpr (code == OpCode::reluGrad) y = reluGrad(x, operand);
  if constexpr (code == OpCode::leakyReluGrad) y = leakyReluGrad(x, operand, attr);
  if constexpr (code == OpCode::eluGrad) y = eluGrad(x, operand, attr);
  if constexpr (code == OpCode::sigmoidGrad) y = sigmoidGrad(x, operand);
  if constexpr (code == OpCode::tanhGrad) y = tanhGrad(x, operand);
  return isolate(y);
}

// Calls visit with a constant of the code (`decltype(c)::value`), so that a loop over elements can be compiled per op.
// Returns false, without a call, for a code that is no epilogue.
template <OpCode code>
struct CodeConstant {
  static constexpr OpCode value = code;
};
template <class Visit>
GL_SIMD bool withEpilogueCode(OpCode code, Visit visit) {
  switch (code) {
#define GL_EPILOGUE(name)                \
  case OpCode::name:                     \
    visit(CodeConstant<OpCode::name>{}); \
    return true;
    GL_EPILOGUE(add)
    GL_EPILOGUE(mul)
    GL_EPILOGUE(relu)
    GL_EPILOGUE(leakyRelu)
    GL_EPILOGUE(elu)
    GL_EPILOGUE(sigmoid)
    GL_EPILOGUE(tanh)
    GL_EPILOGUE(reluGrad)
    GL_EPILOGUE(leakyReluGrad)
    GL_EPILOGUE(eluGrad)
    GL_EPILOGUE(sigmoidGrad)
    GL_EPILOGUE(tanhGrad)
#undef GL_EPILOGUE
    default:
      return false;
  }
}

// The same with the code known only while running.
GL_SIMD Vec activate(OpCode code, Vec x, Vec operand, float attr) {
  withEpilogueCode(code, [&](auto c) GL_LAMBDA { x = activate<decltype(c)::value>(x, operand, attr); });
  return x;
}

}  // namespace gradline::cpu::GL_ISA
