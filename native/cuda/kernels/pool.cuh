// Pooling of NHWC images and its derivatives with epilogues, a thread for each element written. The derivatives look
// from an element of x at the windows that hold it, in the order of y: nothing collides and sums run in a fixed order.
#pragma once
#include "fold.cuh"
#include "kernels.h"

namespace gradline::cuda {

// Sizes of x [n, h, w, c] and y [n, oh, ow, c], and the windows that lead from one to the other.
struct Windows {
  int h, w, channels, oh, ow;
  int kernelH, kernelW, strideH, strideW, padTop, padLeft;

  GPU_DEVICE int top(int oy) const { return oy * strideH - padTop; }
  GPU_DEVICE int left(int ox) const { return ox * strideW - padLeft; }
  // The first window along an axis that holds element i, and one beyond the last.
  GPU_DEVICE static int firstOver(int i, int kernel, int stride, int pad) {
    const int from = i + pad - kernel + 1;
    return from <= 0 ? 0 : (from + stride - 1) / stride;
  }
  GPU_DEVICE static int endOver(int i, int stride, int pad, int count) {
    const int last = (i + pad) / stride + 1;
    return last < count ? last : count;
  }
};

// Element i of [n, rows, columns, channels].
struct Pixel {
  int image, row, column, channel;
  GPU_DEVICE Pixel(int i, int rows, int columns, int channels) {
    channel = i % channels;
    column = i / channels % columns;
    row = i / channels / columns % rows;
    image = i / channels / columns / rows;
  }
};

struct MaxPool2d {
  static constexpr int kThreads = kBlock;
  Global<const float> x;
  Global<float> y;
  int n;
  Windows windows;

  GPU_DEVICE void run() const {
    const int i = block() * kThreads + thread();
    if (i >= n) return;
    const Windows &s = windows;
    const Pixel at(i, s.oh, s.ow, s.channels);
    const int top = s.top(at.row), left = s.left(at.column);
    float largest = -INFINITY;
    for (int row = top > 0 ? top : 0; row < smaller(top + s.kernelH, s.h); row++)
      for (int column = left > 0 ? left : 0; column < smaller(left + s.kernelW, s.w); column++)
        largest = maximumOf(largest, x[((at.image * s.h + row) * s.w + column) * s.channels + at.channel]);
    y[i] = largest;
  }
};

// dx of an element: dy of every window whose first largest it is.
struct MaxPool2dGrad {
  static constexpr int kThreads = kBlock;
  Global<const float> dy, x, y;
  Global<float> dx;
  int n;
  Windows windows;
  Epilogues epilogues;

  GPU_DEVICE static bool wins(float value, float largest) {
    return value == largest || (value != value && largest != largest);
  }
  // No element of the window before (atRow, atColumn), row by row, wins.
  GPU_DEVICE bool isFirst(const Pixel &at, int top, int left, float largest) const {
    const Windows &s = windows;
    for (int row = top > 0 ? top : 0; row <= at.row; row++) {
      const int end = row == at.row ? at.column : static_cast<int>(smaller(left + s.kernelW, s.w));
      for (int column = left > 0 ? left : 0; column < end; column++)
        if (wins(x[((at.image * s.h + row) * s.w + column) * s.channels + at.channel], largest)) return false;
    }
    return true;
  }
  GPU_DEVICE void run() const {
    const int i = block() * kThreads + thread();
    if (i >= n) return;
    const Windows &s = windows;
    const Pixel at(i, s.h, s.w, s.channels);
    const float value = x[i];
    float total = 0;
    for (int oy = Windows::firstOver(at.row, s.kernelH, s.strideH, s.padTop);
         oy < Windows::endOver(at.row, s.strideH, s.padTop, s.oh); oy++)
      for (int ox = Windows::firstOver(at.column, s.kernelW, s.strideW, s.padLeft);
           ox < Windows::endOver(at.column, s.strideW, s.padLeft, s.ow); ox++) {
        const int window = ((at.image * s.oh + oy) * s.ow + ox) * s.channels + at.channel;
        const float largest = y[window];
        if (wins(value, largest) && isFirst(at, s.top(oy), s.left(ox), largest)) total += dy[window];
      }
    dx[i] = applyEpilogues(epilogues, total, i, at.channel, s.channels);
  }
};

// What the sum of the window that begins at (top, left) is divided by.
GPU_DEVICE float divisorOf(const Windows &s, int top, int left, bool countPadding) {
  if (countPadding) return static_cast<float>(s.kernelH * s.kernelW);
  const int rows = static_cast<int>(smaller(top + s.kernelH, s.h)) - (top > 0 ? top : 0);
  const int columns = static_cast<int>(smaller(left + s.kernelW, s.w)) - (left > 0 ? left : 0);
  return static_cast<float>(rows * columns);
}

struct AvgPool2d {
  static constexpr int kThreads = kBlock;
  Global<const float> x;
  Global<float> y;
  int n;
  bool countPadding;
  Windows windows;

  GPU_DEVICE void run() const {
    const int i = block() * kThreads + thread();
    if (i >= n) return;
    const Windows &s = windows;
    const Pixel at(i, s.oh, s.ow, s.channels);
    const int top = s.top(at.row), left = s.left(at.column);
    float total = 0;
    for (int row = top > 0 ? top : 0; row < smaller(top + s.kernelH, s.h); row++)
      for (int column = left > 0 ? left : 0; column < smaller(left + s.kernelW, s.w); column++)
        total += x[((at.image * s.h + row) * s.w + column) * s.channels + at.channel];
    y[i] = total / divisorOf(s, top, left, countPadding);
  }
};

struct AvgPool2dGrad {
  static constexpr int kThreads = kBlock;
  Global<const float> dy;
  Global<float> dx;
  int n;
  bool countPadding;
  Windows windows;
  Epilogues epilogues;

  GPU_DEVICE void run() const {
    const int i = block() * kThreads + thread();
    if (i >= n) return;
    const Windows &s = windows;
    const Pixel at(i, s.h, s.w, s.channels);
    float total = 0;
    for (int oy = Windows::firstOver(at.row, s.kernelH, s.strideH, s.padTop);
         oy < Windows::endOver(at.row, s.strideH, s.padTop, s.oh); oy++)
      for (int ox = Windows::firstOver(at.column, s.kernelW, s.strideW, s.padLeft);
           ox < Windows::endOver(at.column, s.strideW, s.padLeft, s.ow); ox++) {
        const float share = dy[((at.image * s.oh + oy) * s.ow + ox) * s.channels + at.channel];
        total += share / divisorOf(s, s.top(oy), s.left(ox), countPadding);
      }
    dx[i] = applyEpilogues(epilogues, total, i, at.channel, s.channels);
  }
};

}  // namespace gradline::cuda
