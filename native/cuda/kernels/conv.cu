// The planners of the kernels in conv.cuh: with what grid and workspace, from shapes alone. Filters of one pixel are
// matrix products of rows as they lie, which a library may make. No kernel stands here.
#include "conv.cuh"
#include "product.cuh"

namespace gradline::cuda {
namespace {

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
  Launches own = launches;
  const GlGemm gemm = gemmOf(transposeA, transposeB, p.m, p.n, p.k);
  // Channels lie side by side in all three, in memory and in the product.
  planProduct(op, own, p, gemm, p.s.groupIn % 4 == 0 && p.s.groupOut % 4 == 0 && isAligned(op));
  if (!isPointwise(p.s) || !planByLibrary(op, gemm, own, launches)) launches = own;
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
