// Softmax over the last axis and its derivative, a warp for each row. Rows are shifted by their largest element, so no
// exponential overflows; the loss that contains a softmax is in loss.cuh.
#pragma once
#include "fold.cuh"
#include "kernels.h"

namespace gradline::cuda {

struct Softmax {
  static constexpr int kThreads = kBlock;
  Global<const float> x;
  Global<float> y;
  int rows, c;

  GPU_DEVICE void run() const {
    const int row = block() * (kThreads / 32) + warp(), first = row * c;
    if (row >= rows) return;
    float largest = -INFINITY;
    for (int i = lane(); i < c; i += 32) largest = maximumOf(largest, x[first + i]);
    largest = foldWarp(largest, TakeLarger());
    float total = 0;
    for (int i = lane(); i < c; i += 32) total += expf(x[first + i] - largest);
    total = foldWarp(total, AddUp());
    for (int i = lane(); i < c; i += 32) y[first + i] = expf(x[first + i] - largest) / total;
  }
};

struct SoftmaxGrad {
  static constexpr int kThreads = kBlock;
  Global<const float> dy, y;
  Global<float> dx;
  int rows, c;

  GPU_DEVICE void run() const {
    const int row = block() * (kThreads / 32) + warp(), first = row * c;
    if (row >= rows) return;
    float inner = 0;
    for (int i = lane(); i < c; i += 32) inner += dy[first + i] * y[first + i];
    inner = foldWarp(inner, AddUp());
    for (int i = lane(); i < c; i += 32) dx[first + i] = y[first + i] * (dy[first + i] - inner);
  }
};

}  // namespace gradline::cuda
