// Softmax of one row of k elements, shared by norm.cc and loss.cc.
#pragma once
#include "../simd.h"

namespace gradline::cpu::GL_ISA {

// Of one row x: the largest element, and the sum of e^(x - largest). A NaN in the row makes the sum NaN, and with it
// all of y; whether it also shows as the largest does not matter.
struct RowStatistics {
  float largest, total;
};

// x [k] -> y [k] = e^(x - largest) / total. A row that fits one vector stays in registers.
GL_SIMD RowStatistics softmaxRow(const float *x, float *y, int64_t k) {
  const Vec lowest = set1(-__builtin_inff()), zero = set1(0.0f);
  if (k <= kLanes) {
    const IVec inside = laneIndex() < static_cast<int32_t>(k);
    const Vec v = select(inside, load(x, k), lowest);
    const float largest = maxLanes(v);
    const Vec e = select(inside, exp(v - set1(largest)), zero);
    const float total = sumLanes(e);
    store(y, e / set1(total), k);
    return {largest, total};
  }
  Vec top = lowest;
  eachVec(k, [&](int64_t i, int64_t count) GL_LAMBDA {
    top = maxOf(top, select(laneIndex() < static_cast<int32_t>(count), load(x + i, count), lowest));
  });
  const float largest = maxLanes(top);
  Vec sums = zero;
  eachVec(k, [&](int64_t i, int64_t count) GL_LAMBDA {
    const Vec e = exp(load(x + i, count) - set1(largest));
    store(y + i, e, count);
    sums += select(laneIndex() < static_cast<int32_t>(count), e, zero);
  });
  const float total = sumLanes(sums);
  eachVec(k, [&](int64_t i, int64_t count) GL_LAMBDA { store(y + i, load(y + i, count) / set1(total), count); });
  return {largest, total};
}

}  // namespace gradline::cpu::GL_ISA
