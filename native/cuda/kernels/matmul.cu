// The planner of the kernels in matmul.cuh: which of them an op takes, with what grid and workspace, from shapes alone,
// or whether the library makes the product. No kernel stands here.
#include "matmul.cuh"

namespace gradline::cuda {
namespace {

template <bool transposeA, bool transposeB>
void planMatmulOf(const Op &op, Launches &launches) {
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
}

void planOwn(const Op &op, bool transposeA, bool transposeB, Launches &launches) {
  if (transposeA)
    transposeB ? planMatmulOf<true, true>(op, launches) : planMatmulOf<true, false>(op, launches);
  else
    transposeB ? planMatmulOf<false, true>(op, launches) : planMatmulOf<false, false>(op, launches);
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
  Launches own = launches;
  planOwn(op, a, b, own);
  if (!planByLibrary(op, gemmOf(op, a, b), own, launches)) launches = own;
  return true;
}

}  // namespace gradline::cuda
