// The planners of the kernels in matmul.cuh: which of them an op takes, with what grid and workspace, from shapes
// alone. No kernel stands here.
#include "matmul.cuh"

namespace gradline::cuda {
namespace {

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

}  // namespace

bool planMatmul(const Op &op, Launches &launches) {
  if (!allF32(op) || op.inputs != 2) return false;
  if (op.out[0].size == 0) return op.outputs == 1;  // nobody would write the sums
  const bool a = op.attr[attr::matmul::transposeA] != 0, b = op.attr[attr::matmul::transposeB] != 0;
  if (a) return b ? planMatmulOf<true, true>(op, launches) : planMatmulOf<true, false>(op, launches);
  return b ? planMatmulOf<false, true>(op, launches) : planMatmulOf<false, false>(op, launches);
}

}  // namespace gradline::cuda
