// The planner of the kernels in matmul.cuh: which of them an op takes, with what grid and workspace, from shapes alone,
// or whether the library makes the product. No kernel stands here.
#include "matmul.cuh"
#include "product.cuh"

namespace gradline::cuda {
namespace {

template <bool transposeA, bool transposeB>
void planMatmulOf(const Op &op, const GlGemm &shape, Launches &launches) {
  planProduct(op, launches, matmulOf<transposeA, transposeB>(op), shape,
              shape.lda % 4 == 0 && shape.ldb % 4 == 0 && isAligned(op));
}

void planOwn(const Op &op, const GlGemm &shape, Launches &launches) {
  if (shape.transposeA)
    shape.transposeB ? planMatmulOf<true, true>(op, shape, launches) : planMatmulOf<true, false>(op, shape, launches);
  else
    shape.transposeB ? planMatmulOf<false, true>(op, shape, launches) : planMatmulOf<false, false>(op, shape, launches);
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
  const GlGemm shape = gemmOf(op, op.attr[attr::matmul::transposeA] != 0, op.attr[attr::matmul::transposeB] != 0);
  Launches own = launches;
  planOwn(op, shape, own);
  if (!planByLibrary(op, shape, own, launches)) launches = own;
  return true;
}

}  // namespace gradline::cuda
