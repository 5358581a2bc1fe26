// Walking tensors of up to six axes: operands that broadcast or are strided over an output, with neighbouring axes
// joined where all operands allow it. Shared by elementwise, move and reduce; it computes places, not values.
#pragma once
#include "../gpu.h"
#include "kernels.h"

namespace gradline::cuda {

constexpr int kMaxWalked = 3;  // operands

// `step[k][axis]`: elements that operand k moves by per unit of the axis; 0 repeats. The last axis is the fastest.
struct Axes {
  int rank;
  int length[kMaxRank];
  int step[kMaxWalked][kMaxRank];
};

// Strides of `operand` along the axes of `shape`, shapes aligned from the right; 0 where the operand repeats.
inline void broadcastSteps(const Tensor &operand, const Tensor &shape, int (&steps)[kMaxRank]) {
  int64_t stride = 1;
  for (int axis = shape.rank - 1; axis >= 0; axis--) {
    const int own = axis - (shape.rank - operand.rank);
    const int64_t length = own < 0 ? 1 : operand.dims[own];
    steps[axis] = length == 1 ? 0 : static_cast<int>(stride);
    stride *= length;
  }
}

// Drops axes of length 1 and joins an axis with the next one where every operand walks both as one. At least one axis
// is left.
inline Axes joined(const Tensor &shape, const int (&steps)[kMaxWalked][kMaxRank], int operands) {
  Axes axes = {};
  for (int axis = 0; axis < shape.rank; axis++) {
    const int length = static_cast<int>(shape.dims[axis]);
    if (length == 1) continue;
    const int last = axes.rank - 1;
    bool join = axes.rank > 0;
    for (int k = 0; k < operands && join; k++) join = axes.step[k][last] == steps[k][axis] * length;
    if (join) {
      axes.length[last] *= length;
      for (int k = 0; k < operands; k++) axes.step[k][last] = steps[k][axis];
      continue;
    }
    axes.length[axes.rank] = length;
    for (int k = 0; k < operands; k++) axes.step[k][axes.rank] = steps[k][axis];
    axes.rank++;
  }
  if (axes.rank == 0) {
    axes.rank = 1;
    axes.length[0] = 1;
  }
  return axes;
}

// Places in the operands of element i of the output.
template <int operands>
GPU_DEVICE void placesOf(const Axes &axes, int i, int (&places)[operands]) {
  GPU_UNROLL
  for (int k = 0; k < operands; k++) places[k] = 0;
  for (int axis = axes.rank - 1; axis >= 0; axis--) {
    const int next = static_cast<int>(static_cast<uint32_t>(i) / static_cast<uint32_t>(axes.length[axis]));
    const int index = i - next * axes.length[axis];
    GPU_UNROLL
    for (int k = 0; k < operands; k++) places[k] += index * axes.step[k][axis];
    i = next;
  }
}

}  // namespace gradline::cuda
