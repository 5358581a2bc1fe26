// The update rules of the optimizers, each over a whole parameter region. Numbers that differ between steps stand in
// StepState, numbers that differ between parameters in the segment table. Coefficients are computed in double and
// rounded to T once; weights and moments are T.
#pragma once
#include <algorithm>
#include <cmath>

#include "walk.h"

namespace gradline::ref {

// NAdam's momentum of update t (Dozat 2016): it grows from beta / 2 towards beta.
inline double nadamMomentum(double beta, double decay, double t) {
  return beta * (1 - 0.5 * portable::pow(0.96, t * decay));
}

// theta [p], g [p]: calls rule(i, rate, gradient of i) for every element that a segment covers, with the segment's
// learning rate and the clipped gradient plus that of the penalties, after decoupled decay has shrunk theta[i].
// Changes nothing when skip is set. clipValue is the first attribute of every rule.
template <class T, class Rule>
void updateSegments(const Op &op, Rule rule) {
  const Tensor &gradient = op.in[op.outputs];
  const StepState &step = *op.in[op.outputs + 1].as<StepState>();
  if (step.skip) return;
  const T scale = static_cast<T>(step.clipScale), limit = static_cast<T>(op.attr[attr::sgdUpdate::clipValue]);
  const T *g = gradient.as<T>();
  T *theta = op.out[0].as<T>();
  for (int s = 0; s < op.segmentCount; s++) {
    const SegmentRecord &segment = op.segments[s];
    const double rate = step.rate * step.rateFactor * segment.rate;
    const T shrink = static_cast<T>(rate * segment.decay);
    const T l1 = static_cast<T>(segment.l1), l2 = static_cast<T>(segment.l2);
    for (int64_t i = segment.offset; i < segment.offset + segment.count; i++) {
      const T scaled = g[i] * scale, w = theta[i];
      const T clipped = limit > 0 ? std::clamp(scaled, -limit, limit) : scaled;
      const T sign = static_cast<T>((w > 0) - (w < 0));
      theta[i] = w - shrink * w;
      rule(i, static_cast<T>(rate), clipped + l2 * w + l1 * sign);
    }
  }
}

// theta [p], g [p], step -> theta: theta -= rate * g
template <class T>
void sgdUpdate(const Op &op) {
  T *theta = op.out[0].as<T>();
  updateSegments<T>(op, [=](int64_t i, T rate, T g) { theta[i] -= rate * g; });
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
  updateSegments<T>(op, [=](int64_t i, T rate, T g) {
    if (rateOutside) {
      v[i] = beta * v[i] + g;
      theta[i] -= rate * (nesterov ? g + beta * v[i] : v[i]);
    } else {
      v[i] = beta * v[i] - rate * g;
      theta[i] += nesterov ? beta * v[i] - rate * g : v[i];
    }
  });
}

// theta [p], h [p], g [p], step -> theta, h (Duchi et al. 2011): h += g^2; theta -= rate * g / (sqrt(h) + eps)
template <class T>
void adagradUpdate(const Op &op) {
  const T eps = static_cast<T>(op.attr[attr::adagradUpdate::eps]);
  T *theta = op.out[0].as<T>(), *h = op.out[1].as<T>();
  updateSegments<T>(op, [=](int64_t i, T rate, T g) {
    h[i] += g * g;
    theta[i] -= rate * g / (std::sqrt(h[i]) + eps);
  });
}

// theta [p], s [p], d [p], g [p], step -> theta, s, d (Zeiler 2012, whose eps stands inside both roots):
//   s = rho s + (1 - rho) g^2;  x = sqrt(d + eps) / sqrt(s + eps) * g;  d = rho d + (1 - rho) x^2;  theta -= rate * x
template <class T>
void adadeltaUpdate(const Op &op) {
  namespace a = attr::adadeltaUpdate;
  const T keep = static_cast<T>(op.attr[a::rho]), take = static_cast<T>(1 - op.attr[a::rho]);
  const T eps = static_cast<T>(op.attr[a::eps]);
  T *theta = op.out[0].as<T>(), *s = op.out[1].as<T>(), *d = op.out[2].as<T>();
  updateSegments<T>(op, [=](int64_t i, T rate, T g) {
    s[i] = keep * s[i] + take * g * g;
    const T x = std::sqrt(d[i] + eps) / std::sqrt(s[i] + eps) * g;
    d[i] = keep * d[i] + take * x * x;
    theta[i] -= rate * x;
  });
}

// theta [p], s [p], g [p], step -> theta, s (Tieleman, Hinton 2012):
//   s = rho s + (1 - rho) g^2;  theta -= rate * g / (sqrt(s) + eps)
template <class T>
void rmspropUpdate(const Op &op) {
  namespace a = attr::rmspropUpdate;
  const T keep = static_cast<T>(op.attr[a::rho]), take = static_cast<T>(1 - op.attr[a::rho]);
  const T eps = static_cast<T>(op.attr[a::eps]);
  T *theta = op.out[0].as<T>(), *s = op.out[1].as<T>();
  updateSegments<T>(op, [=](int64_t i, T rate, T g) {
    s[i] = keep * s[i] + take * g * g;
    theta[i] -= rate * g / (std::sqrt(s[i]) + eps);
  });
}

// theta [p], s [p], m [p], v [p], g [p], step -> theta, s, m, v. As above, with velocity, and if centered with the
// variance in place of the mean square (Graves 2013): m = rho m + (1 - rho) g;
//   v = momentum v + g / (sqrt(max(0, s - m^2)) + eps);  theta -= rate * v
template <class T>
void rmspropMomentumUpdate(const Op &op) {
  namespace a = attr::rmspropMomentumUpdate;
  const T keep = static_cast<T>(op.attr[a::rho]), take = static_cast<T>(1 - op.attr[a::rho]);
  const T eps = static_cast<T>(op.attr[a::eps]), momentum = static_cast<T>(op.attr[a::momentum]);
  const bool centered = op.attr[a::centered] != 0;
  T *theta = op.out[0].as<T>(), *s = op.out[1].as<T>(), *m = op.out[2].as<T>(), *v = op.out[3].as<T>();
  updateSegments<T>(op, [=](int64_t i, T rate, T g) {
    s[i] = keep * s[i] + take * g * g;
    if (centered) m[i] = keep * m[i] + take * g;
    const T spread = centered ? std::max(T(0), s[i] - m[i] * m[i]) : s[i];
    v[i] = momentum * v[i] + g / (std::sqrt(spread) + eps);
    theta[i] -= rate * v[i];
  });
}

// The coefficients of Adam and its kin: decaying means of g and g^2 and their corrections for update t.
template <class T>
struct Moments {
  double t, left1, left2;  // left: beta^t
  T keep1, take1, keep2, take2, eps, correction1, correction2;

  explicit Moments(const Op &op) {
    namespace a = attr::adamUpdate;  // nadam, radam, adamax and amsgrad have the same first four
    const double beta1 = op.attr[a::beta1], beta2 = op.attr[a::beta2];
    t = static_cast<double>(op.in[op.outputs + 1].as<StepState>()->updates);
    left1 = portable::pow(beta1, t);
    left2 = portable::pow(beta2, t);
    keep1 = static_cast<T>(beta1), take1 = static_cast<T>(1 - beta1);
    keep2 = static_cast<T>(beta2), take2 = static_cast<T>(1 - beta2);
    eps = static_cast<T>(op.attr[a::eps]);
    correction1 = static_cast<T>(1 - left1), correction2 = static_cast<T>(1 - left2);
  }
  void move(T &m, T &v, T g) const {
    m = keep1 * m + take1 * g;
    v = keep2 * v + take2 * g * g;
  }
};

// theta [p], m [p], v [p], g [p], step -> theta, m, v (Kingma, Ba 2015): with t = updates,
//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   theta -= rate * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)
template <class T>
void adamUpdate(const Op &op) {
  const Moments<T> with(op);
  T *theta = op.out[0].as<T>(), *m = op.out[1].as<T>(), *v = op.out[2].as<T>();
  updateSegments<T>(op, [=](int64_t i, T rate, T g) {
    with.move(m[i], v[i], g);
    theta[i] -= rate * (m[i] / with.correction1) / (std::sqrt(v[i] / with.correction2) + with.eps);
  });
}

// theta [p], m [p], v [p], w [p], g [p], step -> theta, m, v, w (Reddi et al. 2018): Adam by w = max(w, v)
template <class T>
void amsgradUpdate(const Op &op) {
  const Moments<T> with(op);
  T *theta = op.out[0].as<T>(), *m = op.out[1].as<T>(), *v = op.out[2].as<T>(), *w = op.out[3].as<T>();
  updateSegments<T>(op, [=](int64_t i, T rate, T g) {
    with.move(m[i], v[i], g);
    w[i] = std::max(w[i], v[i]);
    theta[i] -= rate * (m[i] / with.correction1) / (std::sqrt(w[i] / with.correction2) + with.eps);
  });
}

// theta [p], m [p], u [p], g [p], step -> theta, m, u (Kingma, Ba 2015, algorithm 2; eps keeps u from 0):
//   u = max(beta2 u, |g| + eps);  theta -= rate / (1 - beta1^t) * m / u
template <class T>
void adamaxUpdate(const Op &op) {
  const Moments<T> with(op);
  T *theta = op.out[0].as<T>(), *m = op.out[1].as<T>(), *u = op.out[2].as<T>();
  updateSegments<T>(op, [=](int64_t i, T rate, T g) {
    m[i] = with.keep1 * m[i] + with.take1 * g;
    u[i] = std::max(with.keep2 * u[i], std::abs(g) + with.eps);
    theta[i] -= rate * (m[i] / with.correction1) / u[i];
  });
}

// theta [p], m [p], v [p], g [p], step -> theta, m, v (Dozat 2016): with mu_t of nadamMomentum and their product P_t,
//   theta -= rate * ((1 - mu_t) / (1 - P_t) g + mu_(t+1) / (1 - P_t mu_(t+1)) m) / (sqrt(v / (1 - beta2^t)) + eps)
template <class T>
void nadamUpdate(const Op &op) {
  namespace a = attr::nadamUpdate;
  const Moments<T> with(op);
  const double product = op.in[4].as<StepState>()->momentumProduct;
  const double now = nadamMomentum(op.attr[a::beta1], op.attr[a::momentumDecay], with.t);
  const double next = nadamMomentum(op.attr[a::beta1], op.attr[a::momentumDecay], with.t + 1);
  const T byGradient = static_cast<T>((1 - now) / (1 - product));
  const T byMean = static_cast<T>(next / (1 - product * next));
  T *theta = op.out[0].as<T>(), *m = op.out[1].as<T>(), *v = op.out[2].as<T>();
  updateSegments<T>(op, [=](int64_t i, T rate, T g) {
    with.move(m[i], v[i], g);
    theta[i] -= rate * (byGradient * g + byMean * m[i]) / (std::sqrt(v[i] / with.correction2) + with.eps);
  });
}

// Factor of radam's adaptive step in update t, 0 while the variance of that step is not tractable (Liu et al. 2020):
// sqrt((r - 4) (r - 2) R / ((R - 4) (R - 2) r)), R = 2 / (1 - beta2) - 1, r = R - 2 t beta2^t / (1 - beta2^t) > 5.
inline double radamFactor(double beta2, double left2, double t) {
  const double longest = 2 / (1 - beta2) - 1, length = longest - 2 * t * left2 / (1 - left2);
  if (!(length > 5)) return 0;
  return std::sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length));
}

// theta [p], m [p], v [p], g [p], step -> theta, m, v (Liu et al. 2020): with m^ = m / (1 - beta1^t) and f of
// radamFactor, theta -= rate * f * m^ * sqrt(1 - beta2^t) / (sqrt(v) + eps), or while f is 0 theta -= rate * m^
template <class T>
void radamUpdate(const Op &op) {
  const Moments<T> with(op);
  const double f = radamFactor(op.attr[attr::radamUpdate::beta2], with.left2, with.t);
  const T factor = static_cast<T>(f * std::sqrt(1 - with.left2));
  T *theta = op.out[0].as<T>(), *m = op.out[1].as<T>(), *v = op.out[2].as<T>();
  updateSegments<T>(op, [=](int64_t i, T rate, T g) {
    with.move(m[i], v[i], g);
    theta[i] -= rate * (m[i] / with.correction1) * (f > 0 ? factor / (std::sqrt(v[i]) + with.eps) : T(1));
  });
}

// theta [p], m [p], g [p], step -> theta, m (Chen et al. 2023):
//   theta -= rate * sign(beta1 m + (1 - beta1) g);  m = beta2 m + (1 - beta2) g
template <class T>
void lionUpdate(const Op &op) {
  namespace a = attr::lionUpdate;
  const double beta1 = op.attr[a::beta1], beta2 = op.attr[a::beta2];
  const T keep1 = static_cast<T>(beta1), take1 = static_cast<T>(1 - beta1);
  const T keep2 = static_cast<T>(beta2), take2 = static_cast<T>(1 - beta2);
  T *theta = op.out[0].as<T>(), *m = op.out[1].as<T>();
  updateSegments<T>(op, [=](int64_t i, T rate, T g) {
    const T c = keep1 * m[i] + take1 * g;
    theta[i] -= rate * static_cast<T>((c > 0) - (c < 0));
    m[i] = keep2 * m[i] + take2 * g;
  });
}

}  // namespace gradline::ref
