// The kernels of narrow.h: one function per number of output channels and of pixels, chosen from a table.
#include "narrow.h"

namespace gradline::cpu::GL_ISA {

template <int outs, int pixels>
static void convolve(const NarrowArgs &args) {
  constexpr int kSums = outs * pixels;
  Vec sum[kSums] = {};
  const float *b = args.b;
  for (int64_t ty = 0; ty < args.tapRows; ty++)
    for (int64_t v = 0; v < args.vectors; v++) {
      const float *a = args.a + ty * args.tapRow + v * args.vector;
      for (int64_t tx = args.tapCols; tx > 0; tx--) {
        Vec w[outs];
#pragma GCC unroll 8
        for (int o = 0; o < outs; o++) w[o] = load(b + o * kLanes);
#pragma GCC unroll 16
        for (int p = 0; p < pixels; p++) {
          const Vec x = load(a + p * kLanes);
#pragma GCC unroll 8
          for (int o = 0; o < outs; o++) sum[p * outs + o] += x * w[o];
        }
        a += args.tapCol;
        b += outs * kLanes;
      }
    }
  // Sums of all lanes at once: halves of two vectors are added and interleaved, until lane i holds the sum of sum[i].
  Vec part[kLanes] = {};
#pragma GCC unroll 16
  for (int i = 0; i < kSums; i++) part[i] = sum[i];
#pragma GCC unroll 4
  for (int half = kLanes / 2; half > 0; half /= 2)
#pragma GCC unroll 8
    for (int i = 0; i < half; i++)
      part[i] = interleave<0>(part[i], part[i + half]) + interleave<kLanes / 2>(part[i], part[i + half]);
  store(args.c, part[0], kSums);
}

template <int outs, int pixels>
static consteval void fillTable(NarrowTable &table) {
  table.kernel[outs - 1][pixels - 1] = convolve<outs, pixels>;
  if constexpr (pixels > 1)
    fillTable<outs, pixels - 1>(table);
  else if constexpr (outs > 1)
    fillTable<outs - 1, kLanes / (outs - 1)>(table);
}
static consteval NarrowTable makeTable() {
  NarrowTable table = {};
  fillTable<kMostNarrow, kLanes / kMostNarrow>(table);
  return table;
}
constinit const NarrowTable kNarrowTiles = makeTable();

}  // namespace gradline::cpu::GL_ISA
