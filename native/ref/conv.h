// Convolution (cross-correlation, as in every deep learning library) over NHWC images and its two derivatives.
// All three are one set of products x * w summed into y; they differ in which of the three tensors receives the sum,
// so one walk over the products defines them and makes them adjoint by construction.
#pragma once
#include "epilogue.h"

namespace gradline::ref {

// x [n, h, w, ci], w [kh, kw, ci / groups, co], y [n, oh, ow, co]: calls visit(x offset, w offset, y offset) for every
// product. Taps outside x are left out; channel o of y belongs to group o / (co / groups) and sees only the channels of
// x of that group. The attributes stand in the same positions for the three ops.
template <class Visit>
void forEachProduct(const Op &op, const Tensor &x, const Tensor &w, const Tensor &y, Visit visit) {
  namespace a = attr::conv2d;
  const int64_t n = x.dims[0], h = x.dims[1], width = x.dims[2], ci = x.dims[3];
  const int64_t kh = w.dims[0], kw = w.dims[1], groupIn = w.dims[2], co = w.dims[3];
  const int64_t oh = y.dims[1], ow = y.dims[2], groups = op.iattr(a::groups), groupOut = co / groups;
  for (int64_t b = 0; b < n; b++)
    for (int64_t oy = 0; oy < oh; oy++)
      for (int64_t ox = 0; ox < ow; ox++)
        for (int64_t ky = 0; ky < kh; ky++)
          for (int64_t kx = 0; kx < kw; kx++) {
            const int64_t iy = oy * op.iattr(a::strideH) - op.iattr(a::padTop) + ky * op.iattr(a::dilationH);
            const int64_t ix = ox * op.iattr(a::strideW) - op.iattr(a::padLeft) + kx * op.iattr(a::dilationW);
            if (iy < 0 || iy >= h || ix < 0 || ix >= width) continue;
            const int64_t xPixel = ((b * h + iy) * width + ix) * ci, yPixel = ((b * oh + oy) * ow + ox) * co;
            for (int64_t g = 0; g < groups; g++)
              for (int64_t c = 0; c < groupIn; c++)
                for (int64_t o = g * groupOut; o < (g + 1) * groupOut; o++)
                  visit(xPixel + g * groupIn + c, ((ky * kw + kx) * groupIn + c) * co + o, yPixel + o);
          }
}

// x [n, h, w, ci], w [kh, kw, ci / groups, co] -> y [n, oh, ow, co]
template <class T>
void conv2d(const Op &op) {
  const T *x = op.in[0].as<T>(), *w = op.in[1].as<T>();
  T *y = op.out[0].as<T>();
  for (int64_t i = 0; i < op.out[0].size; i++) y[i] = 0;
  forEachProduct(op, op.in[0], op.in[1], op.out[0],
                 [=](int64_t ix, int64_t iw, int64_t iy) { y[iy] += x[ix] * w[iw]; });
  applyEpilogues<T>(op);
}

// dy [n, oh, ow, co], w [kh, kw, ci / groups, co] -> dx [n, h, w, ci]
template <class T>
void conv2dInputGrad(const Op &op) {
  const T *dy = op.in[0].as<T>(), *w = op.in[1].as<T>();
  T *dx = op.out[0].as<T>();
  for (int64_t i = 0; i < op.out[0].size; i++) dx[i] = 0;
  forEachProduct(op, op.out[0], op.in[1], op.in[0],
                 [=](int64_t ix, int64_t iw, int64_t iy) { dx[ix] += dy[iy] * w[iw]; });
  applyEpilogues<T>(op);
}

// x [n, h, w, ci], dy [n, oh, ow, co] -> dw [kh, kw, ci / groups, co]; where asked for: the sum over n, oh, ow of dy,
// [co]
template <class T>
void conv2dFilterGrad(const Op &op) {
  const T *x = op.in[0].as<T>(), *dy = op.in[1].as<T>();
  T *dw = op.out[0].as<T>();
  for (int64_t i = 0; i < op.out[0].size; i++) dw[i] = 0;
  forEachProduct(op, op.in[0], op.out[0], op.in[1],
                 [=](int64_t ix, int64_t iw, int64_t iy) { dw[iw] += x[ix] * dy[iy]; });
  if (op.outputs == 1) return;
  const int64_t co = op.in[1].channels();
  T *db = op.out[1].as<T>();
  for (int64_t o = 0; o < co; o++) db[o] = 0;
  for (int64_t i = 0; i < op.in[1].size; i++) db[i % co] += dy[i];
}

}  // namespace gradline::ref
