// The derivatives of pooling with epilogues, vectorised over channels. Windows that do not overlap are taken by groups
// of output rows; those that do add into each other, so there a unit is a whole image. The commonest windows, 2x2 side
// by side, have a loop of their own.
#include "activation.h"
#include "pool.h"

namespace gradline::cpu::GL_ISA {
namespace {

// Epilogue e of `op` on the pixels [begin, end) of dx, which are in a cache.
GL_SIMD void applyEpilogue(const Op &op, int e, int64_t begin, int64_t end) {
  const Epilogue &epilogue = op.epilogue[e];
  const int64_t c = op.out[0].channels();
  const float attr = static_cast<float>(epilogue.attr);
  const bool isRow = epilogue.hasOperand && epilogue.operand.size != op.out[0].size;
  const int64_t length = isRow ? c : (end - begin) * c;
  float *dx = op.out[0].as<float>() + begin * c;
  // Without an operand dx stands for it: read but not used.
  const float *b = epilogue.hasOperand ? epilogue.operand.as<float>() + (isRow ? 0 : begin * c) : dx;
  withEpilogueCode(epilogue.code, [&](auto code) GL_LAMBDA {
    for (int64_t at = 0; at < (end - begin) * c; at += length)
      eachVec(length, [&](int64_t i, int64_t count) GL_LAMBDA {
        store(dx + at + i, activate<decltype(code)::value>(load(dx + at + i, count), load(b + i, count), attr), count);
      });
  });
}

// Lanes of `v` that are what a window's gradient goes to: the largest, or NaN where that is NaN.
GL_SIMD IVec wins(Vec v, Vec largest) { return (v == largest) | ((v != v) & (largest != largest)); }

// Adds dy to dx over the windows of rows [begin, end). Without overlap each element is written once.
template <Kind kind, bool overlapping>
GL_SIMD void scatter(const Op &op, const Geometry &g, int64_t begin, int64_t end) {
  eachWindow(g, begin, end, [&](int64_t image, const Window &window, int64_t at) GL_LAMBDA {
    const int64_t start = image * g.h * g.w * g.c;
    const float *dy = op.in[0].as<float>() + at;
    const float *x = kind == Kind::max ? op.in[1].as<float>() + start : nullptr;
    const float *y = kind == Kind::max ? op.in[2].as<float>() + at : nullptr;
    float *dx = op.out[0].as<float>() + start;
    const Vec divisor = set1(kind == Kind::average ? divisorOf(op, g, window) : 1.0f);
    eachVec(g.c, [&](int64_t channel, int64_t count) GL_LAMBDA {
      Vec share = load(dy + channel, count), largest = share;
      if constexpr (kind == Kind::average) share = share / divisor;
      if constexpr (kind == Kind::max) largest = load(y + channel, count);
      IVec open = set1(-1);  // lanes whose largest element has not been met yet
      for (int64_t r = window.top; r < window.bottom; r++)
        for (int64_t q = window.left; q < window.right; q++) {
          const int64_t element = (r * g.w + q) * g.c + channel;
          Vec value = share;
          if constexpr (kind == Kind::max) {
            const Vec v = load(x + element, count);
            const IVec hit = wins(v, largest) & open;
            open &= ~hit;
            value = select(hit, share, set1(0.0f));
          }
          if constexpr (overlapping) value += load(dx + element, count);
          store(dx + element, value, count);
        }
    });
  });
}

GL_SIMD void clear(float *p, int64_t n) {
  eachVec(n, [&](int64_t i, int64_t count) GL_LAMBDA { store(p + i, set1(0.0f), count); });
}

template <Kind kind>
GL_SIMD Geometry backwardGeometry(const Op &op) {
  return geometryOf(op, op.out[0], kind == Kind::max ? op.in[2] : op.in[0]);
}

// Units are groups of window rows. A row owns the rows of dx from its own top to the next row's.
template <Kind kind>
void runBackwardRows(const Op &op, int64_t begin, int64_t end, void *) {
  const Geometry g = backwardGeometry<kind>(op);
  const int64_t first = begin * g.rowsPerUnit, stop = smaller(end * g.rowsPerUnit, g.rows());
  const auto topOf = [&](int64_t row) GL_LAMBDA {
    const int64_t oy = row % g.oh;
    return row / g.oh * g.h + (oy == 0 ? 0 : smaller(larger(oy * g.strideH - g.padTop, 0), g.h));
  };
  const int64_t top = topOf(first) * g.w, bottom = topOf(stop) * g.w;  // pixels
  if (!g.tiling()) clear(op.out[0].as<float>() + top * g.c, (bottom - top) * g.c);
  scatter<kind, false>(op, g, first, stop);
  for (int e = 0; e < op.epilogues; e++) applyEpilogue(op, e, top, bottom);
}

template <Kind kind>
void runBackwardImages(const Op &op, int64_t begin, int64_t end, void *) {
  const Geometry g = backwardGeometry<kind>(op);
  const int64_t size = g.h * g.w;
  for (int64_t image = begin; image < end; image++) {
    clear(op.out[0].as<float>() + image * size * g.c, size * g.c);
    scatter<kind, true>(op, g, image * g.oh, (image + 1) * g.oh);
    for (int e = 0; e < op.epilogues; e++) applyEpilogue(op, e, image * size, (image + 1) * size);
  }
}

// The first epilogue is applied in registers when it reads an operand of the size of dx, as the derivative of an
// activation does: `first` is its code, or copy.
GL_SIMD bool firstInRegisters(const Op &op) {
  return op.epilogues > 0 && op.epilogue[0].hasOperand && op.epilogue[0].operand.size == op.out[0].size;
}

template <Kind kind, OpCode first>
void runBackwardQuads(const Op &op, int64_t begin, int64_t end, void *) {
  const Geometry g = backwardGeometry<kind>(op);
  const int64_t top = begin * g.rowsPerUnit, bottom = smaller(end * g.rowsPerUnit, g.rows());
  const float attr = static_cast<float>(op.epilogue[0].attr);
  // The derivative of an activation reads the very x that the pool read.
  const bool readsX = kind == Kind::max && first != OpCode::copy && op.epilogue[0].operand.data == op.in[1].data;
  for (int64_t row = top; row < bottom; row += g.rowsPerUnit) {
    const int64_t stop = smaller(row + g.rowsPerUnit, bottom);
    eachQuad(g, row, stop, [&](int64_t to, int64_t at) GL_LAMBDA {
      const float *dy = op.in[0].as<float>() + at;
      const float *x = kind == Kind::max ? op.in[1].as<float>() + to : nullptr;
      const float *y = kind == Kind::max ? op.in[2].as<float>() + at : nullptr;
      const float *operand = first == OpCode::copy ? nullptr : op.epilogue[0].operand.as<float>() + to;
      float *dx = op.out[0].as<float>() + to;
      eachVec(g.c, [&](int64_t channel, int64_t count) GL_LAMBDA {
        const Vec share = kind == Kind::max ? load(dy + channel, count) : load(dy + channel, count) * 0.25f;
        Vec value[4] = {share, share, share, share}, element[4] = {};
        if constexpr (kind == Kind::max) {
          const Vec largest = load(y + channel, count);
          IVec open = set1(-1);  // lanes whose largest element has not been met yet
#pragma GCC unroll 4
          for (int i = 0; i < 4; i++) {
            element[i] = load(x + quadStep(g, i) + channel, count);
            const IVec hit = wins(element[i], largest) & open;
            open &= ~hit;
            value[i] = select(hit, share, set1(0.0f));
          }
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
          if constexpr (first != OpCode::copy) {
            const Vec other = readsX ? element[i] : load(operand + quadStep(g, i) + channel, count);
            value[i] = activate<first>(value[i], other, attr);
          }
          store(dx + quadStep(g, i) + channel, value[i], count);
        }
      });
    });
    for (int e = first == OpCode::copy ? 0 : 1; e < op.epilogues; e++)
      applyEpilogue(op, e, 2 * row * g.w, 2 * stop * g.w);
  }
}

template <Kind kind>
bool planBackward(const Op &op, KernelPlan &plan) {
  if (!allF32(op) || op.in[0].size == 0 || op.out[0].size == 0) return false;
  const Geometry g = backwardGeometry<kind>(op);
  const uint32_t ofWindows = kind == Kind::max ? inputBit(0) | inputBit(2) : inputBit(0);
  const uint32_t ofPixels = kind == Kind::max ? inputBit(1) | outputBit(0) : outputBit(0);
  if (g.overlapping()) {
    onePhase(plan, "channels, images", runBackwardImages<kind>, g.n, timeOf(g, 3));
    byRows(plan, g.n, 1, ofWindows | ofPixels);
    return true;
  }
  if (g.quads()) {
    RunFn run = runBackwardQuads<kind, OpCode::copy>;
    if (firstInRegisters(op))
      withEpilogueCode(op.epilogue[0].code,
                       [&](auto code) GL_LAMBDA { run = runBackwardQuads<kind, decltype(code)::value>; });
    onePhase(plan, "channels, 2x2", run, g.units(), timeOf(g, 2.5) / 2);
  } else {
    onePhase(plan, "channels", runBackwardRows<kind>, g.units(), timeOf(g, 2.5));
  }
  byRows(plan, g.rows(), g.rowsPerUnit, ofWindows | (g.ownRows() ? ofPixels : 0));
  return true;
}

}  // namespace

bool planMaxPool2dGrad(const Op &op, KernelPlan &plan) { return planBackward<Kind::max>(op, plan); }
bool planAvgPool2dGrad(const Op &op, KernelPlan &plan) { return planBackward<Kind::average>(op, plan); }

}  // namespace gradline::cpu::GL_ISA
