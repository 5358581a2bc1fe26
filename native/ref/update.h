// The optimizer step: data cursor, gradient norm and clipping, and the update rules, each over a whole parameter
// region. Numbers that differ between steps stand in StepState, numbers that differ between parameters in the segment
// table. Coefficients are computed in double and rounded to T once; weights and moments are T.
#pragma once
#include <algorithm>
#include <cmath>

#include "walk.h"

namespace gradline::ref {

// step -> step: see StepState in abi.h.
template <class T>
void advance(const Op &op) {
  StepState &step = *op.out[0].as<StepState>();
  const uint64_t batch = static_cast<uint64_t>(op.attr[attr::advance::batch]);
  const uint64_t samples = static_cast<uint64_t>(op.attr[attr::advance::samples]);
  step.step++;
  if (samples == 0) return;
  if (step.cursor >= samples) {
    step.epoch++;
    step.cursor = 0;
  }
  step.first = step.cursor;
  step.cursor += batch;
}

// Elements per partial sum of squares: fixed, so that a backend that sums chunks on several threads adds the same
// numbers in the same order.
constexpr int64_t kNormChunk = 4096;

// g [...] -> sum of squares in double: each chunk by itself, then the chunks in order.
template <class T>
double sumOfSquares(const Tensor &g) {
  double total = 0;
  for (int64_t begin = 0; begin < g.size; begin += kNormChunk) {
    const int64_t end = std::min(begin + kNormChunk, g.size);
    double chunk = 0;
    for (int64_t i = begin; i < end; i++) {
      const double value = static_cast<double>(g.as<T>()[i]);
      chunk += value * value;
    }
    total += chunk;
  }
  return total;
}

// step, gradients [...] ... -> step: see StepState in abi.h. maxNorm 0 leaves the gradients as they are.
template <class T>
void prepareUpdate(const Op &op) {
  StepState &step = *op.out[0].as<StepState>();
  const double maxNorm = op.attr[attr::prepareUpdate::maxNorm];
  double squares = 0;
  for (int j = 1; j < op.inputs; j++) squares += sumOfSquares<T>(op.in[j]);
  step.gradNorm = std::sqrt(squares);
  step.skip = std::isfinite(step.gradNorm) ? 0 : 1;
  step.clipScale = maxNorm > 0 && step.gradNorm > maxNorm && !step.skip ? maxNorm / step.gradNorm : 1;
  if (step.skip)
    step.skipped++;
  else
    step.updates++;
}

// theta [p], g [p]: calls rule(i, rate, gradient of i) for every element that a segment covers, with the segment's
// learning rate and the clipped gradient, after decoupled decay has shrunk theta[i]. Changes nothing when skip is set.
template <class T, class Rule>
void updateSegments(const Op &op, const Tensor &gradient, const StepState &step, double clipValue, Rule rule) {
  if (step.skip) return;
  const T scale = static_cast<T>(step.clipScale), limit = static_cast<T>(clipValue);
  const T *g = gradient.as<T>();
  T *theta = op.out[0].as<T>();
  for (int s = 0; s < op.segmentCount; s++) {
    const SegmentRecord &segment = op.segments[s];
    const double rate = step.rate * step.rateFactor * segment.rate;
    const T shrink = static_cast<T>(rate * segment.decay);
    for (int64_t i = segment.offset; i < segment.offset + segment.count; i++) {
      const T scaled = g[i] * scale;
      theta[i] -= shrink * theta[i];
      rule(i, static_cast<T>(rate), limit > 0 ? std::clamp(scaled, -limit, limit) : scaled);
    }
  }
}

// theta [p], g [p], step -> theta: theta -= rate * g
template <class T>
void sgdUpdate(const Op &op) {
  T *theta = op.out[0].as<T>();
  const StepState &step = *op.in[2].as<StepState>();
  updateSegments<T>(op, op.in[1], step, op.attr[attr::sgdUpdate::clipValue],
                    [=](int64_t i, T rate, T g) { theta[i] -= rate * g; });
}

// theta [p], v [p], g [p], step -> theta, v.
//   rate inside:   v = beta v - rate g;  theta += v           (nesterov: theta += beta v - rate g)
//   rateOutside:   v = beta v + g;       theta -= rate v      (nesterov: theta -= rate (g + beta v))
// The two differ only when the rate changes between steps. Nesterov form after Sutskever et al. 2013.
template <class T>
void momentumUpdate(const Op &op) {
  namespace a = attr::momentumUpdate;
  const T beta = static_cast<T>(op.attr[a::beta]);
  const bool nesterov = op.attr[a::nesterov] != 0, rateOutside = op.attr[a::rateOutside] != 0;
  T *theta = op.out[0].as<T>(), *v = op.out[1].as<T>();
  const StepState &step = *op.in[3].as<StepState>();
  updateSegments<T>(op, op.in[2], step, op.attr[a::clipValue], [=](int64_t i, T rate, T g) {
    if (rateOutside) {
      v[i] = beta * v[i] + g;
      theta[i] -= rate * (nesterov ? g + beta * v[i] : v[i]);
    } else {
      v[i] = beta * v[i] - rate * g;
      theta[i] += nesterov ? beta * v[i] - rate * g : v[i];
    }
  });
}

// theta [p], m [p], v [p], g [p], step -> theta, m, v (Kingma, Ba 2015): with t = updates,
//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   theta -= rate * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
template <class T>
void adamUpdate(const Op &op) {
  namespace a = attr::adamUpdate;
  const double beta1 = op.attr[a::beta1], beta2 = op.attr[a::beta2];
  const T keep1 = static_cast<T>(beta1), take1 = static_cast<T>(1 - beta1);
  const T keep2 = static_cast<T>(beta2), take2 = static_cast<T>(1 - beta2);
  const T eps = static_cast<T>(op.attr[a::eps]);
  const StepState &step = *op.in[4].as<StepState>();
  const double t = static_cast<double>(step.updates);
  const T correction1 = static_cast<T>(1 - std::pow(beta1, t)), correction2 = static_cast<T>(1 - std::pow(beta2, t));
  T *theta = op.out[0].as<T>(), *m = op.out[1].as<T>(), *v = op.out[2].as<T>();
  updateSegments<T>(op, op.in[3], step, op.attr[a::clipValue], [=](int64_t i, T rate, T g) {
    m[i] = keep1 * m[i] + take1 * g;
    v[i] = keep2 * v[i] + take2 * g * g;
    theta[i] -= rate * (m[i] / correction1) / (std::sqrt(v[i] / correction2) + eps);
  });
}

}  // namespace gradline::ref
