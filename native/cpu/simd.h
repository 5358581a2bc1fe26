// A thin layer over the vector extensions of GCC and clang: one type of kLanes floats, loads and stores with tails, and
// exp, log, tanh and friends on it. Included by files that are compiled once per instruction set; everything lives in
// the namespace GL_ISA and is forced inline, so no symbol can leave the file. It knows nothing of ops.
#pragma once
#include "../abi.h"
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define GL_SIMD static inline __attribute__((always_inline))
#define GL_LAMBDA __attribute__((always_inline))

namespace gradline::cpu::GL_ISA {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef int32_t IVec __attribute__((vector_size(kLanes * 4)));  // also the type of a mask: 0 or -1 per lane
typedef uint32_t UVec __attribute__((vector_size(kLanes * 4)));
typedef double DVec __attribute__((vector_size(kLanes * 4)));  // kLanes / 2 doubles
typedef uint8_t BVec __attribute__((vector_size(kLanes)));
typedef float HalfVec __attribute__((vector_size(kLanes * 2)));

typedef float UnalignedVec __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
typedef int32_t UnalignedIVec __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
typedef uint8_t UnalignedBVec __attribute__((vector_size(kLanes), aligned(1), may_alias));

// x - 0 and not 0 + x: only the former keeps -0, so only it is a plain broadcast.
GL_SIMD Vec set1(float x) { return x - Vec{}; }
GL_SIMD IVec set1(int32_t x) { return x - IVec{}; }
GL_SIMD DVec set1(double x) { return x - DVec{}; }
GL_SIMD IVec bitsOf(Vec x) { return (IVec)x; }
GL_SIMD Vec ofBits(IVec x) { return (Vec)x; }
GL_SIMD Vec toFloat(IVec x) { return __builtin_convertvector(x, Vec); }
GL_SIMD Vec select(IVec mask, Vec a, Vec b) { return mask ? a : b; }
GL_SIMD IVec select(IVec mask, IVec a, IVec b) { return mask ? a : b; }

// 0, 1, 2, ...
GL_SIMD IVec laneIndex() {
  IVec v = {};
  for (int i = 0; i < kLanes; i++) v[i] = i;
  return v;
}

// ---- Memory. The forms with a count touch only that many elements (1 <= count <= kLanes); a load fills the other
// lanes with 0. A tail so runs the same instructions as the body and gives each element the same bits.

GL_SIMD Vec load(const float *p) { return *(const UnalignedVec *)p; }
GL_SIMD IVec load(const int32_t *p) { return *(const UnalignedIVec *)p; }
GL_SIMD void store(float *p, Vec v) { *(UnalignedVec *)p = v; }
GL_SIMD void store(int32_t *p, IVec v) { *(UnalignedIVec *)p = v; }

#if defined(__AVX512F__)
GL_SIMD __mmask16 firstLanes(int64_t count) { return (__mmask16)((1u << count) - 1); }
GL_SIMD Vec load(const float *p, int64_t count) {
  return count == kLanes ? load(p) : (Vec)_mm512_maskz_loadu_ps(firstLanes(count), p);
}
GL_SIMD void store(float *p, Vec v, int64_t count) {
  if (count == kLanes) return store(p, v);
  _mm512_mask_storeu_ps(p, firstLanes(count), (__m512)v);
}
#elif defined(__AVX2__)
GL_SIMD __m256i firstLanes(int64_t count) { return (__m256i)(laneIndex() < (int32_t)count); }
GL_SIMD Vec load(const float *p, int64_t count) {
  return count == kLanes ? load(p) : (Vec)_mm256_maskload_ps(p, firstLanes(count));
}
GL_SIMD void store(float *p, Vec v, int64_t count) {
  if (count == kLanes) return store(p, v);
  _mm256_maskstore_ps(p, firstLanes(count), (__m256)v);
}
#else
GL_SIMD Vec load(const float *p, int64_t count) {
  if (count == kLanes) return load(p);
  Vec v = {};
  for (int i = 0; i < kLanes; i++)
    if (i < count) v[i] = p[i];
  return v;
}
GL_SIMD void store(float *p, Vec v, int64_t count) {
  if (count == kLanes) return store(p, v);
  for (int i = 0; i < kLanes; i++)
    if (i < count) p[i] = v[i];
}
#endif
GL_SIMD IVec load(const int32_t *p, int64_t count) { return (IVec)load((const float *)p, count); }
GL_SIMD void store(int32_t *p, IVec v, int64_t count) { store((float *)p, (Vec)v, count); }
// kLanes bytes as floats.
GL_SIMD Vec loadBytes(const uint8_t *p) {
  const BVec v = *(const UnalignedBVec *)p;
#if defined(__AVX512F__)
  return toFloat((IVec)_mm512_maskz_cvtepu8_epi32(0xffff, (__m128i)v));
#elif defined(__AVX2__)
  return toFloat((IVec)_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((int64_t)v)));
#else
  return toFloat(__builtin_convertvector(v, IVec));
#endif
}
GL_SIMD Vec loadBytes(const uint8_t *p, int64_t count) {
  if (count == kLanes) return loadBytes(p);
  uint8_t padded[kLanes] = {};
  for (int64_t i = 0; i < count; i++) padded[i] = p[i];
  return loadBytes(padded);
}

// Calls body(i, count) for 0, kLanes, ... below n: count is kLanes but for a tail.
template <class Body>
GL_SIMD void eachVec(int64_t n, Body body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, kLanes);
  if (i < n) body(i, n - i);
}

// Hides where a value came from, so that a product is not contracted into a sum that follows it. Code that must give
// the same bits fused into another kernel and alone puts it at its borders. Costs no instruction.
GL_SIMD Vec isolate(Vec x) {
#if defined(__AVX512F__)
  asm("" : "+v"(x));
#elif defined(__SSE2__)
  asm("" : "+x"(x));
#elif defined(__aarch64__)
  asm("" : "+w"(x));
#endif
  return x;
}

// ---- Arithmetic. minOf and maxOf give b when either is NaN (the machine's own rule); the ...OrNan forms give NaN.

#if defined(__AVX512F__)
// The masked forms with all lanes set: GCC 12 warns of an uninitialised operand inside its own plain forms.
constexpr __mmask16 kAllLanes = 0xffff;
GL_SIMD Vec minOf(Vec a, Vec b) { return (Vec)_mm512_maskz_min_ps(kAllLanes, (__m512)a, (__m512)b); }
GL_SIMD Vec maxOf(Vec a, Vec b) { return (Vec)_mm512_maskz_max_ps(kAllLanes, (__m512)a, (__m512)b); }
GL_SIMD Vec sqrt(Vec a) { return (Vec)_mm512_maskz_sqrt_ps(kAllLanes, (__m512)a); }
#elif defined(__AVX2__)
GL_SIMD Vec minOf(Vec a, Vec b) { return (Vec)_mm256_min_ps((__m256)a, (__m256)b); }
GL_SIMD Vec maxOf(Vec a, Vec b) { return (Vec)_mm256_max_ps((__m256)a, (__m256)b); }
GL_SIMD Vec sqrt(Vec a) { return (Vec)_mm256_sqrt_ps((__m256)a); }
#elif defined(__SSE2__)
GL_SIMD Vec minOf(Vec a, Vec b) { return (Vec)_mm_min_ps((__m128)a, (__m128)b); }
GL_SIMD Vec maxOf(Vec a, Vec b) { return (Vec)_mm_max_ps((__m128)a, (__m128)b); }
GL_SIMD Vec sqrt(Vec a) { return (Vec)_mm_sqrt_ps((__m128)a); }
#else
GL_SIMD Vec minOf(Vec a, Vec b) { return a < b ? a : b; }
GL_SIMD Vec maxOf(Vec a, Vec b) { return a > b ? a : b; }
GL_SIMD Vec sqrt(Vec a) {
  for (int i = 0; i < kLanes; i++) a[i] = __builtin_sqrtf(a[i]);
  return a;
}
#endif
GL_SIMD Vec minOrNan(Vec a, Vec b) { return select(a != a, a, minOf(a, b)); }
GL_SIMD Vec maxOrNan(Vec a, Vec b) { return select(a != a, a, maxOf(a, b)); }
GL_SIMD Vec abs(Vec x) { return ofBits(bitsOf(x) & 0x7fffffff); }
GL_SIMD Vec signOf(Vec x) { return ofBits(bitsOf(x) & (int32_t)0x80000000); }  // +0 or -0
GL_SIMD Vec withSign(Vec magnitude, Vec sign) { return ofBits(bitsOf(magnitude) | bitsOf(sign)); }

// The lower and the upper half of the lanes as doubles.
GL_SIMD DVec widenLow(Vec x) {
  HalfVec half;
  __builtin_memcpy(&half, &x, sizeof half);
  return __builtin_convertvector(half, DVec);
}
GL_SIMD DVec widenHigh(Vec x) {
  HalfVec half;
  __builtin_memcpy(&half, (const char *)&x + sizeof half, sizeof half);
  return __builtin_convertvector(half, DVec);
}

// ---- Lanes in another order. Which lane goes where are constants of the call's type: of numbers that only turn out to
// be constant once loops are unrolled, clang makes a store and a load for each lane.

template <int... i>
struct Lanes {};
template <int n, int... i>
struct CountLanes : CountLanes<n - 1, n - 1, i...> {};
template <int... i>
struct CountLanes<0, i...> {
  using All = Lanes<i...>;
};
template <auto from, int... i>
GL_SIMD Vec shuffle(Vec a, Vec b, Lanes<i...>) {
#if defined(__clang__) || __GNUC__ >= 12
  return __builtin_shufflevector(a, b, from(i)...);
#else
  return __builtin_shuffle(a, b, (IVec){from(i)...});
#endif
}
// Lane i takes lane from(i) of a and b side by side.
template <auto from>
GL_SIMD Vec shuffle(Vec a, Vec b) {
  return shuffle<from>(a, b, typename CountLanes<kLanes>::All());
}

// Lane i takes lane (i + by) mod kLanes.
template <int by>
GL_SIMD Vec rotate(Vec v) {
  return shuffle<[](int i) { return (i + by) % kLanes; }>(v, v);
}
// Lanes of a and b taken in turn: a0 b0 a1 b1 ..., from lane `first` on.
template <int first>
GL_SIMD Vec interleave(Vec a, Vec b) {
  return shuffle<[](int i) { return (i & 1) * kLanes + first + i / 2; }>(a, b);
}

// All lanes combined in a fixed tree.
template <int by = kLanes / 2, class F>
GL_SIMD Vec foldLanes(Vec v, F f) {
  v = f(v, rotate<by>(v));
  if constexpr (by > 1) return foldLanes<by / 2>(v, f);
  return v;
}
GL_SIMD float sumLanes(Vec v) {
  return foldLanes(v, [](Vec a, Vec b) GL_LAMBDA { return a + b; })[0];
}
GL_SIMD float maxLanesOrNan(Vec v) {
  return foldLanes(v, [](Vec a, Vec b) GL_LAMBDA { return maxOrNan(a, b); })[0];
}
GL_SIMD float maxLanes(Vec v) {  // of lanes with a NaN: any of them, or that NaN
  return foldLanes(v, [](Vec a, Vec b) GL_LAMBDA { return maxOf(a, b); })[0];
}
GL_SIMD int32_t minLanes(IVec v) {
  return bitsOf(foldLanes(ofBits(v), [](Vec a, Vec b) GL_LAMBDA {
    return ofBits(select(bitsOf(b) < bitsOf(a), bitsOf(b), bitsOf(a)));
  }))[0];
}
GL_SIMD double sumLanes(DVec v) {
  double sum = 0;
  for (int i = 0; i < kLanes / 2; i++) sum += v[i];
  return sum;
}

// ---- Functions. Polynomials are minimax fits made for this file; errors below are against the true value.

// Splits x = n ln 2 + r with |r| <= ln 2 / 2 (Cody and Waite: ln 2 in two parts, the first with few bits so that
// n * part is exact) and gives e^r - 1; `exponent` becomes n. x must lie in [-104, 89] or be NaN.
GL_SIMD Vec reducedExpm1(Vec x, IVec &exponent) {
  const Vec shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the sum's low bits are the rounded integer
  const Vec n = shifted - 12582912.0f;
  exponent = bitsOf(shifted) - 0x4b400000;
  Vec r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  Vec q = 1.9763333e-4f * r + 1.39323273e-3f;
  q = q * r + 8.33354425e-3f;
  q = q * r + 4.16664928e-2f;
  q = q * r + 0.166666657f;
  q = q * r + 0.5f;
  return q * (r * r) + r;
}
GL_SIMD Vec powerOfTwo(IVec n) { return ofBits((n + 127) << 23); }  // -126 <= n <= 127

// e^x, 1 ulp. Two factors carry the exponent, so that overflow gives inf and underflow a denormal or 0.
GL_SIMD Vec exp(Vec x) {
  x = maxOf(set1(-104.0f), minOf(set1(89.0f), x));  // a NaN passes: it is the second argument
  IVec n;
  const Vec p = reducedExpm1(x, n) + 1.0f;
  const IVec half = n >> 1;
  return p * powerOfTwo(half) * powerOfTwo(n - half);
}

// e^x - 1 for x <= 0 (or NaN), 2 ulp: no cancellation near 0.
GL_SIMD Vec expm1OfNegative(Vec x) {
  IVec n;
  const Vec p = reducedExpm1(maxOf(set1(-87.0f), x), n);
  const Vec s = powerOfTwo(n);
  return s * p + (s - 1.0f);
}

// Natural logarithm, 1 ulp. log(+-0) = -inf, log(<0) = NaN. Denormals are taken apart as integers, so the result does
// not depend on whether the thread flushes them.
GL_SIMD Vec log(Vec x) {
  const IVec bits = bitsOf(x);
  const IVec denormal = bits < 0x00800000;  // also 0 and negatives: overwritten below
  const IVec normal = select(denormal, bitsOf(toFloat(bits)), bits);
  // m in [sqrt(1/2), sqrt(2)), x = m * 2^e
  const IVec shifted = normal - 0x3f3504f3;
  IVec e = shifted >> 23;
  const Vec f = ofBits((shifted & 0x007fffff) + 0x3f3504f3) - 1.0f;
  e = e - (denormal & 149);
  Vec p = 6.75095618e-2f * f - 0.116714492f;
  p = p * f + 0.11883568f;
  p = p * f - 0.124060318f;
  p = p * f + 0.142203271f;
  p = p * f - 0.166679963f;
  p = p * f + 0.20002073f;
  p = p * f - 0.250000089f;
  p = p * f + 0.333333135f;
  const Vec n = toFloat(e), ff = f * f;
  Vec y = p * (f * ff) - n * 2.12194440e-4f;
  y = y - 0.5f * ff;
  y = (f + y) + n * 0.693359375f;
  const IVec infinite = bits == 0x7f800000;
  const IVec special = infinite | (bits > 0x7f800000);  // inf and NaN with a clear sign bit
  y = select(special, x, y);
  y = select(bits < 0, set1(__builtin_nanf("")), y);
  return select((bits << 1) == 0, set1(-__builtin_inff()), y);
}

// log(1 + x), 3 ulp. With u = 1 + x rounded, log(u) / (u - 1) varies so slowly that the error of u cancels (Kahan).
GL_SIMD Vec log1p(Vec x) {
  const Vec u = isolate(1.0f + x), d = u - 1.0f;
  const Vec y = log(u) * (x / d);
  return select((d == 0.0f) | (x == __builtin_inff()), x, y);
}

// Error function, 2 ulp: a polynomial in x^2 below 0.921875, else 1 - e^-q(|x|); from 4 on it is 1 in 32 bits.
GL_SIMD Vec erf(Vec x) {
  const Vec a = abs(x), z = a * a;
  Vec p = 8.37010011e-5f * z - 8.14270403e-4f;
  p = p * z + 5.20103239e-3f;
  p = p * z - 2.68593989e-2f;
  p = p * z + 0.112836957f;
  p = p * z - 0.376126349f;
  p = p * z + 0.128379166f;
  const Vec t = minOf(set1(4.0f), a);  // a NaN passes: it is the second argument
  Vec q = -1.96781199e-4f * t + 3.05147818e-3f;
  q = q * t - 2.22597755e-2f;
  q = q * t + 0.103999592f;
  q = q * t + 0.637104988f;
  q = q * t + 1.12772143f;
  q = q * t + 1.84630961e-4f;
  return withSign(select(a < 0.921875f, a * p + a, 1.0f - exp(-q)), signOf(x));
}

// Hyperbolic tangent, 2 ulp: a polynomial below 0.625, else 1 - 2 / (e^2x + 1).
GL_SIMD Vec tanh(Vec x) {
  const Vec a = abs(x), z = a * a;
  Vec p = -5.69446804e-3f * z + 2.06298362e-2f;
  p = p * z - 5.37369177e-2f;
  p = p * z + 0.133314088f;
  p = p * z - 0.333332807f;
  const Vec small = (a * z) * p + a;
  const Vec large = 1.0f - 2.0f / (exp(a + a) + 1.0f);
  return withSign(select(a < 0.625f, small, large), signOf(x));
}

// 1 / (1 + e^-x), 2 ulp.
GL_SIMD Vec sigmoid(Vec x) { return 1.0f / (1.0f + exp(-x)); }

}  // namespace gradline::cpu::GL_ISA
