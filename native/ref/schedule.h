// Learning-rate schedules: the rate of a step as a function of the counters in the step state, always in double. One op
// is one piece of a schedule; outside its span it leaves the rate alone. What a schedule is made of is decided by
// src/schedules/.
#pragma once
#include <algorithm>
#include <cmath>

#include "portable.h"
#include "walk.h"

namespace gradline::ref {

// Place within the period that holds x, as a share of that period in [0, 1). Period k is first * growth^k long.
// For growth > 1, n whole periods take first * (growth^n - 1) / (growth - 1); the logarithm gives n but for rounding at
// a boundary, which is then off by one at the most.
inline double sharePastRestart(double x, double first, double growth) {
  if (growth == 1) return std::fmod(x, first) / first;
  const auto start = [=](double n) { return first * (portable::pow(growth, n) - 1) / (growth - 1); };
  double n = std::floor(portable::log1p(x * (growth - 1) / first) / portable::log(growth));
  if (start(n) > x) n--;
  if (start(n + 1) <= x) n++;
  return (x - start(n)) / (start(n + 1) - start(n));
}

// step [256], table [n] -> step: rate = f(x) with x = t - begin, where begin <= t < end. By kind:
//   constant      base
//   exponential   base * b^(x / a)
//   power         base * (1 + x / a)^-b                                   (the exponent belongs to the whole bracket)
//   polynomial    c + (base - c) * (1 - min(x / a, 1))^b
//   cosine        b + (base - b) * (1 + cos(pi p)) / 2                    (Loshchilov, Hutter 2017)
//                 with p = min(x / a, 1) for c = 0, else the share of the period, of which each is c times the last
//   steps         base * b^floor(x / a)
//   table         base * table[min(floor(x), n - 1)]
template <class T>
void scheduleRate(const Op &op) {
  namespace at = attr::scheduleRate;
  StepState &step = *op.out[0].as<StepState>();
  const double t = static_cast<double>(op.iattr(at::unit) == 0 ? step.updates : step.epoch);
  if (t < op.attr[at::begin] || t >= op.attr[at::end]) return;
  const double x = t - op.attr[at::begin], base = op.attr[at::base];
  const double a = op.attr[at::a], b = op.attr[at::b], c = op.attr[at::c];
  switch (static_cast<ScheduleKind>(op.iattr(at::kind))) {
    case ScheduleKind::constant:
      step.rate = base;
      break;
    case ScheduleKind::exponential:
      step.rate = base * portable::pow(b, x / a);
      break;
    case ScheduleKind::power:
      step.rate = base * portable::pow(1 + x / a, -b);
      break;
    case ScheduleKind::polynomial:
      step.rate = c + (base - c) * portable::pow(1 - std::min(x / a, 1.0), b);
      break;
    case ScheduleKind::cosine: {
      const double pi = 3.14159265358979323846;
      const double share = c == 0 ? std::min(x / a, 1.0) : sharePastRestart(x, a, c);
      step.rate = b + (base - b) * (1 + portable::cos(pi * share)) / 2;
      break;
    }
    case ScheduleKind::steps:
      step.rate = base * portable::pow(b, std::floor(x / a));
      break;
    case ScheduleKind::table: {
      const int64_t last = op.in[1].size - 1;
      const int64_t i = x < static_cast<double>(last) ? static_cast<int64_t>(x) : last;
      step.rate = base * static_cast<double>(op.in[1].as<T>()[i]);
      break;
    }
  }
}

}  // namespace gradline::ref
