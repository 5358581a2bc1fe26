// What pooling (pool.cc) and its derivatives (poolGrad.cc) share: where windows lie, the walks over them and a rough
// clock. No kernel stands here.
#pragma once
#include "../simd.h"
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

GL_INLINE Geometry geometryOf(const Op &op, const Tensor &x, const Tensor &y) {
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

// Element i of a window of quads(), from its first element on.
GL_SIMD int64_t quadStep(const Geometry &g, int i) { return (i / 2 * g.w + i % 2) * g.c; }

// Calls visit(first element of x's window, first element of y's pixel) for rows [begin, end) of quads.
template <class Visit>
GL_SIMD void eachQuad(const Geometry &g, int64_t begin, int64_t end, Visit visit) {
  for (int64_t row = begin; row < end; row++)
    for (int64_t ox = 0; ox < g.ow; ox++) visit((2 * row * g.w + 2 * ox) * g.c, (row * g.ow + ox) * g.c);
}

GL_INLINE double timeOf(const Geometry &g, double tensors) {
  const double vectors = static_cast<double>(g.rows() * g.ow * ceilDiv(g.c, kLanes) * g.kernelH * g.kernelW);
  return streamTime(4.0 * static_cast<double>(g.n * g.h * g.w * g.c) * tensors) + vectors * 0.5;
}

}  // namespace
}  // namespace gradline::cpu::GL_ISA
