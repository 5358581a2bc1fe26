// The update rules of the optimizers, each over a whole parameter region in one launch; formulas and sources stand in
// ref/rules.h. A rule is a struct: its members are rounded once on the host, its coefficients of this step are computed
// once per block, apply() moves one element.
#pragma once
#include "nadam.cuh"
#include "segments.cuh"

namespace gradline::cuda {

constexpr int kMostMoments = 3, kMostCoefficients = 3;

// theta, moments, g, step -> theta, moments
template <class Rule>
struct Update {
  static constexpr int kThreads = 256;
  Global<float> theta, moment[kMostMoments];
  Global<const float> g;
  Global<const StepState> step;
  Segments segments;
  float limit;
  Rule rule;

  GPU_DEVICE void run() const {
    const StepState state = step[0];
    if (state.skip) return;
    GPU_SHARED(float, shared, kMostCoefficients);
    if (lane() == 0 && warp() < Rule::kCoefficients) shared[warp()] = rule.coefficient(warp(), state);
    barrier();
    float coefficient[kMostCoefficients] = {};
    GPU_UNROLL
    for (int j = 0; j < Rule::kCoefficients; j++) coefficient[j] = shared[j];
    const float scale = static_cast<float>(state.clipScale);
    const double rateOfStep = state.rate * state.rateFactor;

    segments.template eachElement<kThreads>([&](int i, const SegmentRecord &segment) {
      const double rate = rateOfStep * segment.rate;
      const float shrink = static_cast<float>(rate * segment.decay);
      const float scaled = g[i] * scale, before = theta[i];
      const float clipped = limit > 0 ? fminf(fmaxf(scaled, -limit), limit) : scaled;
      const float sign = before > 0 ? 1.0f : before < 0 ? -1.0f : 0.0f;
      const float gradient = clipped + static_cast<float>(segment.l2) * before + static_cast<float>(segment.l1) * sign;
      float w = before - shrink * before, m[kMostMoments] = {};
      GPU_UNROLL
      for (int j = 0; j < Rule::kMoments; j++) m[j] = moment[j][i];
      rule.apply(w, m, gradient, static_cast<float>(rate), coefficient);
      theta[i] = w;
      GPU_UNROLL
      for (int j = 0; j < Rule::kMoments; j++) moment[j][i] = m[j];
    });
  }
};

using Moments = float (&)[kMostMoments];
using Coefficients = const float (&)[kMostCoefficients];

struct Sgd {
  static constexpr int kMoments = 0, kCoefficients = 0;
  explicit Sgd(const Op &) {}
  GPU_DEVICE float coefficient(int, const StepState &) const { return 0; }
  GPU_DEVICE void apply(float &w, Moments, float g, float rate, Coefficients) const { w -= rate * g; }
};

struct Momentum {
  static constexpr int kMoments = 1, kCoefficients = 0;
  float beta;
  bool nesterov, rateOutside;
  explicit Momentum(const Op &op)
      : beta(static_cast<float>(op.attr[attr::momentumUpdate::beta])),
        nesterov(op.attr[attr::momentumUpdate::nesterov] != 0),
        rateOutside(op.attr[attr::momentumUpdate::rateOutside] != 0) {}
  GPU_DEVICE float coefficient(int, const StepState &) const { return 0; }
  GPU_DEVICE void apply(float &w, Moments m, float g, float rate, Coefficients) const {
    if (rateOutside) {
      m[0] = beta * m[0] + g;
      w -= rate * (nesterov ? g + beta * m[0] : m[0]);
    } else {
      m[0] = beta * m[0] - rate * g;
      w += nesterov ? beta * m[0] - rate * g : m[0];
    }
  }
};

struct Adagrad {
  static constexpr int kMoments = 1, kCoefficients = 0;
  float eps;
  explicit Adagrad(const Op &op) : eps(static_cast<float>(op.attr[attr::adagradUpdate::eps])) {}
  GPU_DEVICE float coefficient(int, const StepState &) const { return 0; }
  GPU_DEVICE void apply(float &w, Moments m, float g, float rate, Coefficients) const {
    m[0] += g * g;
    w -= rate * g / (sqrtf(m[0]) + eps);
  }
};

// What adadelta and the two forms of rmsprop share: a decaying mean of squares.
struct Decaying {
  float keep, take, eps;
  explicit Decaying(const Op &op)
      : keep(static_cast<float>(op.attr[attr::rmspropUpdate::rho])),
        take(static_cast<float>(1 - op.attr[attr::rmspropUpdate::rho])),
        eps(static_cast<float>(op.attr[attr::rmspropUpdate::eps])) {}
  GPU_DEVICE float coefficient(int, const StepState &) const { return 0; }
};

struct Adadelta : Decaying {
  static constexpr int kMoments = 2, kCoefficients = 0;
  using Decaying::Decaying;
  GPU_DEVICE void apply(float &w, Moments m, float g, float rate, Coefficients) const {
    m[0] = keep * m[0] + take * g * g;
    const float x = sqrtf(m[1] + eps) / sqrtf(m[0] + eps) * g;
    m[1] = keep * m[1] + take * x * x;
    w -= rate * x;
  }
};

struct Rmsprop : Decaying {
  static constexpr int kMoments = 1, kCoefficients = 0;
  using Decaying::Decaying;
  GPU_DEVICE void apply(float &w, Moments m, float g, float rate, Coefficients) const {
    m[0] = keep * m[0] + take * g * g;
    w -= rate * g / (sqrtf(m[0]) + eps);
  }
};

struct RmspropMomentum : Decaying {
  static constexpr int kMoments = 3, kCoefficients = 0;
  float momentum;
  bool centered;
  explicit RmspropMomentum(const Op &op)
      : Decaying(op),
        momentum(static_cast<float>(op.attr[attr::rmspropMomentumUpdate::momentum])),
        centered(op.attr[attr::rmspropMomentumUpdate::centered] != 0) {}
  GPU_DEVICE void apply(float &w, Moments m, float g, float rate, Coefficients) const {
    m[0] = keep * m[0] + take * g * g;
    if (centered) m[1] = keep * m[1] + take * g;
    const float variance = m[0] - m[1] * m[1];
    const float spread = centered ? (variance > 0 || variance != variance ? variance : 0.0f) : m[0];
    m[2] = momentum * m[2] + g / (sqrtf(spread) + eps);
    w -= rate * m[2];
  }
};

// Adam and its kin: decaying means of g and g^2, coefficients 0 and 1 their corrections for update t.
struct Means {
  double beta1, beta2;
  float keep1, take1, keep2, take2, eps;
  explicit Means(const Op &op)
      : beta1(op.attr[attr::adamUpdate::beta1]),
        beta2(op.attr[attr::adamUpdate::beta2]),
        keep1(static_cast<float>(beta1)),
        take1(static_cast<float>(1 - beta1)),
        keep2(static_cast<float>(beta2)),
        take2(static_cast<float>(1 - beta2)),
        eps(static_cast<float>(op.attr[attr::adamUpdate::eps])) {}
  GPU_DEVICE float coefficient(int j, const StepState &state) const {
    return static_cast<float>(1 - portable::pow(j == 0 ? beta1 : beta2, static_cast<double>(state.updates)));
  }
  GPU_DEVICE void move(Moments m, float g) const {
    m[0] = keep1 * m[0] + take1 * g;
    m[1] = keep2 * m[1] + take2 * g * g;
  }
};

struct Adam : Means {
  static constexpr int kMoments = 2, kCoefficients = 2;
  using Means::Means;
  GPU_DEVICE void apply(float &w, Moments m, float g, float rate, Coefficients c) const {
    move(m, g);
    w -= rate * (m[0] / c[0]) / (sqrtf(m[1] / c[1]) + eps);
  }
};

struct Amsgrad : Means {
  static constexpr int kMoments = 3, kCoefficients = 2;
  using Means::Means;
  GPU_DEVICE void apply(float &w, Moments m, float g, float rate, Coefficients c) const {
    move(m, g);
    m[2] = m[2] < m[1] ? m[1] : m[2];
    w -= rate * (m[0] / c[0]) / (sqrtf(m[2] / c[1]) + eps);
  }
};

struct Adamax : Means {
  static constexpr int kMoments = 2, kCoefficients = 1;
  using Means::Means;
  GPU_DEVICE void apply(float &w, Moments m, float g, float rate, Coefficients c) const {
    m[0] = keep1 * m[0] + take1 * g;
    const float decayed = keep2 * m[1], now = fabsf(g) + eps;
    m[1] = decayed < now ? now : decayed;
    w -= rate * (m[0] / c[0]) / m[1];
  }
};

struct Nadam : Means {
  static constexpr int kMoments = 2, kCoefficients = 3;  // 0: factor of the gradient, 1: of g^2, 2: of the mean
  double momentumDecay;
  explicit Nadam(const Op &op) : Means(op), momentumDecay(op.attr[attr::nadamUpdate::momentumDecay]) {}
  GPU_DEVICE float coefficient(int j, const StepState &state) const {
    if (j == 1) return Means::coefficient(1, state);
    const double t = static_cast<double>(state.updates), product = state.momentumProduct;
    const double mu = nadamMomentum(beta1, momentumDecay, j == 0 ? t : t + 1);
    return static_cast<float>(j == 0 ? (1 - mu) / (1 - product) : mu / (1 - product * mu));
  }
  GPU_DEVICE void apply(float &w, Moments m, float g, float rate, Coefficients c) const {
    move(m, g);
    w -= rate * (c[0] * g + c[2] * m[0]) / (sqrtf(m[1] / c[1]) + eps);
  }
};

struct Radam : Means {
  static constexpr int kMoments = 2, kCoefficients = 2;  // 1: factor of the adaptive step, 0 while there is none
  using Means::Means;
  // Liu et al. 2020: as radamFactor in ref, times sqrt(1 - beta2^t).
  GPU_DEVICE float coefficient(int j, const StepState &state) const {
    if (j == 0) return Means::coefficient(0, state);
    const double t = static_cast<double>(state.updates), left = portable::pow(beta2, t);
    const double longest = 2 / (1 - beta2) - 1, length = longest - 2 * t * left / (1 - left);
    if (!(length > 5)) return 0;
    const double f = sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length));
    return static_cast<float>(f * sqrt(1 - left));
  }
  GPU_DEVICE void apply(float &w, Moments m, float g, float rate, Coefficients c) const {
    move(m, g);
    w -= rate * (m[0] / c[0]) * (c[1] > 0 ? c[1] / (sqrtf(m[1]) + eps) : 1.0f);
  }
};

struct Lion {
  static constexpr int kMoments = 1, kCoefficients = 0;
  float keep1, take1, keep2, take2;
  explicit Lion(const Op &op)
      : keep1(static_cast<float>(op.attr[attr::lionUpdate::beta1])),
        take1(static_cast<float>(1 - op.attr[attr::lionUpdate::beta1])),
        keep2(static_cast<float>(op.attr[attr::lionUpdate::beta2])),
        take2(static_cast<float>(1 - op.attr[attr::lionUpdate::beta2])) {}
  GPU_DEVICE float coefficient(int, const StepState &) const { return 0; }
  GPU_DEVICE void apply(float &w, Moments m, float g, float rate, Coefficients) const {
    const float c = keep1 * m[0] + take1 * g;
    w -= rate * (c > 0 ? 1.0f : c < 0 ? -1.0f : 0.0f);
    m[0] = keep2 * m[0] + take2 * g;
  }
};

}  // namespace gradline::cuda
