// A product that the library of blas.h makes, with what an op has around it: a bias or the sums of the second operand
// come from the library where it has a plan for that, the rest from our own kernels behind it. No kernel stands here.
#include <algorithm>

#include "../gpu.h"
#include "../merge.h"
#include "kernels.h"

namespace gradline::cuda {
namespace {

// Most multiply-adds of a product that is left to our own kernels because they can share a launch with what stands
// beside it: there it costs no node, and the step may stay a single one. An estimate that nobody has measured; a card
// has to tell from where on what the library gains is more than the nodes that it costs.
constexpr int64_t kMostOfSmall = int64_t{1} << 24;

// As the planner of programs places values: known before there are addresses.
bool samePlace(const Tensor &a, const Tensor &b) { return a.region == b.region && a.offset == b.offset; }

Tensor matrix(const Tensor &of, int64_t rows, int64_t columns) {
  Tensor view = of;
  view.rank = 2;
  view.dims[0] = rows;
  view.dims[1] = columns;
  return view;
}

// An op of its own for a part of `op`, in the same workspace.
Op partOf(const Op &op, OpCode code, double attribute, const Tensor &in, const Tensor &out) {
  Op part = {};
  part.code = code;
  part.index = op.index;
  part.inputs = part.outputs = 1;
  part.in[0] = in;
  part.out[0] = out;
  part.attr[0] = attribute;
  part.workspace = op.workspace;
  return part;
}

// y = f(x), as an epilogue states it
void planEpilogue(const Op &op, const Epilogue &e, const Tensor &x, const Tensor &y, Launches &launches) {
  Op part = partOf(op, e.code, e.attr, x, y);
  if (!e.hasOperand) {
    planUnary(part, launches);
    return;
  }
  part.inputs = 2;
  part.in[1] = e.operand.size == y.size ? matrix(e.operand, y.dims[0], y.dims[1]) : matrix(e.operand, 1, y.dims[1]);
  planBinary(part, launches);
}

}  // namespace

// Whether what our own kernels make of a product, `own`, can share a launch with what stands beside it.
bool isSmall(const GlGemm &gemm, const Launches &own) {
  const bool isLittle = gemm.k == 0 || gemm.m * gemm.n <= kMostOfSmall / gemm.k;
  return isLittle && std::all_of(own.list.begin(), own.list.end(), isMergeable);
}

// y [m, n] = op.in[0] * op.in[1] as `gemm` says, which has no addresses; op.out[1], if there is one, is the sum over k
// of op(b), a row [n]. `own`: what our own kernels would make of the op. False: nothing was appended, and they do.
bool planByLibrary(const Op &op, const GlGemm &shape, const Launches &own, Launches &launches) {
  // The library knows no guard, so behind a fault it would write what must stay.
  if (launches.products == nullptr || op.lasting || shape.m == 0 || shape.n == 0 || shape.k == 0) return false;
  if (!launches.products->takesAll() && isSmall(shape, own)) return false;
  GlGemm gemm = shape;
  gemm.numerics = op.numerics == Numerics::tf32   ? GL_BLAS_TF32
                  : op.numerics == Numerics::bf16 ? GL_BLAS_BF16
                                                  : GL_BLAS_FP32;
  gemm.batch = 1;
  gemm.alpha = 1;
  const Tensor y = matrix(op.out[0], gemm.m, gemm.n);
  const bool sums = op.outputs == 2;
  const Epilogue &first = op.epilogue[0];
  const bool bias =
      op.epilogues > 0 && first.code == OpCode::add && first.operand.size == gemm.n && !samePlace(first.operand, y);
  // One thing beside the product at most. Sums first: by themselves they cost reading an operand again.
  const int32_t wanted = sums ? GL_EPILOGUE_BGRAD_B : bias ? GL_EPILOGUE_BIAS : GL_EPILOGUE_NONE;
  const PlannedProduct *product = launches.products->plan(gemm, wanted);
  if (product == nullptr && wanted != GL_EPILOGUE_NONE) product = launches.products->plan(gemm, GL_EPILOGUE_NONE);
  if (product == nullptr) return false;

  GlOperands operands = {op.in[0].data, op.in[1].data, nullptr, nullptr, nullptr};
  if (product->epilogue == GL_EPILOGUE_BGRAD_B) operands.vector = op.out[1].data;
  if (product->epilogue == GL_EPILOGUE_BIAS) operands.vector = first.operand.data;
  const int done = product->epilogue == GL_EPILOGUE_BIAS ? 1 : 0;
  // y may lie on an operand of an epilogue, which the product must then not overwrite.
  Tensor x = y;
  for (int i = done; i < op.epilogues; i++) {
    if (!op.epilogue[i].hasOperand || !samePlace(op.epilogue[i].operand, y)) continue;
    x.data = nullptr;
    const size_t at = launches.take(static_cast<size_t>(y.size) * sizeof(float));
    if (op.workspace) x.data = static_cast<char *>(op.workspace) + at;
    break;
  }
  operands.c = x.data;
  appendProduct(launches, {product, operands});
  if (sums && product->epilogue != GL_EPILOGUE_BGRAD_B) {
    const Tensor b = matrix(op.in[1], shape.transposeB ? gemm.n : gemm.k, shape.transposeB ? gemm.k : gemm.n);
    planSum(partOf(op, OpCode::sum, shape.transposeB ? 2 : 1, b, op.out[1]), launches);
  }
  for (int i = done; i < op.epilogues; i++) {
    // Only the last one may write to y when that still holds an operand.
    planEpilogue(op, op.epilogue[i], x, i + 1 < op.epilogues ? x : y, launches);
  }
  return true;
}

}  // namespace gradline::cuda
