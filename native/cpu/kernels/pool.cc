// Pooling of f32 NHWC images, vectorised over channels; its derivatives stand in poolGrad.cc. A unit is a group of
// output rows. The commonest windows, 2x2 side by side, have a loop of their own.
#include "pool.h"

namespace gradline::cpu::GL_ISA {
namespace {

template <Kind kind>
void runForward(const Op &op, int64_t begin, int64_t end, void *) {
  const Geometry g = geometryOf(op, op.in[0], op.out[0]);
  eachWindow(g, begin * g.rowsPerUnit, smaller(end * g.rowsPerUnit, g.rows()),
             [&](int64_t image, const Window &window, int64_t at) GL_LAMBDA {
               const float *x = op.in[0].as<float>() + image * g.h * g.w * g.c;
               float *y = op.out[0].as<float>() + at;
               const Vec divisor = set1(kind == Kind::average ? divisorOf(op, g, window) : 1.0f);
               eachVec(g.c, [&](int64_t channel, int64_t count) GL_LAMBDA {
                 Vec value = set1(kind == Kind::max ? -__builtin_inff() : 0.0f);
                 for (int64_t r = window.top; r < window.bottom; r++)
                   for (int64_t q = window.left; q < window.right; q++) {
                     const Vec element = load(x + (r * g.w + q) * g.c + channel, count);
                     value = kind == Kind::max ? maxOrNan(value, element) : value + element;
                   }
                 store(y + channel, kind == Kind::max ? value : value / divisor, count);
               });
             });
}

template <Kind kind>
void runForwardQuads(const Op &op, int64_t begin, int64_t end, void *) {
  const Geometry g = geometryOf(op, op.in[0], op.out[0]);
  eachQuad(g, begin * g.rowsPerUnit, smaller(end * g.rowsPerUnit, g.rows()), [&](int64_t from, int64_t at) GL_LAMBDA {
    const float *x = op.in[0].as<float>() + from;
    float *y = op.out[0].as<float>() + at;
    eachVec(g.c, [&](int64_t channel, int64_t count) GL_LAMBDA {
      Vec value = load(x + channel, count);
      if constexpr (kind == Kind::average) value = value + 0.0f;
#pragma GCC unroll 3
      for (int i = 1; i < 4; i++) {
        const Vec element = load(x + quadStep(g, i) + channel, count);
        value = kind == Kind::max ? maxOrNan(value, element) : value + element;
      }
      store(y + channel, kind == Kind::max ? value : value * 0.25f, count);
    });
  });
}

template <Kind kind>
bool planForward(const Op &op, KernelPlan &plan) {
  if (!allF32(op) || op.in[0].size == 0) return false;
  const Geometry g = geometryOf(op, op.in[0], op.out[0]);
  if (g.quads())
    onePhase(plan, "channels, 2x2", runForwardQuads<kind>, g.units(), timeOf(g, 1.25) / 2);
  else
    onePhase(plan, "channels", runForward<kind>, g.units(), timeOf(g, 1.25));
  byRows(plan, g.rows(), g.rowsPerUnit, (g.ownRows() ? inputBit(0) : 0) | outputBit(0));
  return true;
}

}  // namespace

bool planMaxPool2d(const Op &op, KernelPlan &plan) { return planForward<Kind::max>(op, plan); }
bool planAvgPool2d(const Op &op, KernelPlan &plan) { return planForward<Kind::average>(op, plan); }

}  // namespace gradline::cpu::GL_ISA
