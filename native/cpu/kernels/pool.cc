// Pooling of f32 NHWC images and its derivatives with epilogues, vectorised over channels. A forward unit is a group of
// output rows. Backward, windows that do not overlap are also taken by output rows; those that do add into each other,
// so there a unit is a whole image. The commonest windows, 2x2 side by side, have loops of their own.
#include "activation.h"
#include "kernels.h"

namespace gradline::cpu::GL_ISA {
namespace {

enum class Kind { max, average };

// The first six attributes stand in the same positions for the four ops.
struct Geometry {
  int64_t n, h, w, c, oh, ow;
  int64_t kernelH, kernelW, strideH, strideW, padTop, padLeft;
  int64_t rowsPerUnit;

  GL_INLINE int64_t rows() const { return n * oh; }  // of windows, over all images
  GL_INLINE int64_t units() const { return ceilDiv(rows(), rowsPerUnit); }
  // Row oy of the windows meets just the rows [oy * strideH, (oy + 1) * strideH) of x.
  GL_INLINE bool ownRows() const { return padTop == 0 && kernelH <= strideH && oh * strideH == h; }
  GL_INLINE bool overlapping() const { return kernelH > strideH || kernelW > strideW; }
  // Every element of x lies in exactly one window, so backward need not clear dx.
  GL_INLINE bool tiling() const {
    return kernelH == strideH && kernelW == strideW && padTop == 0 && padLeft == 0 && oh * kernelH >= h &&
           ow * kernelW >= w;
  }
  // 2x2 side by side and all of them whole: the rows of row i of windows are rows 2 i and 2 i + 1 of x, over all
  // images.
  GL_INLINE bool quads() const {
    return kernelH == 2 && kernelW == 2 && strideH == 2 && strideW == 2 && padTop == 0 && padLeft == 0 && h == 2 * oh &&
           w == 2 * ow;
  }
};

Geometry geometryOf(const Op &op, const Tensor &x, const Tensor &y) {
  namespace a = attr::maxPool2d;
  Geometry g = {x.dims[0],
                x.dims[1],
                x.dims[2],
                x.dims[3],
                y.dims[1],
                y.dims[2],
                op.iattr(a::kernelH),
                op.iattr(a::kernelW),
                op.iattr(a::strideH),
                op.iattr(a::strideW),
                op.iattr(a::padTop),
                op.iattr(a::padLeft),
                1};
  const int64_t rowSize = g.ow * g.c * smaller(g.kernelH, g.strideH) * smaller(g.kernelW, g.strideW);
  g.rowsPerUnit = larger(1, kChunk / larger(rowSize, 1));
  return g;
}

// Rows [top, bottom) and columns [left, right) of one image.
struct Window {
  int64_t top, bottom, left, right;
};

GL_SIMD Window windowAt(const Geometry &g, int64_t oy, int64_t ox) {
  const int64_t top = oy * g.strideH - g.padTop, left = ox * g.strideW - g.padLeft;
  return {larger(top, 0), smaller(top + g.kernelH, g.h), larger(left, 0), smaller(left + g.kernelW, g.w)};
}

GL_SIMD float divisorOf(const Op &op, const Geometry &g, const Window &window) {
  const bool whole = op.attr[attr::avgPool2d::countPadding] != 0;
  return static_cast<float>(whole ? g.kernelH * g.kernelW
                                  : (window.bottom - window.top) * (window.right - window.left));
}

// Calls visit(image, window, first element of y's pixel) for the windows of rows [begin, end) of all images.
template <class Visit>
GL_SIMD void eachWindow(const Geometry &g, int64_t begin, int64_t end, Visit visit) {
  for (int64_t row = begin; row < end; row++)
    for (int64_t ox = 0; ox < g.ow; ox++) visit(row / g.oh, windowAt(g, row % g.oh, ox), (row * g.ow + ox) * g.c);
}

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

// The four elements of a window of quads(), from its first element on.
struct Quad {
  int64_t at[4];
};
GL_SIMD Quad quadOf(const Geometry &g) { return {{0, g.c, g.w * g.c, (g.w + 1) * g.c}}; }

// Calls visit(first element of x's window, first element of y's pixel) for rows [begin, end) of quads.
template <class Visit>
GL_SIMD void eachQuad(const Geometry &g, int64_t begin, int64_t end, Visit visit) {
  for (int64_t row = begin; row < end; row++)
    for (int64_t ox = 0; ox < g.ow; ox++) visit((2 * row * g.w + 2 * ox) * g.c, (row * g.ow + ox) * g.c);
}

template <Kind kind>
void runForwardQuads(const Op &op, int64_t begin, int64_t end, void *) {
  const Geometry g = geometryOf(op, op.in[0], op.out[0]);
  const Quad quad = quadOf(g);
  eachQuad(g, begin * g.rowsPerUnit, smaller(end * g.rowsPerUnit, g.rows()), [&](int64_t from, int64_t at) GL_LAMBDA {
    const float *x = op.in[0].as<float>() + from;
    float *y = op.out[0].as<float>() + at;
    eachVec(g.c, [&](int64_t channel, int64_t count) GL_LAMBDA {
      Vec value = load(x + channel, count);
      if constexpr (kind == Kind::average) value = value + 0.0f;
#pragma GCC unroll 3
      for (int i = 1; i < 4; i++) {
        const Vec element = load(x + quad.at[i] + channel, count);
        value = kind == Kind::max ? maxOrNan(value, element) : value + element;
      }
      store(y + channel, kind == Kind::max ? value : value * 0.25f, count);
    });
  });
}

// ---- Derivatives

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
  const Quad quad = quadOf(g);
  const int64_t top = begin * g.rowsPerUnit, bottom = smaller(end * g.rowsPerUnit, g.rows());
  const float attr = static_cast<float>(op.epilogue[0].attr);
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
        Vec value[4] = {share, share, share, share};
        if constexpr (kind == Kind::max) {
          const Vec largest = load(y + channel, count);
          IVec open = set1(-1);  // lanes whose largest element has not been met yet
#pragma GCC unroll 4
          for (int i = 0; i < 4; i++) {
            const IVec hit = wins(load(x + quad.at[i] + channel, count), largest) & open;
            open &= ~hit;
            value[i] = select(hit, share, set1(0.0f));
          }
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
          if constexpr (first != OpCode::copy)
            value[i] = activate<first>(value[i], load(operand + quad.at[i] + channel, count), attr);
          store(dx + quad.at[i] + channel, value[i], count);
        }
      });
    });
    for (int e = first == OpCode::copy ? 0 : 1; e < op.epilogues; e++)
      applyEpilogue(op, e, 2 * row * g.w, 2 * stop * g.w);
  }
}

double timeOf(const Geometry &g, double tensors) {
  const double vectors = static_cast<double>(g.rows() * g.ow * ceilDiv(g.c, kLanes) * g.kernelH * g.kernelW);
  return streamTime(4.0 * static_cast<double>(g.n * g.h * g.w * g.c) * tensors) + vectors * 0.5;
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

bool planMaxPool2d(const Op &op, KernelPlan &plan) { return planForward<Kind::max>(op, plan); }
bool planMaxPool2dGrad(const Op &op, KernelPlan &plan) { return planBackward<Kind::max>(op, plan); }
bool planAvgPool2d(const Op &op, KernelPlan &plan) { return planForward<Kind::average>(op, plan); }
bool planAvgPool2dGrad(const Op &op, KernelPlan &plan) { return planBackward<Kind::average>(op, plan); }

}  // namespace gradline::cpu::GL_ISA
