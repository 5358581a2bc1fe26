// See tensor.h. Products are exact and added in double precision, and the sum is cut off to fp32 once per call: cards
// cut off as well instead of rounding to the nearest (Fasi, Higham, Mikaitis, Pranesh, "Numerical behavior of NVIDIA
// tensor cores", PeerJ Computer Science 2021), so that a bound which holds here does not lean on better sums than
// theirs. Their bits are not these: the width and order of their sums differ between generations.
#include "tensor.h"

#include <cmath>
#include <cstring>

#include "fibers.h"

namespace gradline::cuda::emulator {
namespace {

struct Fragments {
  uint32_t a[4], b[2];
};
static_assert(sizeof(Fragments) <= Brought::kMost);

double numberOf(uint32_t word) {
  float x;
  std::memcpy(&x, &word, sizeof x);
  return static_cast<double>(x);
}

float cutOff(double x) {
  const float nearest = static_cast<float>(x);
  if (!std::isfinite(nearest) || std::fabs(static_cast<double>(nearest)) <= std::fabs(x)) return nearest;
  return std::nextafter(nearest, 0.0f);
}

}  // namespace

void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Operands operands) {
  Fragments own;
  std::memcpy(own.a, a, sizeof own.a);
  std::memcpy(own.b, b, sizeof own.b);
  const uint32_t g = threadIndex() % 32 / 4, t = threadIndex() % 4;
  const Brought *const all = gather(&own, sizeof own, operands == Operands::tf32 ? -2 : -3);
  const auto lane = [&](uint32_t i) { return reinterpret_cast<const Fragments *>(all[i].bytes); };
  for (uint32_t i = 0; i < 4; i++) {
    const uint32_t lower = i / 2, column = 2 * t + i % 2;  // of c: row g + 8 * lower
    double sum = static_cast<double>(c[i]);
    for (uint32_t half = 0; half < 2; half++) {
      for (uint32_t k = 0; k < 4; k++) {
        const uint32_t left = lane(4 * g + k)->a[2 * half + lower], right = lane(4 * column + k)->b[half];
        if (operands == Operands::tf32) {
          sum += numberOf(left & 0xffffe000) * numberOf(right & 0xffffe000);  // the other bits do not reach the cores
        } else {
          sum += numberOf(left << 16) * numberOf(right << 16);
          sum += numberOf(left & 0xffff0000) * numberOf(right & 0xffff0000);
        }
      }
    }
    c[i] = cutOff(sum);
  }
}

}  // namespace gradline::cuda::emulator
