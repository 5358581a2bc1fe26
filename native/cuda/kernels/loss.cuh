// Softmax and cross entropy in one op, its gradient, one-hot rows, and the check for numbers that are not finite. A
// warp takes a row of logits; the loss comes from the logits, never from the logarithm of a rounded probability.
#pragma once
#include "fault.cuh"
#include "fold.cuh"
#include "kernels.h"

namespace gradline::cuda {

constexpr int kRowsPerBlock = kBlock / 32;

// logits [n, k], labels i32 [n] or targets [n, k] -> loss [n], p [n, k]
struct SoftmaxCrossEntropy {
  static constexpr int kThreads = kBlock;
  Global<const float> logits;
  Global<const int32_t> labels;  // one of the two is null
  Global<const float> targets;
  Global<float> loss, p;
  int n, k;
  Reporter report;

  GPU_DEVICE void run() const {
    if (report.isStopped()) return;
    const int row = block() * kRowsPerBlock + warp();
    if (row >= n) return;
    const int first = row * k;
    int label = -1;
    if (labels) {
      label = labels[row];
      if (label < 0 || label >= k) {
        if (lane() == 0) report(Fault::labelOutOfRange, row, label, k);
        return;
      }
    }
    float largest = -INFINITY;
    for (int c = lane(); c < k; c += 32) largest = maximumOf(largest, logits[first + c]);
    largest = foldWarp(largest, TakeLarger());
    float total = 0;
    for (int c = lane(); c < k; c += 32) total += expf(logits[first + c] - largest);
    total = foldWarp(total, AddUp());
    const float logTotal = logf(total);
    float sum = 0;
    for (int c = lane(); c < k; c += 32) {
      const float x = logits[first + c], shifted = x - largest;
      p[first + c] = expf(shifted) / total;
      if (labels) {
        if (c == label) sum = logTotal - shifted;
      } else {
        const float t = targets[first + c];
        if (t != 0) sum += t * (logTotal - shifted);  // a class of weight 0 adds nothing, even where p = 0
      }
    }
    sum = foldWarp(sum, AddUp());
    if (lane() == 0) loss[row] = sum;
  }
};

// dloss [n], p [n, k], labels i32 [n] or targets [n, k] -> dlogits [n, k] = dloss * (p * sum t - t)
struct SoftmaxCrossEntropyGrad {
  static constexpr int kThreads = kBlock;
  Global<const float> dloss, p;
  Global<const int32_t> labels;
  Global<const float> targets;
  Global<float> dlogits;
  int n, k;
  Reporter report;

  GPU_DEVICE void run() const {
    if (report.isStopped()) return;
    const int row = block() * kRowsPerBlock + warp();
    if (row >= n) return;
    const int first = row * k;
    const float share = dloss[row];
    if (labels) {
      const int label = labels[row];
      if (label < 0 || label >= k) {
        if (lane() == 0) report(Fault::labelOutOfRange, row, label, k);
        return;
      }
      for (int c = lane(); c < k; c += 32) dlogits[first + c] = share * (p[first + c] - (c == label ? 1.0f : 0.0f));
      return;
    }
    float weight = 0;
    for (int c = lane(); c < k; c += 32) weight += targets[first + c];
    weight = foldWarp(weight, AddUp());
    for (int c = lane(); c < k; c += 32) dlogits[first + c] = share * (p[first + c] * weight - targets[first + c]);
  }
};

// labels i32 [n] -> y [n, k]; the label `ignore` gives a row of zeros.
struct OneHot {
  static constexpr int kThreads = kBlock;
  Global<const int32_t> labels;
  Global<float> y;
  int size, k;
  double ignore;
  Reporter report;

  GPU_DEVICE void run() const {
    if (report.isStopped()) return;
    const int i = block() * kThreads + thread();
    if (i >= size) return;
    const int row = i / k, c = i - row * k, label = labels[row];
    const bool ignored = label == ignore;
    if (c == 0 && !ignored && (label < 0 || label >= k)) report(Fault::labelOutOfRange, row, label, k);
    y[i] = label == c && !ignored ? 1.0f : 0.0f;
  }
};

struct RequireFinite {
  static constexpr int kThreads = kBlock;
  Global<const float> x;
  Global<float> y;
  int n;
  Reporter report;

  GPU_DEVICE void run() const {
    if (report.isStopped()) return;
    const int i = block() * kThreads + thread();
    if (i >= n) return;
    const float value = x[i];
    if (!(fabsf(value) < INFINITY)) report(Fault::notFinite, i, value != value ? 0 : value > 0 ? 1 : -1, 0);
    y[i] = value;
  }
};

}  // namespace gradline::cuda
