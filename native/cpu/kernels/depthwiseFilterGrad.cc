// The filter gradient of depthwise convolutions: sums over places, in chunks of rows of dy, each with a partial dw. The
// lanes of a vector are output channels.
#include "depthwise.h"
#include "filterGrad.h"

namespace gradline::cpu::GL_ISA {

constexpr int64_t kMostChunks = 16;  // partial filter gradients
constexpr int kTogether = 4;         // taps, and neighbouring pixels, with sums in registers

struct DepthwiseFilterGrad {
  Axis y, x;
  int64_t co, multiplier, rows, chunks;
};
GL_SIMD DepthwiseFilterGrad depthwiseFilterGradOf(const Op &op) {
  const Patches p = forwardPatches(op, op.in[0], op.out[0], op.in[1], 1);
  DepthwiseFilterGrad s = {p.y, p.x, op.out[0].dims[3], op.out[0].dims[3] / op.in[0].dims[3], 0, 0};
  s.rows = op.in[1].dims[0] * op.in[1].dims[1];
  s.chunks = larger(1, smaller(kMostChunks, s.rows / 4));
  return s;
}

// to[t] += over n places: dy[i * pixelDy] * x[i * pixelX + t * colX], t < taps, for one vector of channels.
// `shared`: pixelX == colX.
struct Places {
  const float *x, *dy;
  int64_t pixelX, colX, pixelDy, n;
};
template <int taps, bool shared, bool spread>
GL_SIMD void sumPlaces(const Places &s, int64_t c, int64_t count, int64_t multiplier, Vec *to) {
  const float *x = s.x, *dy = s.dy;
  Vec sum[kTogether][taps] = {};
  int64_t i = 0;
  for (; i + kTogether <= s.n; i += kTogether) {
    Vec met[kTogether + taps - 1];
    if constexpr (shared) {
#pragma GCC unroll 8
      for (int q = 0; q < kTogether + taps - 1; q++)
        met[q] = loadSpread<spread>(x + q * s.pixelX, c, count, multiplier);
    }
#pragma GCC unroll 4
    for (int u = 0; u < kTogether; u++) {
      const Vec g = load(dy + c, count);
#pragma GCC unroll 4
      for (int t = 0; t < taps; t++)
        sum[u][t] += (shared ? met[u + t] : loadSpread<spread>(x + t * s.colX, c, count, multiplier)) * g;
      dy += s.pixelDy;
      x += s.pixelX;
    }
  }
  for (; i < s.n; i++, dy += s.pixelDy, x += s.pixelX) {
    const Vec g = load(dy + c, count);
#pragma GCC unroll 4
    for (int t = 0; t < taps; t++) sum[0][t] += loadSpread<spread>(x + t * s.colX, c, count, multiplier) * g;
  }
#pragma GCC unroll 4
  for (int t = 0; t < taps; t++) to[t] += (sum[0][t] + sum[1][t]) + (sum[2][t] + sum[3][t]);
}

// Places [begin, end) of the grid at which tap t lies inside.
GL_SIMD void placesInside(const Axis &a, int64_t t, int64_t &begin, int64_t &end) {
  const int64_t at = a.first + t * a.tapStep;
  begin = at < 0 ? ceilDiv(-at, a.step) : 0;
  end = larger(begin, at < a.source ? smaller(a.grid, ceilDiv(a.source - at, a.step)) : 0);
}

template <bool spread>
static void depthwiseChunks(const Op &op, int64_t begin, int64_t end, void *) {
  const DepthwiseFilterGrad s = depthwiseFilterGradOf(op);
  const int64_t ci = op.in[0].dims[3], size = op.out[0].size;
  for (int64_t chunk = begin; chunk < end; chunk++) {
    float *dw = s.chunks == 1 ? op.out[0].as<float>() : partialSums(op) + chunk * size;
    const int64_t rowBegin = chunk * s.rows / s.chunks, rowEnd = (chunk + 1) * s.rows / s.chunks;
    for (int64_t ty = 0; ty < s.y.taps; ty++)
      for (int64_t tx = 0; tx < s.x.taps; tx += kTogether) {
        const int taps = static_cast<int>(smaller(kTogether, s.x.taps - tx));
        int64_t first[kTogether] = {}, last[kTogether] = {}, inner = 0, behind = s.x.grid;
        for (int t = 0; t < taps; t++) {
          placesInside(s.x, tx + t, first[t], last[t]);
          inner = larger(inner, first[t]);
          behind = smaller(behind, last[t]);
        }
        behind = larger(inner, behind);
        eachVec(s.co, [&](int64_t c, int64_t count) GL_LAMBDA {
          Vec sum[kTogether] = {};
          for (int64_t row = rowBegin; row < rowEnd; row++) {
            const int64_t sourceRow = s.y.first + row % s.y.grid * s.y.step + ty * s.y.tapStep;
            if (sourceRow < 0 || sourceRow >= s.y.source) continue;
            const float *x =
                op.in[0].as<float>() +
                ((row / s.y.grid * s.y.source + sourceRow) * s.x.source + s.x.first + tx * s.x.tapStep) * ci;
            const float *dy = op.in[1].as<float>() + row * s.x.grid * s.co;
            const auto add = [&](auto together, int64_t t, int64_t from, int64_t to) GL_LAMBDA {
              constexpr int n = decltype(together)::value;
              if (from >= to) return;
              const Places places = {x + t * s.x.tapStep * ci + from * s.x.step * ci,
                                     dy + from * s.co,
                                     s.x.step * ci,
                                     s.x.tapStep * ci,
                                     s.co,
                                     to - from};
              if (n > 1 && s.x.step == s.x.tapStep)
                sumPlaces<n, true, spread>(places, c, count, s.multiplier, sum + t);
              else
                sumPlaces<n, false, spread>(places, c, count, s.multiplier, sum + t);
            };
            if (taps == 1) add(Count<1>{}, 0, inner, behind);
            if (taps == 2) add(Count<2>{}, 0, inner, behind);
            if (taps == 3) add(Count<3>{}, 0, inner, behind);
            if (taps == 4) add(Count<4>{}, 0, inner, behind);
            for (int t = 0; t < taps; t++) {
              add(Count<1>{}, t, first[t], smaller(inner, last[t]));
              add(Count<1>{}, t, larger(behind, first[t]), last[t]);
            }
          }
          for (int t = 0; t < taps; t++) store(dw + (ty * s.x.taps + tx + t) * s.co + c, sum[t], count);
        });
      }
  }
}

// dw = partial sums added in order of the chunks
static void addDepthwiseChunks(const Op &op, int64_t begin, int64_t end, void *) {
  const int64_t size = op.out[0].size, chunks = depthwiseFilterGradOf(op).chunks;
  const float *partial = partialSums(op);
  const int64_t first = begin * kChunk;
  eachVec(smaller(size, end * kChunk) - first, [&](int64_t i, int64_t count) GL_LAMBDA {
    Vec sum = load(partial + first + i, count);
    for (int64_t c = 1; c < chunks; c++) sum += load(partial + c * size + first + i, count);
    store(op.out[0].as<float>() + first + i, sum, count);
  });
}

void planDepthwiseFilterGrad(const Op &op, KernelPlan &plan, double time) {
  plan.name = "conv2dFilterGrad depthwise";
  const DepthwiseFilterGrad s = depthwiseFilterGradOf(op);
  addPhase(plan, s.multiplier == 1 ? depthwiseChunks<false> : depthwiseChunks<true>, s.chunks, time);
  if (s.chunks > 1) {
    plan.workspace = sizeof(float) * static_cast<size_t>(s.chunks * op.out[0].size);
    addPhase(plan, addDepthwiseChunks, ceilDiv(op.out[0].size, kChunk),
             streamTime(4.0 * static_cast<double>(s.chunks * op.out[0].size)));
  }
}

}  // namespace gradline::cpu::GL_ISA
