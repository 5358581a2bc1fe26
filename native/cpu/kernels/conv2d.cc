// conv2d: x [n, h, w, ci], w [kh, kw, ci / groups, co] -> y [n, oh, ow, co], with epilogues. One convolution of conv.h.
// Depthwise convolutions stand in depthwise.cc.
#include "conv.h"
#include "depthwise.h"
#include "winograd.h"

namespace gradline::cpu::GL_ISA {

GL_SIMD Convolution forwardOf(const Op &op) {
  const Tensor &y = op.out[0];
  const int64_t groups = op.iattr(attr::conv2d::groups), co = y.dims[3];
  return chooseMethod(forwardPatches(op, op.in[0], op.in[1], y, kBlockPlaces), groups, co / groups,
                      {0, y.dims[1] * y.dims[2] * co, y.dims[2] * co, co}, 1);
}

// A unit is a tap.
static void packNarrow(const Op &op, int64_t begin, int64_t end, void *) {
  const Convolution s = forwardOf(op);
  for (int64_t tap = begin; tap < end; tap++)
    packNarrowTap(s.p, tap / s.p.x.taps, tap % s.p.x.taps, s.outs, op.in[1].as<float>() + tap * s.p.channels * s.outs,
                  1, s.outs, static_cast<float *>(op.workspace));
}

static void convolve(const Op &op, int64_t begin, int64_t end, void *scratch) {
  const Convolution s = forwardOf(op);
  const float *w = s.method == Method::narrow ? static_cast<float *>(op.workspace) : op.in[1].as<float>();
  convolveUnits(op, s, {w, s.outs, s.groups * s.outs, kTileCols}, begin, end, scratch);
}

bool planConv2d(const Op &op, KernelPlan &plan) {
  if (!allF32(op) || op.in[0].size == 0 || op.in[1].size == 0 || op.out[0].size == 0) return false;
  if (planDepthwise(op, plan) || (op.numerics == Numerics::fast && planWinograd(op, plan))) return true;
  const Convolution s = forwardOf(op);
  plan = {};
  plan.name = "conv2d";
  if (s.method == Method::narrow) {
    const int64_t floats = narrowFilterSize(s.p, s.outs);
    plan.workspace = sizeof(float) * static_cast<size_t>(floats);
    addPhase(plan, packNarrow, s.p.y.taps * s.p.x.taps, static_cast<double>(floats));
  }
  addPhase(plan, convolve, s.units(), convolutionTime(op.in[1], op.out[0]));
  plan.scratch = scratchBytes(s);
  return true;
}

}  // namespace gradline::cpu::GL_ISA
