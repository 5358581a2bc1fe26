// Softmax of rows of k elements, shared by norm.cc and loss.cc.
#pragma once
#include "../simd.h"
#include "kernels.h"

namespace gradline::cpu::GL_ISA {

// Of one row x: the largest element, and the sum of e^(x - largest). A NaN in the row makes the sum NaN, and with it
// all of y; whether it also shows as the largest does not matter.
struct RowStatistics {
  float largest, total;
};

// x [k] -> y [k] = e^(x - largest) / total
GL_SIMD RowStatistics softmaxRow(const float *x, float *y, int64_t k) {
  const Vec lowest = set1(-__builtin_inff()), zero = set1(0.0f);
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

// Lane l: that of `even` or, where bit d of l is set, of `odd`; lane l ^ flip of them.
template <int d, int flip>
GL_SIMD Vec mixLanes(Vec even, Vec odd) {
  return shuffle<[](int i) { return (i ^ flip) + ((i & d) != 0 ? kLanes : 0); }>(even, odd);
}

// Lane r of v[0] becomes f over the lanes of v[r], all rows at once: about three instructions for each.
template <int d = kLanes / 2, class F>
GL_SIMD void foldRows(Vec *v, F f) {
#pragma GCC unroll 8
  for (int i = 0; i < d; i++) v[i] = f(mixLanes<d, 0>(v[i], v[i + d]), mixLanes<d, d>(v[i], v[i + d]));
  if constexpr (d > 1) foldRows<d / 2>(v, f);
}

// x [count, k] -> y [count, k] for up to kLanes rows that each fit one vector, with the statistics of each. Where rows
// are missing the last one stands for them: no branch, and the same bits again.
GL_SIMD void softmaxNarrow(const float *x, float *y, int64_t count, int64_t k, float *largest, float *totals) {
  const IVec inside = laneIndex() < static_cast<int32_t>(k);
  const Vec lowest = set1(-__builtin_inff()), zero = set1(0.0f);
  Vec rows[kLanes], fold[kLanes];
  float inverse[kLanes];
#pragma GCC unroll 16
  for (int r = 0; r < kLanes; r++) fold[r] = rows[r] = select(inside, load(x + smaller(r, count - 1) * k, k), lowest);
  foldRows(fold, [](Vec a, Vec b) GL_LAMBDA { return maxOf(a, b); });
  store(largest, fold[0]);
#pragma GCC unroll 16
  for (int r = 0; r < kLanes; r++) fold[r] = rows[r] = select(inside, exp(rows[r] - set1(largest[r])), zero);
  foldRows(fold, [](Vec a, Vec b) GL_LAMBDA { return a + b; });
  store(totals, fold[0]);
  store(inverse, 1.0f / fold[0]);
#pragma GCC unroll 16
  for (int r = 0; r < kLanes; r++) store(y + smaller(r, count - 1) * k, rows[r] * set1(inverse[r]), k);
}

// x [rows, k] -> y [rows, k], and visit(first row, rows, largest, totals) for groups of up to kLanes rows.
template <class Visit>
GL_SIMD void softmaxRows(const float *x, float *y, int64_t rows, int64_t k, Visit visit) {
  float largest[kLanes], totals[kLanes];
  for (int r = 0; r < kLanes; r++) totals[r] = 1;
  for (int64_t first = 0; first < rows; first += kLanes, x += kLanes * k, y += kLanes * k) {
    const int64_t count = smaller(kLanes, rows - first);
    if (k <= kLanes) {
      softmaxNarrow(x, y, count, k, largest, totals);
    } else {
      for (int64_t r = 0; r < count; r++) {
        const RowStatistics row = softmaxRow(x + r * k, y + r * k, k);
        largest[r] = row.largest;
        totals[r] = row.total;
      }
    }
    visit(first, count, largest, totals);
  }
}

}  // namespace gradline::cpu::GL_ISA
