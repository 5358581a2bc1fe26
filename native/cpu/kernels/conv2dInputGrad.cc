// conv2dInputGrad: dy [n, oh, ow, co], w [kh, kw, ci / groups, co] -> dx [n, h, w, ci], with epilogues. A convolution
// of conv.h with stride 1 for each residue of the stride: of every strideH x strideW pixels of dx, those at one place
// in the grid (a class) meet the same taps.
#include "conv.h"
#include "depthwise.h"
#include "residues.h"
#include "winograd.h"

namespace gradline::cpu::GL_ISA {

struct InputGrad {
  int64_t strideH, strideW, groups, ci, co, kh, kw, groupIn, groupOut, panels;
  bool narrow;
  int64_t perTap;  // floats of packed w
};

GL_SIMD InputGrad inputGradOf(const Op &op) {
  namespace at = attr::conv2dInputGrad;
  InputGrad s;
  s.strideH = op.iattr(at::strideH);
  s.strideW = op.iattr(at::strideW);
  s.groups = op.iattr(at::groups);
  s.ci = op.out[0].dims[3];
  s.co = op.in[0].dims[3];
  s.kh = op.in[1].dims[0];
  s.kw = op.in[1].dims[1];
  s.groupIn = op.in[1].dims[2];
  s.groupOut = s.co / s.groups;
  s.panels = ceilDiv(s.groupIn, kTileCols);
  s.narrow = s.groups == 1 && isNarrow(s.co, s.ci);
  s.perTap = s.narrow ? ceilDiv(s.co, kLanes) * s.ci * kLanes : s.groups * s.panels * s.groupOut * kTileCols;
  return s;
}

GL_SIMD Convolution convolutionOf(const Op &op, const InputGrad &s, int64_t residueY, int64_t residueX) {
  const int64_t h = op.out[0].dims[1], w = op.out[0].dims[2];
  Patches p;
  p.y = classRows(op, residueY).axis;
  p.x = classCols(op, residueX).axis;
  p.images = op.out[0].dims[0];
  p.channels = s.co;
  p.groupChannels = s.groupOut;
  return chooseMethod(p, s.groups, s.groupIn,
                      {(residueY * w + residueX) * s.ci, h * w * s.ci, s.strideH * w * s.ci, s.strideW * s.ci},
                      s.strideH * s.strideW);
}

// Packed w: class after class (residues of rows, then of columns); in a class group after group, panel after panel of
// input channels, and in a panel the taps of the class from the last to the first with the output channels of each; or
// as narrow.h wants it.
GL_SIMD int64_t classOffset(const InputGrad &s, const ClassAxis &y, const ClassAxis &x) {
  return (y.tapsBefore * s.kw + y.axis.taps * x.tapsBefore) * s.perTap;
}

// A unit is one panel of one tap of one group: w[ky, kx, :, group] [groupIn, groupOut] transposed.
static void packFilter(const Op &op, int64_t begin, int64_t end, void *) {
  namespace at = attr::conv2dInputGrad;
  const InputGrad s = inputGradOf(op);
  for (int64_t u = begin; u < end; u++) {
    const int64_t panel = u % s.panels, tap = u / s.panels % (s.kh * s.kw), g = u / s.panels / (s.kh * s.kw);
    const int64_t ky = tap / s.kw, kx = tap % s.kw;
    const int64_t residueY = residueOf(ky, s.strideH, op.iattr(at::dilationH), op.iattr(at::padTop));
    const int64_t residueX = residueOf(kx, s.strideW, op.iattr(at::dilationW), op.iattr(at::padLeft));
    const ClassAxis y = classRows(op, residueY), x = classCols(op, residueX);
    const int64_t placeY = y.tapStride > 0 ? (y.lastTap - ky) / y.tapStride : 0;
    const int64_t placeX = x.tapStride > 0 ? (x.lastTap - kx) / x.tapStride : 0;
    const int64_t taps = y.axis.taps * x.axis.taps, col = panel * kTileCols;
    const float *source = op.in[1].as<float>() + (tap * s.groupIn + col) * s.co + g * s.groupOut;
    float *packed = static_cast<float *>(op.workspace) + classOffset(s, y, x);
    if (s.narrow)
      packNarrowTap(convolutionOf(op, s, residueY, residueX).p, placeY, placeX, s.ci, source, s.co, 1, packed);
    else
      packTransposed(source, s.co, smaller(kTileCols, s.groupIn - col), s.groupOut,
                     packed + ((g * s.panels + panel) * taps + placeY * x.axis.taps + placeX) * s.groupOut * kTileCols);
  }
}

// Calls visit(convolution, its packed filter) for the classes that have pixels.
template <class Visit>
GL_SIMD void eachClass(const Op &op, const InputGrad &s, Visit visit) {
  for (int64_t ry = 0; ry < s.strideH; ry++)
    for (int64_t rx = 0; rx < s.strideW; rx++) {
      const Convolution c = convolutionOf(op, s, ry, rx);
      if (c.p.y.grid == 0 || c.p.x.grid == 0) continue;
      visit(c, classOffset(s, classRows(op, ry), classCols(op, rx)));
    }
}

// Units: classes in order, in each its blocks times parts of the input channels.
static void convolveClasses(const Op &op, int64_t begin, int64_t end, void *scratch) {
  const InputGrad s = inputGradOf(op);
  int64_t first = 0;
  eachClass(op, s, [&](const Convolution &c, int64_t offset) GL_LAMBDA {
    const int64_t panel = c.p.depth() * kTileCols;
    convolveUnits(op, c, {static_cast<float *>(op.workspace) + offset, s.panels * panel, kTileCols, panel},
                  larger(0, begin - first), smaller(c.units(), end - first), scratch);
    first += c.units();
  });
}

bool planConv2dInputGrad(const Op &op, KernelPlan &plan) {
  if (!allF32(op) || op.in[0].size == 0 || op.in[1].size == 0 || op.out[0].size == 0) return false;
  if (planDepthwise(op, plan) || (op.numerics == Numerics::fast && planWinograd(op, plan))) return true;
  const InputGrad s = inputGradOf(op);
  plan = {};
  plan.name = "conv2dInputGrad";
  int64_t units = 0;
  eachClass(op, s, [&](const Convolution &c, int64_t) GL_LAMBDA {
    units += c.units();
    plan.scratch = scratchBytes(c) > plan.scratch ? scratchBytes(c) : plan.scratch;
  });
  const int64_t packed = s.kh * s.kw * s.perTap;
  plan.workspace = sizeof(float) * static_cast<size_t>(packed);
  addPhase(plan, packFilter, s.groups * s.kh * s.kw * s.panels, static_cast<double>(packed) * 0.15);
  addPhase(plan, convolveClasses, units, convolutionTime(op.in[1], op.in[0]));
  return true;
}

}  // namespace gradline::cpu::GL_ISA
