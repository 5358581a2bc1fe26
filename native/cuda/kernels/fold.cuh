// Sums and the like over the threads of a warp or a block, always in the same tree, so that bits do not depend on
// timing. Which numbers a thread brings is up to the kernel.
#pragma once
#include "scalar.cuh"

namespace gradline::cuda {

struct AddUp {
  template <class T>
  GPU_DEVICE T operator()(T a, T b) const {
    return a + b;
  }
  GPU_DEVICE float start() const { return 0.0f; }
};
struct TakeLarger {
  GPU_DEVICE float operator()(float a, float b) const { return maximumOf(a, b); }
  GPU_DEVICE float start() const { return -INFINITY; }
};

// Every lane gets the result.
template <class T, class F>
GPU_DEVICE T foldWarp(T value, F f) {
  GPU_UNROLL
  for (int mask = 16; mask > 0; mask /= 2) value = f(value, shuffleXor(value, mask));
  return value;
}

// Every thread gets the result. May be called again and again.
template <int kThreads, class T, class F>
GPU_DEVICE T foldBlock(T value, F f) {
  GPU_SHARED(T, ofWarp, kThreads / 32);
  value = foldWarp(value, f);
  barrier();  // the fold before may still be read
  if (lane() == 0) ofWarp[warp()] = value;
  barrier();
  T all = ofWarp[0];
  for (int w = 1; w < kThreads / 32; w++) {
    const T next = ofWarp[w];
    all = f(all, next);
  }
  return all;
}

// Threads stand as [rows, width], width a power of two: each thread of row 0 gets the fold of its column.
template <int kThreads, class T, class F>
GPU_DEVICE T foldColumn(T value, int width, F f) {
  GPU_SHARED(T, cell, kThreads);
  barrier();
  cell[thread()] = value;
  barrier();
  for (int half = kThreads / 2; half >= width; half /= 2) {
    if (thread() < half) {
      const T other = cell[thread() + half];
      value = f(value, other);
      cell[thread()] = value;
    }
    barrier();
  }
  return value;
}

// Columns of a block that walks columns: a power of two, so that narrow tensors keep all threads busy.
inline int columnsPerBlock(int64_t columns) {
  int width = 1;
  while (width < 32 && width < columns) width *= 2;
  return width;
}

}  // namespace gradline::cuda
