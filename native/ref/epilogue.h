// Epilogues: elementwise ops applied to the result of another op (a matrix product, ...), in order, in place.
// Only here to run them: each means exactly its function in elementwise.h.
#pragma once
#include "elementwise.h"

namespace gradline::ref {

// One element through one epilogue; b is the element of the second operand, where the op has one.
template <class T>
T applyEpilogue(const Epilogue &epilogue, T x, T b) {
  const T attr = static_cast<T>(epilogue.attr);
  switch (epilogue.code) {
    case OpCode::relu:
      return scalar::relu(x);
    case OpCode::leakyRelu:
      return scalar::leakyRelu(x, attr);
    case OpCode::elu:
      return scalar::elu(x, attr);
    case OpCode::sigmoid:
      return scalar::sigmoid(x);
    case OpCode::tanh:
      return scalar::tanh(x);
    case OpCode::reluGrad:
      return scalar::reluGrad(x, b);
    case OpCode::leakyReluGrad:
      return scalar::leakyReluGrad(x, b, attr);
    case OpCode::eluGrad:
      return scalar::eluGrad(x, b, attr);
    case OpCode::sigmoidGrad:
      return scalar::sigmoidGrad(x, b);
    case OpCode::tanhGrad:
      return scalar::tanhGrad(x, b);
    case OpCode::add:
      return scalar::add(x, b);
    case OpCode::mul:
      return scalar::mul(x, b);
    default:
      return x;  // a loaded program holds no other: the verifier asks for kEpilogue
  }
}

// out[0] [..., c] through all epilogues. An operand is a row [c] or has the size of out[0]; either way it repeats along
// the elements of out[0].
template <class T>
void applyEpilogues(const Op &op) {
  T *y = op.out[0].as<T>();
  for (int e = 0; e < op.epilogues; e++) {
    const Epilogue &epilogue = op.epilogue[e];
    const T *operand = epilogue.hasOperand ? epilogue.operand.as<T>() : nullptr;
    for (int64_t i = 0; i < op.out[0].size; i++)
      y[i] = applyEpilogue(epilogue, y[i], operand ? operand[i % epilogue.operand.size] : T(0));
  }
}

}  // namespace gradline::ref
