// Pooling of NHWC images over windows, and the derivatives. A window is clipped to the image: padding holds no numbers,
// it only counts in the divisor of an average when countPadding asks for it.
#pragma once
#include <algorithm>
#include <limits>

#include "epilogue.h"

namespace gradline::ref {

// One window of one channel: rows [top, bottom) and columns [left, right) of x [n, h, w, c], all inside the image.
struct Window {
  int64_t y;      // offset of its element of y
  int64_t image;  // offset of pixel (0, 0) of this image and channel in x
  int64_t width, channels;
  int64_t top, bottom, left, right;

  int64_t x(int64_t row, int64_t column) const { return image + (row * width + column) * channels; }
  int64_t size() const { return (bottom - top) * (right - left); }
};

// x [n, h, w, c], y [n, oh, ow, c]: calls visit(window) for every element of y in storage order. The first six
// attributes stand in the same positions for the four ops.
template <class Visit>
void forEachWindow(const Op &op, const Tensor &x, const Tensor &y, Visit visit) {
  namespace a = attr::maxPool2d;
  const int64_t h = x.dims[1], w = x.dims[2], channels = x.dims[3];
  int64_t at = 0;
  for (int64_t b = 0; b < y.dims[0]; b++)
    for (int64_t oy = 0; oy < y.dims[1]; oy++)
      for (int64_t ox = 0; ox < y.dims[2]; ox++)
        for (int64_t c = 0; c < channels; c++) {
          const int64_t top = oy * op.iattr(a::strideH) - op.iattr(a::padTop);
          const int64_t left = ox * op.iattr(a::strideW) - op.iattr(a::padLeft);
          Window window;
          window.y = at++;
          window.image = b * h * w * channels + c;
          window.width = w;
          window.channels = channels;
          window.top = std::max<int64_t>(top, 0);
          window.left = std::max<int64_t>(left, 0);
          window.bottom = std::min(top + op.iattr(a::kernelH), h);
          window.right = std::min(left + op.iattr(a::kernelW), w);
          visit(window);
        }
}

// x [n, h, w, c] -> y [n, oh, ow, c]
template <class T>
void maxPool2d(const Op &op) {
  const T *x = op.in[0].as<T>();
  T *y = op.out[0].as<T>();
  forEachWindow(op, op.in[0], op.out[0], [=](const Window &window) {
    T largest = -std::numeric_limits<T>::infinity();
    for (int64_t row = window.top; row < window.bottom; row++)
      for (int64_t column = window.left; column < window.right; column++)
        largest = scalar::maximum(largest, x[window.x(row, column)]);
    y[window.y] = largest;
  });
}

// dy [n, oh, ow, c], x [n, h, w, c], y [n, oh, ow, c] -> dx [n, h, w, c]. Where y is NaN, the first NaN of the window
// receives dy.
template <class T>
void maxPool2dGrad(const Op &op) {
  const T *dy = op.in[0].as<T>(), *x = op.in[1].as<T>(), *y = op.in[2].as<T>();
  T *dx = op.out[0].as<T>();
  for (int64_t i = 0; i < op.out[0].size; i++) dx[i] = 0;
  forEachWindow(op, op.in[1], op.in[2], [=](const Window &window) {
    const T largest = y[window.y];
    for (int64_t row = window.top; row < window.bottom; row++)
      for (int64_t column = window.left; column < window.right; column++) {
        const T value = x[window.x(row, column)];
        if (value == largest || (value != value && largest != largest)) {
          dx[window.x(row, column)] += dy[window.y];
          return;
        }
      }
  });
  applyEpilogues<T>(op);
}

// What the sum of a window is divided by.
template <class T>
T averageDivisor(const Op &op, const Window &window) {
  namespace a = attr::avgPool2d;
  const int64_t whole = op.iattr(a::kernelH) * op.iattr(a::kernelW);
  return static_cast<T>(op.attr[a::countPadding] != 0 ? whole : window.size());
}

// x [n, h, w, c] -> y [n, oh, ow, c]
template <class T>
void avgPool2d(const Op &op) {
  const T *x = op.in[0].as<T>();
  T *y = op.out[0].as<T>();
  forEachWindow(op, op.in[0], op.out[0], [&](const Window &window) {
    T total = 0;
    for (int64_t row = window.top; row < window.bottom; row++)
      for (int64_t column = window.left; column < window.right; column++) total += x[window.x(row, column)];
    y[window.y] = total / averageDivisor<T>(op, window);
  });
}

// dy [n, oh, ow, c] -> dx [n, h, w, c]
template <class T>
void avgPool2dGrad(const Op &op) {
  const T *dy = op.in[0].as<T>();
  T *dx = op.out[0].as<T>();
  for (int64_t i = 0; i < op.out[0].size; i++) dx[i] = 0;
  forEachWindow(op, op.out[0], op.in[0], [&](const Window &window) {
    const T share = dy[window.y] / averageDivisor<T>(op, window);
    for (int64_t row = window.top; row < window.bottom; row++)
      for (int64_t column = window.left; column < window.right; column++) dx[window.x(row, column)] += share;
  });
  applyEpilogues<T>(op);
}

}  // namespace gradline::ref
