// Softmax over the last axis and its derivative, a warp for each row. Rows are shifted by their largest element, so no
// exponential overflows; the loss that contains a softmax is in loss.cu.
#include "fold.cuh"
#include "kernels.h"

namespace gradline::cuda {
namespace {

constexpr int kBlock = 256;

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

}  // namespace

bool planSoftmax(const Op &op, Launches &launches) {
  if (!allF32(op)) return false;
  if (op.out[0].size == 0) return true;
  const int rows = static_cast<int>(op.in[0].rows()), c = static_cast<int>(op.in[0].channels());
  launch(launches, Softmax{global<const float>(op.in[0]), global<float>(op.out[0]), rows, c},
         {ceilDiv(rows, kBlock / 32)});
  return true;
}

bool planSoftmaxGrad(const Op &op, Launches &launches) {
  if (!allF32(op)) return false;
  if (op.out[0].size == 0) return true;
  const int rows = static_cast<int>(op.in[0].rows()), c = static_cast<int>(op.in[0].channels());
  launch(launches,
         SoftmaxGrad{global<const float>(op.in[0]), global<const float>(op.in[1]), global<float>(op.out[0]), rows, c},
         {ceilDiv(rows, kBlock / 32)});
  return true;
}

}  // namespace gradline::cuda
