// Comparison element by element. Both sides are float32 results of the same operation, so each may be off by the bound.
#include "compare.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

namespace gradline::replay {
namespace {

constexpr double kUnit = 0x1p-24;
constexpr double kSmallest = 0x1p-126;  // below it results are flushed to zero
constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <class T>
T at(const uint8_t *bytes, uint64_t i) {
  T value;
  std::memcpy(&value, bytes + i * sizeof(T), sizeof(T));
  return value;
}

void note(Distance &worst, const std::string &what, uint64_t element, double got, double ref, double bound) {
  if (got == ref || (std::isnan(got) && std::isnan(ref))) return;
  const double off = std::fabs(got - ref);  // NaN: of one side only, or of two infinities
  const double share = bound > 0 && !std::isnan(off) ? off / bound : kInfinity;
  if (share <= worst.share) return;
  worst.share = share;
  char text[200];
  std::snprintf(text, sizeof text, "%s[%llu]: received %.9g, ref has %.9g, allowed %.3g", what.c_str(),
                static_cast<unsigned long long>(element), got, ref, bound);
  worst.text = text;
}

Distance compareFloats(const Check &check, const std::string &what, const uint8_t *got, const uint8_t *ref) {
  double largest = check.scale;
  if (check.kind == Bound::largest) {
    for (uint64_t i = 0; i < check.count; i++) {
      const double size = std::fabs(at<float>(ref, i));
      if (std::isfinite(size)) largest = std::max(largest, size);
    }
  }
  Distance worst;
  for (uint64_t i = 0; i < check.count; i++) {
    const double size = check.kind == Bound::terms ? check.terms[i] : largest;
    const double bound = check.kind == Bound::exact ? 0 : 2 * (check.factor * kUnit * size + kSmallest);
    note(worst, what, i, at<float>(got, i), at<float>(ref, i), bound);
  }
  return worst;
}

template <class T>
Distance compareIntegers(const Check &check, const std::string &what, const uint8_t *got, const uint8_t *ref) {
  Distance worst;
  for (uint64_t i = 0; i < check.count; i++) note(worst, what, i, at<T>(got, i), at<T>(ref, i), 0);
  return worst;
}

Distance compareSteps(const Check &check, const uint8_t *got, const uint8_t *ref) {
  const auto a = at<StepState>(got, 0), b = at<StepState>(ref, 0);
  Distance worst;
  const auto counter = [&](const char *name, uint64_t x, uint64_t y) {
    note(worst, name, 0, static_cast<double>(x), static_cast<double>(y), 0);
  };
  const auto number = [&](const char *name, double x, double y) {
    note(worst, name, 0, x, y, 2 * check.factor * kUnit * std::fabs(y));
  };
  counter("seed", a.seed, b.seed);
  counter("step", a.step, b.step);
  counter("updates", a.updates, b.updates);
  counter("skipped", a.skipped, b.skipped);
  counter("epoch", a.epoch, b.epoch);
  counter("cursor", a.cursor, b.cursor);
  counter("first", a.first, b.first);
  counter("skip", a.skip, b.skip);
  counter("groupSteps", a.groupSteps, b.groupSteps);
  counter("groupRows", a.groupRows, b.groupRows);
  counter("pending", a.pending, b.pending);
  number("rate", a.rate, b.rate);
  number("gradNorm", a.gradNorm, b.gradNorm);
  number("clipScale", a.clipScale, b.clipScale);
  number("rateFactor", a.rateFactor, b.rateFactor);
  number("momentumProduct", a.momentumProduct, b.momentumProduct);
  return worst;
}

}  // namespace

uint64_t bytesOf(const Check &check) {
  if (check.kind == Bound::step) return sizeof(StepState);
  return check.count * (check.dtype == DType::u8 ? 1 : 4);
}

Distance compare(const Check &check, const std::string &what, const uint8_t *got, const uint8_t *ref) {
  if (check.kind == Bound::step) return compareSteps(check, got, ref);
  if (check.dtype == DType::i32) return compareIntegers<int32_t>(check, what, got, ref);
  if (check.dtype == DType::u8) return compareIntegers<uint8_t>(check, what, got, ref);
  return compareFloats(check, what, got, ref);
}

}  // namespace gradline::replay
