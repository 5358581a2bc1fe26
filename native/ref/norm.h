// Batch normalisation (Ioffe, Szegedy 2015) over rows of [r, c] and softmax over the last axis, with derivatives.
// Running statistics are not kept here: they are state that the program updates from mean and variance by other ops.
#pragma once
#include <cmath>
#include <limits>

#include "epilogue.h"

namespace gradline::ref {

// x [..., c], gamma [c], beta [c] -> y [..., c], mean [c], variance [c] (biased: divisor r).
// Two passes, mean first: the sum of squares minus the square of the sum loses every digit when |mean| >> deviation.
template <class T>
void batchNorm(const Op &op) {
  const int64_t rows = op.in[0].rows(), channels = op.in[0].channels();
  const T eps = static_cast<T>(op.attr[attr::batchNorm::eps]);
  const T *x = op.in[0].as<T>(), *gamma = op.in[1].as<T>(), *beta = op.in[2].as<T>();
  T *y = op.out[0].as<T>(), *mean = op.out[1].as<T>(), *variance = op.out[2].as<T>();
  for (int64_t c = 0; c < channels; c++) {
    T total = 0;
    for (int64_t r = 0; r < rows; r++) total += x[r * channels + c];
    mean[c] = total / static_cast<T>(rows);
    T squares = 0;
    for (int64_t r = 0; r < rows; r++) {
      const T deviation = x[r * channels + c] - mean[c];
      squares += deviation * deviation;
    }
    variance[c] = squares / static_cast<T>(rows);
    const T inverse = T(1) / std::sqrt(variance[c] + eps);
    for (int64_t r = 0; r < rows; r++)
      y[r * channels + c] = gamma[c] * ((x[r * channels + c] - mean[c]) * inverse) + beta[c];
  }
  applyEpilogues<T>(op);
}

// dy [..., c], x [..., c], gamma [c], mean [c], variance [c], beta [c] or none -> dx [..., c], dgamma [c], dbeta [c].
// With beta, relu (slope 0) or leakyRelu followed the norm, and dy is that of its result: it is first taken through the
// activation's derivative, whose sign is that of the norm, computed anew from x. dx may lie on dy or x.
// With z = (x - mean) / sqrt(variance + eps), and mean and variance functions of x:
// dx = gamma / sqrt(variance + eps) * (dy - average(dy) - z * average(dy * z)).
template <class T>
void batchNormGrad(const Op &op) {
  const int64_t rows = op.in[0].rows(), channels = op.in[0].channels();
  const T eps = static_cast<T>(op.attr[attr::batchNormGrad::eps]);
  const T *dy = op.in[0].as<T>(), *x = op.in[1].as<T>(), *gamma = op.in[2].as<T>();
  const T *mean = op.in[3].as<T>(), *variance = op.in[4].as<T>();
  const T *beta = op.inputs == 6 ? op.in[5].as<T>() : nullptr;
  const T slope = static_cast<T>(op.attr[attr::batchNormGrad::slope]);
  T *dx = op.out[0].as<T>(), *dgamma = op.out[1].as<T>(), *dbeta = op.out[2].as<T>();
  for (int64_t c = 0; c < channels; c++) {
    const T inverse = T(1) / std::sqrt(variance[c] + eps);
    const auto through = [&](int64_t i, T z) {
      if (!beta) return dy[i];
      const T y = gamma[c] * z + beta[c];
      return slope == 0 ? scalar::reluGrad(dy[i], y) : scalar::leakyReluGrad(dy[i], y, slope);
    };
    T sumDy = 0, sumDyZ = 0;
    for (int64_t r = 0; r < rows; r++) {
      const int64_t i = r * channels + c;
      const T z = (x[i] - mean[c]) * inverse, g = through(i, z);
      sumDy += g;
      sumDyZ += g * z;
    }
    const T averageDy = sumDy / static_cast<T>(rows), averageDyZ = sumDyZ / static_cast<T>(rows);
    for (int64_t r = 0; r < rows; r++) {
      const int64_t i = r * channels + c;
      const T z = (x[i] - mean[c]) * inverse;
      dx[i] = gamma[c] * inverse * (through(i, z) - averageDy - z * averageDyZ);
    }
    dgamma[c] = sumDyZ;
    dbeta[c] = sumDy;
  }
}

// x [..., c], gamma [c], beta [c], mean [c], variance [c] -> y [..., c]
template <class T>
void batchNormInference(const Op &op) {
  const int64_t rows = op.in[0].rows(), channels = op.in[0].channels();
  const T eps = static_cast<T>(op.attr[attr::batchNormInference::eps]);
  const T *x = op.in[0].as<T>(), *gamma = op.in[1].as<T>(), *beta = op.in[2].as<T>();
  const T *mean = op.in[3].as<T>(), *variance = op.in[4].as<T>();
  T *y = op.out[0].as<T>();
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < channels; c++) {
      const int64_t i = r * channels + c;
      y[i] = gamma[c] * (x[i] - mean[c]) / std::sqrt(variance[c] + eps) + beta[c];
    }
  applyEpilogues<T>(op);
}

// Of one row x: the largest element, and log(sum e^(x - largest)).
template <class T>
struct RowStatistics {
  T largest, logTotal;
};

// x [k] -> y [k] = e^(x - largest) / sum. Shifted by the largest, no exponential can overflow and the sum is at
// least 1.
template <class T>
RowStatistics<T> softmaxRow(const T *x, T *y, int64_t k) {
  T largest = -std::numeric_limits<T>::infinity();
  for (int64_t i = 0; i < k; i++) largest = scalar::maximum(largest, x[i]);
  T total = 0;
  for (int64_t i = 0; i < k; i++) {
    y[i] = std::exp(x[i] - largest);
    total += y[i];
  }
  for (int64_t i = 0; i < k; i++) y[i] /= total;
  return {largest, std::log(total)};
}

// x [..., c] -> y [..., c]
template <class T>
void softmax(const Op &op) {
  const int64_t rows = op.in[0].rows(), channels = op.in[0].channels();
  for (int64_t r = 0; r < rows; r++)
    softmaxRow(op.in[0].as<T>() + r * channels, op.out[0].as<T>() + r * channels, channels);
}

// dy [..., c], y [..., c] -> dx [..., c] = y * (dy - sum(dy * y))
template <class T>
void softmaxGrad(const Op &op) {
  const int64_t rows = op.in[0].rows(), channels = op.in[0].channels();
  for (int64_t r = 0; r < rows; r++) {
    const T *dy = op.in[0].as<T>() + r * channels, *y = op.in[1].as<T>() + r * channels;
    T *dx = op.out[0].as<T>() + r * channels;
    T inner = 0;
    for (int64_t c = 0; c < channels; c++) inner += dy[c] * y[c];
    for (int64_t c = 0; c < channels; c++) dx[c] = y[c] * (dy[c] - inner);
  }
}

}  // namespace gradline::ref
