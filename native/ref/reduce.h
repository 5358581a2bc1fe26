// Reductions: sum and max over a set of axes, argmax over the last. Elements are taken in storage order and accumulated
// in the number type of the tensor, so this is also the plainest order to compare against, not the most exact one.
#pragma once
#include <limits>

#include "elementwise.h"

namespace gradline::ref {

// x [...] -> y, same rank with length 1 on reduced axes: y[..] = f(y[..], x) for each x, from `start`. Which axes are
// reduced is read off the shapes: there y does not move.
template <class T, class F>
void reduceAxes(const Op &op, T start, F f) {
  const T *x = op.in[0].as<T>();
  T *y = op.out[0].as<T>();
  for (int64_t i = 0; i < op.out[0].size; i++) y[i] = start;
  const Strides operands[] = {broadcastStrides(op.out[0], op.in[0])};
  forEachElement(op.in[0], operands, [&](int64_t i, const int64_t *at) { y[at[0]] = f(y[at[0]], x[i]); });
}

template <class T>
void sum(const Op &op) {
  reduceAxes<T>(op, T(0), scalar::add<T>);
}

template <class T>
void max(const Op &op) {
  reduceAxes<T>(op, -std::numeric_limits<T>::infinity(), scalar::maximum<T>);
}

// x [..., c] -> y i32 [...]: the first largest; the first NaN counts as the largest.
template <class T>
void argmax(const Op &op) {
  const int64_t rows = op.in[0].rows(), channels = op.in[0].channels();
  int32_t *y = op.out[0].as<int32_t>();
  for (int64_t r = 0; r < rows; r++) {
    const T *x = op.in[0].as<T>() + r * channels;
    int64_t best = 0;
    for (int64_t c = 1; c < channels; c++)
      if (x[c] > x[best] || (x[c] != x[c] && x[best] == x[best])) best = c;
    y[r] = static_cast<int32_t>(best);
  }
}

}  // namespace gradline::ref
