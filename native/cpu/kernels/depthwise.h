// Convolutions whose groups have one input channel each: vectors of output channels instead of matrix products.
#pragma once
#include "../gemm/patches.h"

namespace gradline::cpu::GL_ISA {

// False for every other convolution. `op` is any of the three; its tensors are float and not empty.
bool planDepthwise(const Op &op, KernelPlan &plan);
// depthwiseFilterGrad.cc; `time` in nanoseconds
void planDepthwiseFilterGrad(const Op &op, KernelPlan &plan, double time);

template <int n>
struct Count {
  static constexpr int value = n;
};

// Lane i takes lane index[i] of v.
GL_SIMD Vec pick(Vec v, IVec index) {
#if !defined(__clang__)
  return __builtin_shuffle(v, index);
#elif defined(__AVX512F__)
  return (Vec)_mm512_permutexvar_ps((__m512i)index, (__m512)v);
#elif defined(__AVX2__)
  return (Vec)_mm256_permutevar8x32_ps((__m256)v, (__m256i)index);
#else
  Vec r;
  for (int i = 0; i < kLanes; i++) r[i] = v[index[i]];
  return r;
#endif
}
// Lane i: (before + i) / multiplier.
GL_SIMD IVec spreadLanes(int64_t before, int64_t multiplier) {
  // Exact for the few numbers that occur: the quotient is far from the next integer compared with the rounding.
  const Vec i = toFloat(laneIndex() + static_cast<int32_t>(before)) + 0.5f;
  return __builtin_convertvector(i / set1(static_cast<float>(multiplier)), IVec);
}

// x of output channels [c, c + count), of a pixel with one channel for every `multiplier` of them.
template <bool spread>
GL_SIMD Vec loadSpread(const float *pixel, int64_t c, int64_t count, int64_t multiplier) {
  if constexpr (!spread) {
    return load(pixel + c, count);
  } else {
    const int64_t before = c % multiplier;
    const Vec v = load(pixel + c / multiplier, (before + count - 1) / multiplier + 1);
    return pick(v, spreadLanes(before, multiplier));
  }
}

}  // namespace gradline::cpu::GL_ISA
