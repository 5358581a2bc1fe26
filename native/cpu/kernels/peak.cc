// The ceiling that matrix products are measured against: independent multiply-adds on registers, nothing else. No op.
#include "../simd.h"
#include "kernels.h"

namespace gradline::cpu::GL_ISA {

// As many chains as hide the latency of a multiply-add (4 cycles, two units) with room to spare.
constexpr int kChains = 12;

int64_t burnMultiplyAdds(int64_t rounds, float *sink) {
  Vec sum[kChains];
  const Vec factor = set1(0.999f), term = set1(0.001f);
  for (int c = 0; c < kChains; c++) sum[c] = set1(static_cast<float>(c + 2));
  for (int64_t round = 0; round < rounds; round++) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; c++) sum[c] = sum[c] * factor + term;
  }
  Vec total = {};
  for (int c = 0; c < kChains; c++) total += sum[c];
  store(sink, total);
  return rounds * kChains * kLanes * 2;
}

}  // namespace gradline::cpu::GL_ISA
