// The input gradient of a strided convolution, taken apart: of every strideH x strideW pixels of dx, those at one place
// in the grid (a class) meet the same taps of w and make a convolution with stride 1. Here are the axes of one class;
// what is summed along them stands in conv2dInputGrad.cc and depthwise.cc.
#pragma once
#include "../gemm/patches.h"

namespace gradline::cpu::GL_ISA {

// One axis of one class: pixels residue, residue + stride, ... of dx; taps that meet them, and where in dy they look.
struct ClassAxis {
  Axis axis;
  int64_t lastTap, tapStride;  // of w; the class meets taps lastTap, lastTap - tapStride, ...
  int64_t tapsBefore;          // taps of the classes with a smaller residue
};

GL_SIMD int64_t residueOf(int64_t tap, int64_t stride, int64_t dilation, int64_t pad) {
  const int64_t r = (tap * dilation - pad) % stride;
  return r < 0 ? r + stride : r;
}

GL_SIMD ClassAxis classAxis(int64_t residue, int64_t size, int64_t source, int64_t taps, int64_t stride,
                            int64_t dilation, int64_t pad) {
  ClassAxis c = {};
  int64_t count = 0, first = 0;
  for (int64_t t = 0; t < taps; t++) {
    const int64_t r = residueOf(t, stride, dilation, pad);
    c.tapsBefore += r < residue;
    if (r != residue) continue;
    if (count == 0) first = t;
    if (count == 1) c.tapStride = t - first;
    c.lastTap = t;
    count++;
  }
  // Pixel residue + i * stride of dx meets tap t of place (residue + pad - t * dilation) / stride + i of dy.
  c.axis = {
      residue < size ? ceilDiv(size - residue, stride) : 0,           source, count, 1, c.tapStride * dilation / stride,
      count > 0 ? (residue + pad - c.lastTap * dilation) / stride : 0};
  return c;
}

GL_SIMD ClassAxis classRows(const Op &op, int64_t residue) {
  namespace at = attr::conv2dInputGrad;
  return classAxis(residue, op.out[0].dims[1], op.in[0].dims[1], op.in[1].dims[0], op.iattr(at::strideH),
                   op.iattr(at::dilationH), op.iattr(at::padTop));
}
GL_SIMD ClassAxis classCols(const Op &op, int64_t residue) {
  namespace at = attr::conv2dInputGrad;
  return classAxis(residue, op.out[0].dims[2], op.in[0].dims[2], op.in[1].dims[1], op.iattr(at::strideW),
                   op.iattr(at::dilationW), op.iattr(at::padLeft));
}

}  // namespace gradline::cpu::GL_ISA
