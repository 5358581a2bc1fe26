// Convolution over NHWC images and its two derivatives as implicit matrix products: the tile of tile.cuh over patches
// that are never written out. Filter gradients, whose common length is all pixels, are split and merged in order.
// Filters of one pixel are matrix products of rows as they lie, which a library may make.
#include "tile.cuh"

namespace gradline::cuda {
namespace {

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
  GPU_DEVICE float a(const Line &line, const Step &step) const {
    const int iy = line.y + step.y, ix = line.x + step.x;
    if (iy < 0 || iy >= s.h || ix < 0 || ix >= s.w) return 0.0f;
    return x[((line.base + iy) * s.w + ix) * s.ci + blockZ() * s.groupIn + step.offset];
  }
  GPU_DEVICE float b(const Line &line, const Step &step) const { return filter[step.offset + line.base]; }
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
  GPU_DEVICE float a(const Line &line, const Step &step) const {
    const int ty = line.y - step.y, tx = line.x - step.x;
    if (ty < 0 || tx < 0) return 0.0f;
    const int oy = ty / s.strideH, ox = tx / s.strideW;
    if (oy * s.strideH != ty || ox * s.strideW != tx || oy >= s.oh || ox >= s.ow) return 0.0f;
    return dy[((line.base + oy) * s.ow + ox) * s.co + blockZ() * s.groupOut + step.offset];
  }
  GPU_DEVICE float b(const Line &line, const Step &step) const { return filter[line.base + step.offset]; }
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
  GPU_DEVICE float a(const Line &line, const Step &step) const {
    const int iy = line.y + step.y, ix = line.x + step.x;
    if (iy < 0 || iy >= s.h || ix < 0 || ix >= s.w) return 0.0f;
    return x[((step.offset + iy) * s.w + ix) * s.ci + line.base];
  }
  GPU_DEVICE float b(const Line &line, const Step &step) const { return dy[step.offset + line.base]; }
  GPU_DEVICE void store(int group, int row, int column, float value) const {
    dw[row * s.co + group * s.groupOut + column] = value;
  }
};

// The attributes stand in the same places for the three ops.
Geometry geometryOf(const Op &op, const Tensor &x, const Tensor &w, const Tensor &y) {
  namespace a = attr::conv2d;
  Geometry s = {};
  const auto whole = [](double value) { return static_cast<int>(value); };
  s.h = static_cast<int>(x.dims[1]);
  s.w = static_cast<int>(x.dims[2]);
  s.ci = static_cast<int>(x.dims[3]);
  s.oh = static_cast<int>(y.dims[1]);
  s.ow = static_cast<int>(y.dims[2]);
  s.co = static_cast<int>(y.dims[3]);
  s.kh = static_cast<int>(w.dims[0]);
  s.kw = static_cast<int>(w.dims[1]);
  s.groupCount = whole(op.attr[a::groups]);
  s.groupIn = s.ci / s.groupCount;
  s.groupOut = s.co / s.groupCount;
  s.strideH = whole(op.attr[a::strideH]);
  s.strideW = whole(op.attr[a::strideW]);
  s.padTop = whole(op.attr[a::padTop]);
  s.padLeft = whole(op.attr[a::padLeft]);
  s.dilationH = whole(op.attr[a::dilationH]);
  s.dilationW = whole(op.attr[a::dilationW]);
  return s;
}

// Every pixel of y sees the pixel of x in its place and no other: then [pixels, ci] * [ci, co] says it all.
bool isPointwise(const Geometry &s) {
  return s.kh == 1 && s.kw == 1 && s.strideH == 1 && s.strideW == 1 && s.padTop == 0 && s.padLeft == 0 && s.h == s.oh &&
         s.w == s.ow && s.groupCount == 1;
}

// op(a) [m, k] * op(b) [k, n], rows without gaps
GlGemm gemmOf(bool transposeA, bool transposeB, int64_t m, int64_t n, int64_t k) {
  GlGemm gemm = {};
  gemm.transposeA = transposeA;
  gemm.transposeB = transposeB;
  gemm.m = m;
  gemm.n = gemm.ldc = n;
  gemm.k = k;
  gemm.lda = transposeA ? m : k;
  gemm.ldb = transposeB ? k : n;
  return gemm;
}

template <class Problem>
void plan(const Op &op, Launches &launches, const Problem &p, bool transposeA, bool transposeB) {
  if (isPointwise(p.s) && planByLibrary(op, gemmOf(transposeA, transposeB, p.m, p.n, p.k), launches)) return;
  planProduct(op, launches, p);
}

// Groups stand along the third axis of the grid.
bool covered(const Op &op) { return allF32(op) && op.inputs == 2 && op.attr[attr::conv2d::groups] <= 65535; }

}  // namespace

bool planConv2d(const Op &op, Launches &launches) {
  if (!covered(op)) return false;
  const Tensor &y = op.out[0];
  if (y.size == 0) return true;
  Conv2d problem = {};
  problem.s = geometryOf(op, op.in[0], op.in[1], y);
  problem.m = static_cast<int>(y.rows());
  problem.n = problem.s.groupOut;
  problem.k = problem.s.kh * problem.s.kw * problem.s.groupIn;
  problem.x = global<const float>(op.in[0]);
  problem.filter = global<const float>(op.in[1]);
  problem.y = global<float>(y);
  problem.epilogues = epiloguesOf(op);
  plan(op, launches, problem, false, false);
  return true;
}

bool planConv2dInputGrad(const Op &op, Launches &launches) {
  if (!covered(op)) return false;
  const Tensor &dx = op.out[0];
  if (dx.size == 0) return true;
  Conv2dInputGrad problem = {};
  problem.s = geometryOf(op, dx, op.in[1], op.in[0]);
  problem.m = static_cast<int>(dx.rows());
  problem.n = problem.s.groupIn;
  problem.k = problem.s.kh * problem.s.kw * problem.s.groupOut;
  problem.dy = global<const float>(op.in[0]);
  problem.filter = global<const float>(op.in[1]);
  problem.dx = global<float>(dx);
  problem.epilogues = epiloguesOf(op);
  plan(op, launches, problem, false, true);
  return true;
}

bool planConv2dFilterGrad(const Op &op, Launches &launches) {
  if (!covered(op)) return false;
  const Tensor &dw = op.out[0];
  if (dw.size == 0) return op.outputs == 1;  // nobody would write the sums
  Conv2dFilterGrad problem = {};
  problem.hasSums = op.outputs == 2;
  if (problem.hasSums) problem.columnSums = global<float>(op.out[1]);
  problem.s = geometryOf(op, op.in[0], dw, op.in[1]);
  problem.m = problem.s.kh * problem.s.kw * problem.s.groupIn;
  problem.n = problem.s.groupOut;
  problem.k = static_cast<int>(op.in[1].rows());
  problem.x = global<const float>(op.in[0]);
  problem.dy = global<const float>(op.in[1]);
  problem.dw = global<float>(dw);
  plan(op, launches, problem, true, false);
  return true;
}

}  // namespace gradline::cuda
