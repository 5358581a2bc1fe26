// The update rules of update.cc on one vector of weights: operator() changes w and its slots s, given the gradient g
// and the rate. The formulas and their sources stand in ref/update.h; roots and divisions are exact, no estimates.
// Decay, clipping and penalties are done before a rule is asked.
#pragma once
#include "../../ref/portable.h"
#include "../simd.h"

namespace gradline::cpu::GL_ISA {
namespace {

struct Sgd {
  GL_INLINE explicit Sgd(const Op &) {}
  GL_INLINE void operator()(Vec &w, Vec *, Vec g, float rate) const { w -= rate * g; }
};

// The two forms and Nesterov's variant.
template <bool rateOutside, bool nesterov>
struct Momentum {
  float beta;
  GL_INLINE explicit Momentum(const Op &op) : beta(static_cast<float>(op.attr[attr::momentumUpdate::beta])) {}
  GL_INLINE void operator()(Vec &w, Vec *s, Vec g, float rate) const {
    const Vec step = rateOutside ? g : -(rate * g);
    s[0] = beta * s[0] + step;
    const Vec move = nesterov ? beta * s[0] + step : s[0];
    w = rateOutside ? w - rate * move : w + move;
  }
};

struct Adagrad {
  float eps;
  GL_INLINE explicit Adagrad(const Op &op) : eps(static_cast<float>(op.attr[attr::adagradUpdate::eps])) {}
  GL_INLINE void operator()(Vec &w, Vec *s, Vec g, float rate) const {
    s[0] += g * g;
    w -= rate * g / (sqrt(s[0]) + eps);
  }
};

// rho, 1 - rho and eps: adadelta and both forms of rmsprop have them at the same places.
struct MeanSquare {
  float keep, take, eps;
  GL_INLINE explicit MeanSquare(const Op &op)
      : keep(static_cast<float>(op.attr[attr::rmspropUpdate::rho])),
        take(static_cast<float>(1 - op.attr[attr::rmspropUpdate::rho])),
        eps(static_cast<float>(op.attr[attr::rmspropUpdate::eps])) {}
};

struct Adadelta : MeanSquare {
  GL_INLINE explicit Adadelta(const Op &op) : MeanSquare(op) {}
  GL_INLINE void operator()(Vec &w, Vec *s, Vec g, float rate) const {
    s[0] = keep * s[0] + take * g * g;
    const Vec x = sqrt(s[1] + eps) / sqrt(s[0] + eps) * g;
    s[1] = keep * s[1] + take * x * x;
    w -= rate * x;
  }
};

struct Rmsprop : MeanSquare {
  GL_INLINE explicit Rmsprop(const Op &op) : MeanSquare(op) {}
  GL_INLINE void operator()(Vec &w, Vec *s, Vec g, float rate) const {
    s[0] = keep * s[0] + take * g * g;
    w -= rate * g / (sqrt(s[0]) + eps);
  }
};

struct RmspropMomentum : MeanSquare {
  float momentum;
  bool centered;
  GL_INLINE explicit RmspropMomentum(const Op &op)
      : MeanSquare(op),
        momentum(static_cast<float>(op.attr[attr::rmspropMomentumUpdate::momentum])),
        centered(op.attr[attr::rmspropMomentumUpdate::centered] != 0) {}
  GL_INLINE void operator()(Vec &w, Vec *s, Vec g, float rate) const {
    s[0] = keep * s[0] + take * g * g;
    Vec spread = s[0];
    if (centered) {
      s[1] = keep * s[1] + take * g;
      spread = maxOf(Vec{}, isolate(s[0]) - isolate(s[1] * s[1]));
    }
    s[2] = momentum * s[2] + g / (sqrt(spread) + eps);
    w -= rate * s[2];
  }
};

// Coefficients of Adam and its kin, which have the same first four attributes.
struct Moments {
  double t, left1, left2;  // left: beta^t
  float keep1, take1, keep2, take2, eps, scale1, scale2;
  GL_INLINE explicit Moments(const Op &op) {
    namespace a = attr::adamUpdate;
    const double beta1 = op.attr[a::beta1], beta2 = op.attr[a::beta2];
    t = static_cast<double>(op.in[op.inputs - 1].as<StepState>()->updates);
    left1 = ref::portable::pow(beta1, t), left2 = ref::portable::pow(beta2, t);
    keep1 = static_cast<float>(beta1), take1 = static_cast<float>(1 - beta1);
    keep2 = static_cast<float>(beta2), take2 = static_cast<float>(1 - beta2);
    eps = static_cast<float>(op.attr[a::eps]);
    scale1 = static_cast<float>(1 / (1 - left1)), scale2 = static_cast<float>(1 / (1 - left2));
  }
  GL_INLINE void move(Vec *s, Vec g) const {
    s[0] = keep1 * s[0] + take1 * g;
    s[1] = keep2 * s[1] + take2 * g * g;
  }
};

struct Adam : Moments {
  GL_INLINE explicit Adam(const Op &op) : Moments(op) {}
  GL_INLINE void operator()(Vec &w, Vec *s, Vec g, float rate) const {
    move(s, g);
    w -= rate * (s[0] * scale1) / (sqrt(s[1] * scale2) + eps);
  }
};

struct Amsgrad : Moments {
  GL_INLINE explicit Amsgrad(const Op &op) : Moments(op) {}
  GL_INLINE void operator()(Vec &w, Vec *s, Vec g, float rate) const {
    move(s, g);
    s[2] = maxOf(s[2], s[1]);
    w -= rate * (s[0] * scale1) / (sqrt(s[2] * scale2) + eps);
  }
};

struct Adamax : Moments {
  GL_INLINE explicit Adamax(const Op &op) : Moments(op) {}
  GL_INLINE void operator()(Vec &w, Vec *s, Vec g, float rate) const {
    s[0] = keep1 * s[0] + take1 * g;
    s[1] = maxOf(keep2 * s[1], abs(g) + eps);
    w -= rate * (s[0] * scale1) / s[1];
  }
};

// NAdam's momentum of update t.
GL_SIMD double nadamMomentum(double beta, double decay, double t) {
  return beta * (1 - 0.5 * ref::portable::pow(0.96, t * decay));
}

struct Nadam : Moments {
  float byGradient, byMean;
  GL_INLINE explicit Nadam(const Op &op) : Moments(op) {
    namespace a = attr::nadamUpdate;
    const double product = op.in[op.inputs - 1].as<StepState>()->momentumProduct;
    const double now = nadamMomentum(op.attr[a::beta1], op.attr[a::momentumDecay], t);
    const double next = nadamMomentum(op.attr[a::beta1], op.attr[a::momentumDecay], t + 1);
    byGradient = static_cast<float>((1 - now) / (1 - product));
    byMean = static_cast<float>(next / (1 - product * next));
  }
  GL_INLINE void operator()(Vec &w, Vec *s, Vec g, float rate) const {
    move(s, g);
    w -= rate * (byGradient * g + byMean * s[0]) / (sqrt(s[1] * scale2) + eps);
  }
};

struct Radam : Moments {
  float factor;  // 0 while the step is not adaptive
  GL_INLINE explicit Radam(const Op &op) : Moments(op) {
    const double longest = 2 / (1 - op.attr[attr::radamUpdate::beta2]) - 1;
    const double length = longest - 2 * t * left2 / (1 - left2);
    const double square = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length);
    factor = length > 5 ? static_cast<float>(__builtin_sqrt(square * (1 - left2))) : 0.0f;
  }
  GL_INLINE void operator()(Vec &w, Vec *s, Vec g, float rate) const {
    move(s, g);
    const Vec step = rate * (s[0] * scale1);
    w -= factor > 0 ? step * (factor / (sqrt(s[1]) + eps)) : step;
  }
};

struct Lion {
  float keep1, take1, keep2, take2;
  GL_INLINE explicit Lion(const Op &op) {
    const double beta1 = op.attr[attr::lionUpdate::beta1], beta2 = op.attr[attr::lionUpdate::beta2];
    keep1 = static_cast<float>(beta1), take1 = static_cast<float>(1 - beta1);
    keep2 = static_cast<float>(beta2), take2 = static_cast<float>(1 - beta2);
  }
  GL_INLINE void operator()(Vec &w, Vec *s, Vec g, float rate) const {
    const Vec c = keep1 * s[0] + take1 * g;
    w -= select(c > 0, set1(rate), select(c < 0, set1(-rate), Vec{}));
    s[0] = keep2 * s[0] + take2 * g;
  }
};

}  // namespace
}  // namespace gradline::cpu::GL_ISA
