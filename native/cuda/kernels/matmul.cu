// Matrix product of two matrices, either of them read transposed, with epilogues: the library's where it has a plan,
// else the tile of tile.cuh over plain rows.
#include "tile.cuh"

namespace gradline::cuda {
namespace {

// a [m, k] ([k, m] if transposeA), b [k, n] ([n, k] if transposeB) -> y [m, n], and the sum over k of b as read [n]
template <bool transposeA, bool transposeB>
struct Matmul {
  static constexpr bool kAByK = !transposeA, kBByK = transposeB, kSums = true;
  Global<const float> first, second;
  Global<float> y, columnSums;
  int m, n, k;
  bool hasSums;
  Epilogues epilogues;

  GL_INLINE bool sums() const { return hasSums; }
  GPU_DEVICE void storeSum(int, int column, float value) const { columnSums[column] = value; }
  GL_INLINE int groups() const { return 1; }
  GPU_DEVICE Line lineA(int row) const { return {transposeA ? row : row * k, 0, 0}; }
  GPU_DEVICE Line lineB(int column) const { return {transposeB ? column * k : column, 0, 0}; }
  GPU_DEVICE Step stepA(int at) const { return {transposeA ? at * m : at, 0, 0}; }
  GPU_DEVICE Step stepB(int at) const { return {transposeB ? at : at * n, 0, 0}; }
  GPU_DEVICE float a(const Line &line, const Step &step) const { return first[line.base + step.offset]; }
  GPU_DEVICE float b(const Line &line, const Step &step) const { return second[line.base + step.offset]; }
  GPU_DEVICE void store(int, int row, int column, float value) const {
    const int i = row * n + column;
    y[i] = applyEpilogues(epilogues, value, i, column, n);
  }
};

template <bool transposeA, bool transposeB>
bool planMatmulOf(const Op &op, Launches &launches) {
  const Matmul<transposeA, transposeB> problem = {
      global<const float>(op.in[0]),
      global<const float>(op.in[1]),
      global<float>(op.out[0]),
      op.outputs == 2 ? global<float>(op.out[1]) : Global<float>(nullptr),
      static_cast<int>(op.out[0].dims[0]),
      static_cast<int>(op.out[0].dims[1]),
      static_cast<int>(op.in[0].dims[transposeA ? 0 : 1]),
      op.outputs == 2,
      epiloguesOf(op),
  };
  planProduct(op, launches, problem);
  return true;
}

GlGemm gemmOf(const Op &op, bool transposeA, bool transposeB) {
  const Tensor &a = op.in[0], &b = op.in[1], &y = op.out[0];
  GlGemm gemm = {};
  gemm.transposeA = transposeA;
  gemm.transposeB = transposeB;
  gemm.m = y.dims[0];
  gemm.n = gemm.ldc = y.dims[1];
  gemm.k = a.dims[transposeA ? 0 : 1];
  gemm.lda = a.dims[1];
  gemm.ldb = b.dims[1];
  return gemm;
}

}  // namespace

bool planMatmul(const Op &op, Launches &launches) {
  if (!allF32(op) || op.inputs != 2) return false;
  if (op.out[0].size == 0) return op.outputs == 1;  // nobody would write the sums
  const bool a = op.attr[attr::matmul::transposeA] != 0, b = op.attr[attr::matmul::transposeB] != 0;
  if (planByLibrary(op, gemmOf(op, a, b), launches)) return true;
  if (a) return b ? planMatmulOf<true, true>(op, launches) : planMatmulOf<true, false>(op, launches);
  return b ? planMatmulOf<false, true>(op, launches) : planMatmulOf<false, false>(op, launches);
}

}  // namespace gradline::cuda
