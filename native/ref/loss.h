// Softmax and cross entropy in one op, so that the loss comes from the logits and never from log of a rounded
// probability. One value per row: averaging over the batch is an op of its own.
#pragma once
#include <cmath>

#include "norm.h"

namespace gradline::ref {

// labels i32 [n] of k classes: true when all lie in [0, k), else reports the first that does not.
inline bool labelsInRange(const Op &op, const Tensor &labels, int64_t classes) {
  const int32_t *label = labels.as<int32_t>();
  for (int64_t r = 0; r < labels.size; r++)
    if (label[r] < 0 || label[r] >= classes) {
      report(op, Fault::labelOutOfRange, r, label[r], classes);
      return false;
    }
  return true;
}

// logits [n, k], labels i32 [n] or float [n, k] -> loss [n] = -sum t log p, p [n, k].
// -log p = log(sum e^(x - largest)) - (x - largest). A class of weight t = 0 adds nothing, even where p = 0.
template <class T>
void softmaxCrossEntropy(const Op &op) {
  const int64_t n = op.in[0].rows(), k = op.in[0].channels();
  const bool integerLabels = op.in[1].dtype == DType::i32;
  if (integerLabels && !labelsInRange(op, op.in[1], k)) return;
  for (int64_t r = 0; r < n; r++) {
    const T *x = op.in[0].as<T>() + r * k;
    const auto [largest, logTotal] = softmaxRow(x, op.out[1].as<T>() + r * k, k);
    T loss = 0;
    if (integerLabels) {
      loss = logTotal - (x[op.in[1].as<int32_t>()[r]] - largest);
    } else {
      const T *t = op.in[1].as<T>() + r * k;
      for (int64_t c = 0; c < k; c++)
        if (t[c] != 0) loss += t[c] * (logTotal - (x[c] - largest));
    }
    op.out[0].as<T>()[r] = loss;
  }
}

// dloss [n], p [n, k], labels i32 [n] or float [n, k] -> dlogits [n, k] = dloss * (p * sum t - t)
template <class T>
void softmaxCrossEntropyGrad(const Op &op) {
  const int64_t n = op.in[1].rows(), k = op.in[1].channels();
  const bool integerLabels = op.in[2].dtype == DType::i32;
  if (integerLabels && !labelsInRange(op, op.in[2], k)) return;
  for (int64_t r = 0; r < n; r++) {
    const T dloss = op.in[0].as<T>()[r];
    const T *p = op.in[1].as<T>() + r * k;
    T *dx = op.out[0].as<T>() + r * k;
    if (integerLabels) {
      const int64_t label = op.in[2].as<int32_t>()[r];
      for (int64_t c = 0; c < k; c++) dx[c] = dloss * (p[c] - (c == label ? T(1) : T(0)));
    } else {
      const T *t = op.in[2].as<T>() + r * k;
      T weight = 0;
      for (int64_t c = 0; c < k; c++) weight += t[c];
      for (int64_t c = 0; c < k; c++) dx[c] = dloss * (p[c] * weight - t[c]);
    }
  }
}

// x -> y = x, reporting the first element that is NaN or infinite
template <class T>
void requireFinite(const Op &op) {
  for (int64_t i = 0; i < op.in[0].size; i++) {
    const T x = op.in[0].as<T>()[i];
    if (!std::isfinite(x)) return report(op, Fault::notFinite, i, std::isnan(x) ? 0 : x > 0 ? 1 : -1, 0);
    op.out[0].as<T>()[i] = x;
  }
}

}  // namespace gradline::ref
