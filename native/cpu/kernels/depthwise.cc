// Depthwise convolutions: as many groups as input channels, each with `multiplier` outputs. The lanes of a vector are
// output channels, and taps outside the image are left out instead of being read as zeros. All three directions; the
// plans of conv2d.cc, conv2dInputGrad.cc and conv2dFilterGrad.cc ask here first.
#include "depthwise.h"

#include "residues.h"

namespace gradline::cpu::GL_ISA {

constexpr int64_t kTilePixels = 8;        // neighbours along a row, each with a sum of its own
constexpr int64_t kUnitProducts = 65536;  // multiply-adds of a unit, about

// Both as a walk of taps: place i of the grid meets taps tap0 + t * tapStep of w at axis.first + i * step + t * tapStep
// of the source.
struct Sweep {
  Axis y, x;
  int64_t tapY, tapStepY, tapX, tapStepX;  // of w
  int64_t images;
  OutputGrid out;
  int64_t rowsPerUnit, units;
};

GL_SIMD void cutRows(Sweep &s, int64_t channels) {
  const int64_t row = larger(1, s.x.grid * s.y.taps * s.x.taps * channels);
  s.rowsPerUnit = larger(1, kUnitProducts / row);
  s.units = s.x.grid > 0 ? ceilDiv(s.images * s.y.grid, s.rowsPerUnit) : 0;
}

// The taps [begin, end) of place i that lie inside.
GL_SIMD void tapsInside(const Axis &a, int64_t i, int64_t &begin, int64_t &end) {
  begin = end = 0;
  const int64_t at = a.first + i * a.step;
  while (begin < a.taps && at + begin * a.tapStep < 0) begin++;
  for (end = begin; end < a.taps && at + end * a.tapStep < a.source;) end++;
}

struct SweepArgs {
  const float *x, *w;
  int64_t tapsY, tapsX;
  int64_t rowX, colX, rowW, colW;  // floats from tap to tap
  int64_t pixelX;                  // from place to place
  int64_t channels, multiplier;    // channels of a result before they are joined
};

// Sums of `pixels` neighbouring places, to `to` with `pixelTo` floats between them. `taps` > 0: so many across, which
// with neighbouring places meet the same pixels, so each is read once; 0: any number, anywhere.
template <int pixels, int taps, bool spread>
GL_SIMD void sweepTaps(const SweepArgs &args, float *to, int64_t pixelTo) {
  eachVec(args.channels, [&](int64_t c, int64_t count) GL_LAMBDA {
    Vec sum[pixels] = {};
    for (int64_t ty = 0; ty < args.tapsY; ty++) {
      const float *x = args.x + ty * args.rowX, *w = args.w + ty * args.rowW + c;
      if constexpr (taps > 0) {
        Vec row[taps];
#pragma GCC unroll 8
        for (int t = 0; t < taps; t++, w += args.colW) row[t] = load(w, count);
#pragma GCC unroll 16
        for (int q = 0; q < pixels + taps - 1; q++, x += args.pixelX) {
          const Vec v = loadSpread<spread>(x, c, count, args.multiplier);
#pragma GCC unroll 8
          for (int t = 0; t < taps; t++)
            if (q - t >= 0 && q - t < pixels) sum[q - t] += v * row[t];
        }
      } else {
        for (int64_t tx = 0; tx < args.tapsX; tx++, w += args.colW, x += args.colX) {
          const Vec v = load(w, count);
          const float *pixel = x;
#pragma GCC unroll 8
          for (int p = 0; p < pixels; p++, pixel += args.pixelX)
            sum[p] += loadSpread<spread>(pixel, c, count, args.multiplier) * v;
        }
      }
    }
#pragma GCC unroll 8
    for (int p = 0; p < pixels; p++) store(to + p * pixelTo + c, sum[p], count);
  });
}

template <int taps, bool spread>
static void sweepPixels(const SweepArgs &args, int64_t pixels, float *to, int64_t pixelTo) {
  switch (pixels) {
#define GL_PIXELS(n) \
  case n:            \
    return sweepTaps<n, taps, spread>(args, to, pixelTo);
    GL_PIXELS(1) GL_PIXELS(2) GL_PIXELS(3) GL_PIXELS(4) GL_PIXELS(5) GL_PIXELS(6) GL_PIXELS(7) GL_PIXELS(8)
#undef GL_PIXELS
  }
}
template <bool spread>
GL_SIMD void sweepPixels(const SweepArgs &args, int64_t pixels, float *to, int64_t pixelTo) {
  if constexpr (!spread) {  // spreading costs more than reading again
    const bool shared = args.colX == args.pixelX;
    if (shared && args.tapsX == 3) return sweepPixels<3, false>(args, pixels, to, pixelTo);
    if (shared && args.tapsX == 5) return sweepPixels<5, false>(args, pixels, to, pixelTo);
  }
  sweepPixels<0, spread>(args, pixels, to, pixelTo);
}

// Units are stretches of rows of the grid. `spread`: the source has one channel for `multiplier` of the sums; `join`:
// the output has, and receives the sum of these.
template <bool spread, bool join>
GL_SIMD void sweepRows(const Op &op, const Sweep &s, int64_t multiplier, int64_t begin, int64_t end, float *scratch) {
  const Tensor &source = op.in[0], &w = op.in[1];
  SweepArgs args;
  args.channels = w.dims[3];
  args.multiplier = multiplier;
  const int64_t pixel = source.dims[3], outs = op.out[0].dims[3];
  args.rowX = s.y.tapStep * s.x.source * pixel;
  args.colX = s.x.tapStep * pixel;
  args.rowW = s.tapStepY * w.dims[1] * args.channels;
  args.colW = s.tapStepX * args.channels;
  args.pixelX = s.x.step * pixel;
  int64_t inner = 0, behind = s.x.grid;  // places whose taps all lie inside
  while (inner < behind && s.x.first + inner * s.x.step < 0) inner++;
  while (behind > inner && s.x.first + (behind - 1) * s.x.step + (s.x.taps - 1) * s.x.tapStep >= s.x.source) behind--;
  int64_t rowC[kTilePixels];
  for (int64_t row = begin * s.rowsPerUnit; row < smaller(end * s.rowsPerUnit, s.images * s.y.grid); row++) {
    const int64_t n = row / s.y.grid, y = row % s.y.grid;
    int64_t firstY, lastY, firstX, lastX;
    tapsInside(s.y, y, firstY, lastY);
    args.tapsY = lastY - firstY;
    for (int64_t x = 0, pixels; x < s.x.grid; x += pixels) {
      pixels = 1;
      if (x >= inner && x < behind) pixels = ceilDiv(behind - x, ceilDiv(behind - x, kTilePixels));
      tapsInside(s.x, x, firstX, lastX);
      args.tapsX = lastX - firstX;
      args.x = source.as<float>() + ((n * s.y.source + s.y.first + y * s.y.step + firstY * s.y.tapStep) * s.x.source +
                                     s.x.first + x * s.x.step + firstX * s.x.tapStep) *
                                        pixel;
      args.w =
          w.as<float>() + ((s.tapY + firstY * s.tapStepY) * w.dims[1] + s.tapX + firstX * s.tapStepX) * args.channels;
      for (int64_t p = 0; p < pixels; p++) rowC[p] = s.out.at(n, y, x + p);
      float *to = op.out[0].as<float>();
      if constexpr (join) {
        sweepPixels<spread>(args, pixels, scratch, args.channels);
        for (int64_t p = 0; p < pixels; p++)
          for (int64_t c = 0; c < outs; c++) {
            const float *parts = scratch + p * args.channels + c * multiplier;
            float sum = parts[0];
            for (int64_t i = 1; i < multiplier; i++) sum += parts[i];
            to[rowC[p] + c] = sum;
          }
      } else {
        sweepPixels<spread>(args, pixels, to + rowC[0], s.out.colStep);
      }
      finishTile(op, rowC, pixels, 0, outs);
    }
  }
}

GL_SIMD Sweep forwardSweep(const Op &op) {
  const Tensor &y = op.out[0];
  const Patches p = forwardPatches(op, op.in[0], op.in[1], y, 1);
  const int64_t co = y.dims[3];
  Sweep s = {p.y, p.x, 0, 1, 0, 1, y.dims[0], {0, y.dims[1] * y.dims[2] * co, y.dims[2] * co, co}, 0, 0};
  cutRows(s, co);
  return s;
}

static void depthwiseForward(const Op &op, int64_t begin, int64_t end, void *) {
  const Sweep s = forwardSweep(op);
  const int64_t multiplier = op.out[0].dims[3] / op.in[0].dims[3];
  if (multiplier == 1)
    sweepRows<false, false>(op, s, 1, begin, end, nullptr);
  else
    sweepRows<true, false>(op, s, multiplier, begin, end, nullptr);
}

// Calls visit(sweep) for the residues of the stride.
template <class Visit>
GL_SIMD void eachResidue(const Op &op, Visit visit) {
  namespace at = attr::conv2dInputGrad;
  const int64_t strideH = op.iattr(at::strideH), strideW = op.iattr(at::strideW);
  const Tensor &dx = op.out[0];
  const int64_t w = dx.dims[2], ci = dx.dims[3];
  for (int64_t ry = 0; ry < strideH; ry++)
    for (int64_t rx = 0; rx < strideW; rx++) {
      const ClassAxis y = classRows(op, ry), x = classCols(op, rx);
      Sweep s = {y.axis,     x.axis,
                 y.lastTap,  -y.tapStride,
                 x.lastTap,  -x.tapStride,
                 dx.dims[0], {(ry * w + rx) * ci, dx.dims[1] * w * ci, strideH * w * ci, strideW * ci},
                 0,          0};
      cutRows(s, op.in[0].dims[3]);
      visit(s);
    }
}

static void depthwiseInputGrad(const Op &op, int64_t begin, int64_t end, void *scratch) {
  const int64_t multiplier = op.in[0].dims[3] / op.out[0].dims[3];
  int64_t first = 0;
  eachResidue(op, [&](const Sweep &s) GL_LAMBDA {
    const int64_t from = larger(0, begin - first), to = smaller(s.units, end - first);
    if (multiplier == 1)
      sweepRows<false, false>(op, s, 1, from, to, nullptr);
    else
      sweepRows<false, true>(op, s, multiplier, from, to, static_cast<float *>(scratch));
    first += s.units;
  });
}

bool planDepthwise(const Op &op, KernelPlan &plan) {
  const int64_t groups = op.iattr(attr::conv2d::groups);
  const Tensor &w = op.code == OpCode::conv2dFilterGrad ? op.out[0] : op.in[1];
  const Tensor &y = op.code == OpCode::conv2d ? op.out[0] : op.code == OpCode::conv2dInputGrad ? op.in[0] : op.in[1];
  if (groups == 1 || w.dims[2] != 1) return false;
  const double time = static_cast<double>(w.dims[0] * w.dims[1]) * static_cast<double>(y.size) / kLanes * 0.5;
  plan = {};
  if (op.code == OpCode::conv2d) {
    plan.name = "conv2d depthwise";
    addPhase(plan, depthwiseForward, forwardSweep(op).units, time);
  } else if (op.code == OpCode::conv2dInputGrad) {
    plan.name = "conv2dInputGrad depthwise";
    int64_t units = 0;
    eachResidue(op, [&](const Sweep &s) GL_LAMBDA { units += s.units; });
    addPhase(plan, depthwiseInputGrad, units, time);
    plan.scratch = sizeof(float) * static_cast<size_t>(kTilePixels * y.dims[3]);
  } else {
    planDepthwiseFilterGrad(op, plan, time);
  }
  return true;
}

}  // namespace gradline::cpu::GL_ISA
