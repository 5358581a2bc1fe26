// Convolution over NHWC images and its two derivatives as implicit matrix products: the tile of tile.cuh over patches
// that are never written out. Filter gradients, whose common length is all pixels, are split and merged in order.
#pragma once
#include "tile.cuh"

namespace gradline::cuda {

// Sizes of x [n, h, w, ci], w [kh, kw, ci / groups, co], y [n, oh, ow, co].
struct Geometry {
  int h, w, ci, oh, ow, co, kh, kw;
  int groupIn, groupOut, groupCount;
  int strideH, strideW, padTop, padLeft, dilationH, dilationW;
};

// What the three have in common: a row of A that is a pixel, and a place along k that is a tap and a channel.
struct Patches {
  Geometry s;
  int m, n, k;

  GL_INLINE int groups() const { return s.groupCount; }
  // Tap and channel of place `at` along a length of taps * channels.
  GPU_DEVICE Step tap(int at, int channels) const {
    const int t = at / channels, ky = t / s.kw;
    return {at - t * channels, ky * s.dilationH, (t - ky * s.kw) * s.dilationW};
  }
  // Pixel `at` of y: where its window begins in x.
  GPU_DEVICE Line window(int at) const {
    const int image = at / (s.oh * s.ow), pixel = at - image * s.oh * s.ow, oy = pixel / s.ow;
    return {image * s.h, oy * s.strideH - s.padTop, (pixel - oy * s.ow) * s.strideW - s.padLeft};
  }
};

// y [pixels of y, co] = patches of x [pixels of y, taps * ci] * w [taps * ci, co]
struct Conv2d : Patches {
  static constexpr bool kAByK = true, kBByK = false, kSums = false;
  Global<const float> x, filter;
  Global<float> y;
  Epilogues epilogues;

  GPU_DEVICE Line lineA(int row) const { return window(row); }
  GPU_DEVICE Line lineB(int column) const { return {blockZ() * s.groupOut + column, 0, 0}; }
  GPU_DEVICE Step stepA(int at) const { return tap(at, s.groupIn); }
  GPU_DEVICE Step stepB(int at) const { return {at * s.co, 0, 0}; }
  GPU_DEVICE Global<const float> left() const { return x; }
  GPU_DEVICE Global<const float> right() const { return filter; }
  GPU_DEVICE int placeA(const Line &line, const Step &step) const {
    const int iy = line.y + step.y, ix = line.x + step.x;
    if (iy < 0 || iy >= s.h || ix < 0 || ix >= s.w) return -1;
    return ((line.base + iy) * s.w + ix) * s.ci + blockZ() * s.groupIn + step.offset;
  }
  GPU_DEVICE int placeB(const Line &line, const Step &step) const { return step.offset + line.base; }
  GPU_DEVICE void store(int group, int row, int column, float value) const {
    const int channel = group * s.groupOut + column, i = row * s.co + channel;
    y[i] = applyEpilogues(epilogues, value, i, channel, s.co);
  }
};

// dx [pixels of x, ci] = dy where a tap leads there [pixels of x, taps * co] * w transposed
struct Conv2dInputGrad : Patches {
  static constexpr bool kAByK = true, kBByK = true, kSums = false;
  Global<const float> dy, filter;
  Global<float> dx;
  Epilogues epilogues;

  GPU_DEVICE Line lineA(int row) const {
    const int image = row / (s.h * s.w), pixel = row - image * s.h * s.w, iy = pixel / s.w;
    return {image * s.oh, iy + s.padTop, pixel - iy * s.w + s.padLeft};
  }
  GPU_DEVICE Line lineB(int column) const { return {column * s.co + blockZ() * s.groupOut, 0, 0}; }
  GPU_DEVICE Step stepA(int at) const { return tap(at, s.groupOut); }
  GPU_DEVICE Step stepB(int at) const {
    const int t = at / s.groupOut;
    return {t * s.groupIn * s.co + at - t * s.groupOut, 0, 0};
  }
  GPU_DEVICE Global<const float> left() const { return dy; }
  GPU_DEVICE Global<const float> right() const { return filter; }
  GPU_DEVICE int placeA(const Line &line, const Step &step) const {
    const int ty = line.y - step.y, tx = line.x - step.x;
    if (ty < 0 || tx < 0) return -1;
    const int oy = ty / s.strideH, ox = tx / s.strideW;
    if (oy * s.strideH != ty || ox * s.strideW != tx || oy >= s.oh || ox >= s.ow) return -1;
    return ((line.base + oy) * s.ow + ox) * s.co + blockZ() * s.groupOut + step.offset;
  }
  GPU_DEVICE int placeB(const Line &line, const Step &step) const { return line.base + step.offset; }
  GPU_DEVICE void store(int group, int row, int column, float value) const {
    const int channel = group * s.groupIn + column, i = row * s.ci + channel;
    dx[i] = applyEpilogues(epilogues, value, i, channel, s.ci);
  }
};

// dw [taps * ci, co] = patches of x transposed [taps * ci, pixels of y] * dy [pixels of y, co], and the sums of dy [co]
struct Conv2dFilterGrad : Patches {
  static constexpr bool kAByK = false, kBByK = false, kSums = true;
  Global<const float> x, dy;
  Global<float> dw, columnSums;
  bool hasSums;

  GL_INLINE bool sums() const { return hasSums; }
  GPU_DEVICE void storeSum(int group, int column, float value) const {
    columnSums[group * s.groupOut + column] = value;
  }

  GPU_DEVICE Line lineA(int row) const {
    const Step place = tap(row, s.groupIn);
    return {place.offset + blockZ() * s.groupIn, place.y, place.x};
  }
  GPU_DEVICE Line lineB(int column) const { return {blockZ() * s.groupOut + column, 0, 0}; }
  GPU_DEVICE Step stepA(int at) const {
    const Line begin = window(at);
    return {begin.base, begin.y, begin.x};
  }
  GPU_DEVICE Step stepB(int at) const { return {at * s.co, 0, 0}; }
  GPU_DEVICE Global<const float> left() const { return x; }
  GPU_DEVICE Global<const float> right() const { return dy; }
  GPU_DEVICE int placeA(const Line &line, const Step &step) const {
    const int iy = line.y + step.y, ix = line.x + step.x;
    if (iy < 0 || iy >= s.h || ix < 0 || ix >= s.w) return -1;
    return ((step.offset + iy) * s.w + ix) * s.ci + line.base;
  }
  GPU_DEVICE int placeB(const Line &line, const Step &step) const { return step.offset + line.base; }
  GPU_DEVICE void store(int group, int row, int column, float value) const {
    dw[row * s.co + group * s.groupOut + column] = value;
  }
};

}  // namespace gradline::cuda
