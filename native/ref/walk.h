// How the oracle walks tensors: row-major strides, NumPy broadcasting (shapes aligned from the right, length 1 repeats)
// and dispatch on a dtype. Helpers of the kernels beside it only; no op is defined here.
#pragma once
#include <type_traits>

#include "../abi.h"

namespace gradline::ref {

// Elements to skip per unit of each axis of the tensor being walked; 0 repeats.
struct Strides {
  int64_t axis[kMaxRank] = {};
};

// Row-major strides of a tensor along its own axes.
inline Strides stridesOf(const Tensor &tensor) {
  Strides strides;
  int64_t step = 1;
  for (int axis = tensor.rank - 1; axis >= 0; axis--) {
    strides.axis[axis] = step;
    step *= tensor.dims[axis];
  }
  return strides;
}

// Strides of `operand` along the axes of `shape`, to whose shape it broadcasts.
inline Strides broadcastStrides(const Tensor &operand, const Tensor &shape) {
  const Strides own = stridesOf(operand);
  const int missing = shape.rank - operand.rank;
  Strides strides;
  for (int axis = 0; axis < operand.rank; axis++)
    strides.axis[missing + axis] = operand.dims[axis] == 1 ? 0 : own.axis[axis];
  return strides;
}

// Calls visit(i, offset) for every element of `shape` in storage order: i counts them, offset[k] is the place of the
// element that belongs to it in the tensor with the strides `operands[k]`.
template <int N, class Visit>
void forEachElement(const Tensor &shape, const Strides (&operands)[N], Visit visit) {
  int64_t index[kMaxRank] = {}, offset[N] = {};
  for (int64_t i = 0; i < shape.size; i++) {
    visit(i, offset);
    // Count the index up as an odometer: an axis that runs over goes back to 0 and carries into the one before it.
    for (int axis = shape.rank - 1; axis >= 0; axis--) {
      index[axis]++;
      for (int k = 0; k < N; k++) offset[k] += operands[k].axis[axis];
      if (index[axis] < shape.dims[axis]) break;
      for (int k = 0; k < N; k++) offset[k] -= index[axis] * operands[k].axis[axis];
      index[axis] = 0;
    }
  }
}

// Calls visit with a zero of the C++ type that holds elements of this dtype.
template <class Visit>
void withDType(DType dtype, Visit visit) {
  switch (dtype) {
    case DType::f32:
      return visit(float{});
    case DType::f64:
      return visit(double{});
    case DType::i32:
      return visit(int32_t{});
    case DType::u8:
      return visit(uint8_t{});
  }
}

}  // namespace gradline::ref
