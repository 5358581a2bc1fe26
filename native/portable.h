// pow, log, log1p and cos in double out of additions, products, divisions and bits alone. IEEE 754 fixes each of those,
// so schedules and update rules have the same bits on every machine and card, whatever its C library. Not for tensors:
// a call costs some 100 ns. To be compiled without contraction of products into sums: for CPUs ref/portable.cc is, and
// is what others call; of the kernels for cards scripts/build.mjs names those that use it. A logarithm is kept as the
// sum of two doubles (Dekker, "A floating-point technique for extending the available precision", 1971), since pow
// multiplies its error by y.
#pragma once
#include <math.h>

#include <cstdint>
#include <cstring>
#include <limits>

#include "abi.h"

namespace gradline::portable {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
// ln 2 and pi / 2 in two parts; the first part of ln 2 ends in 21 zero bits, so that its product with an exponent is
// exact.
constexpr double kLn2High = 0x1.62e42feep-1, kLn2Low = 0x1.a39ef35793c76p-33;
constexpr double kHalfPiHigh = 0x1.921fb54442d18p+0, kHalfPiLow = 0x1.1a62633145c07p-54;

GL_INLINE uint64_t bitsOf(double x) {
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
GL_INLINE double ofBits(uint64_t bits) {
  double x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
GL_INLINE double powerOfTwo(int64_t n) { return ofBits(static_cast<uint64_t>(n + 1023) << 52); }  // -1022 <= n <= 1023

// high + low, |low| at most half an ulp of high.
struct Pair {
  double high, low;
};

GL_INLINE Pair sum(double a, double b) {
  const double s = a + b, part = s - a;
  return {s, (a - (s - part)) + (b - part)};
}

// Exact but for the last bit of the smallest term: the factors are cut into halves whose products are exact.
GL_INLINE Pair product(double a, double b) {
  const double aHigh = ofBits(bitsOf(a) & ~uint64_t{0x7ffffff}), aLow = a - aHigh;
  const double bHigh = ofBits(bitsOf(b) & ~uint64_t{0x7ffffff}), bLow = b - bHigh;
  const double p = a * b;
  return {p, ((aHigh * bHigh - p) + aHigh * bLow + aLow * bHigh) + aLow * bLow};
}

// log x for 0 < x < inf: x = m 2^e with m in [sqrt(1/2), sqrt(2)), log m = 2 artanh(q) with q = (m - 1) / (m + 1).
GL_INLINE Pair logarithm(double x) {
  int64_t exponent = 0;
  if (x < 0x1p-1022) {
    x *= 0x1p54;
    exponent = -54;
  }
  const uint64_t shifted = bitsOf(x) - 0x3fe6a09e667f3bcd;
  exponent += static_cast<int64_t>(shifted) >> 52;
  const double m = ofBits((shifted & 0xfffffffffffff) + 0x3fe6a09e667f3bcd), e = static_cast<double>(exponent);
  const double d = m - 1;
  const Pair s = sum(m, 1);
  const double q = d / s.high;
  const Pair whole = product(q, s.high);
  const double rest = ((d - whole.high) - whole.low - q * s.low) / s.high;
  const double z = q * q;
  double tail = 0;  // z / 3 + z^2 / 5 + ...; z < 0.0295, so the first term left out is below 2^-60
  for (int k = 21; k >= 3; k -= 2) tail = z * (1.0 / k + tail);
  const Pair main = sum(e * kLn2High, 2 * q);
  return sum(main.high, main.low + (e * kLn2Low + (2 * rest + 2 * q * tail)));
}

// e^(high + low), for -746 < high < 710.
GL_INLINE double exponential(Pair x) {
  const double n = floor(x.high / kLn2High + 0.5);
  const Pair part = sum(x.high - n * kLn2High, x.low - n * kLn2Low);
  const double r = part.high, small = part.low;
  double p = 1;  // 1 + r / 3 (1 + r / 4 (... )): Taylor's series behind r^2 / 2; |r| < 0.35
  for (int k = 14; k >= 3; k--) p = 1 + r / k * p;
  const double y = 1 + (r + (small + small * r + r * r / 2 * p));
  const int64_t half = static_cast<int64_t>(n) / 2;
  return y * powerOfTwo(half) * powerOfTwo(static_cast<int64_t>(n) - half);
}

GL_INLINE double log(double x) {
  if (x == 0) return -kInfinity;
  if (!(x > 0)) return kNaN;
  return x == kInfinity ? x : logarithm(x).high;
}

// With u = 1 + x rounded, log(u) / (u - 1) varies so slowly that the error of u cancels (Kahan).
GL_INLINE double log1p(double x) {
  const double u = 1 + x;
  return u == 1 ? x : u == kInfinity ? u : log(u) * (x / (u - 1));
}

GL_INLINE double pow(double x, double y) {
  if (y == 0 || x == 1) return 1;
  if (!(x >= 0) || y != y) return kNaN;
  if (x == 0 || x == kInfinity) return (x == 0) == (y > 0) ? 0 : kInfinity;
  const Pair l = logarithm(x);
  const double rough = y * l.high;
  if (rough > 710) return kInfinity;
  if (rough < -746) return 0;
  const Pair exact = product(y, l.high);
  return exponential({exact.high, exact.low + y * l.low});
}

// The nearest multiple of a quarter turn is taken off; what is left lies within pi / 4.
GL_INLINE double cos(double x) {
  const double n = floor(x / kHalfPiHigh + 0.5);
  const double r = (x - n * kHalfPiHigh) - n * kHalfPiLow, z = r * r;
  double cosine = 1, sine = 1;  // Taylor's series from behind, to r^18 and r^19
  for (int k = 18; k >= 2; k -= 2) {
    cosine = 1 - z / (k * (k - 1)) * cosine;
    sine = 1 - z / (k * (k + 1)) * sine;
  }
  sine *= r;
  const int quarter = static_cast<int>(static_cast<int64_t>(n) & 3);  // of the turn
  const double value = quarter % 2 == 0 ? cosine : sine;
  return quarter == 1 || quarter == 2 ? -value : value;
}

}  // namespace gradline::portable
