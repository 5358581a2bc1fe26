// Learning-rate schedules: the rate of a step from the counters in the step state, in double, by one thread. The
// formulas are those of ref/schedule.h; one op is one piece of a schedule.
#pragma once
#include "../../portable.h"
#include "../gpu.h"
#include "kernels.h"

namespace gradline::cuda {

// Place within the period that holds x, as a share of that period in [0, 1). Period k is first * growth^k long.
GPU_DEVICE double periodStart(double n, double first, double growth) {
  return first * (portable::pow(growth, n) - 1) / (growth - 1);
}
GPU_DEVICE double sharePastRestart(double x, double first, double growth) {
  if (growth == 1) return fmod(x, first) / first;
  double n =
      floor(portable::log1p(x * (growth - 1) / first) / portable::log(growth));  // but for rounding at a boundary
  if (periodStart(n, first, growth) > x) n--;
  if (periodStart(n + 1, first, growth) <= x) n++;
  const double start = periodStart(n, first, growth);
  return (x - start) / (periodStart(n + 1, first, growth) - start);
}

struct ScheduleRate {
  static constexpr int kThreads = 32;
  Global<StepState> step;
  Global<const float> table;
  int entries;
  ScheduleKind kind;
  bool byEpoch;
  double begin, end, base, a, b, c;

  GPU_DEVICE void run() const {
    if (thread() != 0) return;
    StepState state = step[0];
    const double t = static_cast<double>(byEpoch ? state.epoch : state.updates);
    if (t < begin || t >= end) return;
    const double x = t - begin;
    switch (kind) {
      case ScheduleKind::constant:
        state.rate = base;
        break;
      case ScheduleKind::exponential:
        state.rate = base * portable::pow(b, x / a);
        break;
      case ScheduleKind::power:
        state.rate = base * portable::pow(1 + x / a, -b);
        break;
      case ScheduleKind::polynomial:
        state.rate = c + (base - c) * portable::pow(1 - fmin(x / a, 1.0), b);
        break;
      case ScheduleKind::cosine: {
        const double share = c == 0 ? fmin(x / a, 1.0) : sharePastRestart(x, a, c);
        state.rate = b + (base - b) * (1 + portable::cos(3.14159265358979323846 * share)) / 2;
        break;
      }
      case ScheduleKind::steps:
        state.rate = base * portable::pow(b, floor(x / a));
        break;
      case ScheduleKind::table: {
        const int i = x < entries - 1 ? static_cast<int>(x) : entries - 1;
        const float entry = table[i];
        state.rate = base * static_cast<double>(entry);
        break;
      }
    }
    step[0] = state;
  }
};

}  // namespace gradline::cuda
