// The planners of the kernels in pool.cuh: which of them an op takes, with what grid and workspace, from shapes alone.
// No kernel stands here.
#include "pool.cuh"

namespace gradline::cuda {
namespace {

// The first six attributes stand in the same places for the four ops.
Windows windowsOf(const Op &op, const Tensor &x, const Tensor &y) {
  namespace a = attr::maxPool2d;
  const auto whole = [](double value) { return static_cast<int>(value); };
  return {static_cast<int>(x.dims[1]), static_cast<int>(x.dims[2]), static_cast<int>(x.dims[3]),
          static_cast<int>(y.dims[1]), static_cast<int>(y.dims[2]), whole(op.attr[a::kernelH]),
          whole(op.attr[a::kernelW]),  whole(op.attr[a::strideH]),  whole(op.attr[a::strideW]),
          whole(op.attr[a::padTop]),   whole(op.attr[a::padLeft])};
}

Grid gridFor(const Op &op) { return {ceilDiv(op.out[0].size, kBlock)}; }
int elementsOf(const Op &op) { return static_cast<int>(op.out[0].size); }

}  // namespace

bool planMaxPool2d(const Op &op, Launches &launches) {
  if (!allF32(op)) return false;
  if (op.out[0].size == 0) return true;
  launch(launches,
         MaxPool2d{global<const float>(op.in[0]), global<float>(op.out[0]), elementsOf(op),
                   windowsOf(op, op.in[0], op.out[0])},
         gridFor(op));
  return true;
}

bool planMaxPool2dGrad(const Op &op, Launches &launches) {
  if (!allF32(op)) return false;
  if (op.out[0].size == 0) return true;
  launch(launches,
         MaxPool2dGrad{global<const float>(op.in[0]), global<const float>(op.in[1]), global<const float>(op.in[2]),
                       global<float>(op.out[0]), elementsOf(op), windowsOf(op, op.in[1], op.in[2]), epiloguesOf(op)},
         gridFor(op));
  return true;
}

bool planAvgPool2d(const Op &op, Launches &launches) {
  if (!allF32(op)) return false;
  if (op.out[0].size == 0) return true;
  launch(launches,
         AvgPool2d{global<const float>(op.in[0]), global<float>(op.out[0]), elementsOf(op),
                   op.attr[attr::avgPool2d::countPadding] != 0, windowsOf(op, op.in[0], op.out[0])},
         gridFor(op));
  return true;
}

bool planAvgPool2dGrad(const Op &op, Launches &launches) {
  if (!allF32(op)) return false;
  if (op.out[0].size == 0) return true;
  launch(
      launches,
      AvgPool2dGrad{global<const float>(op.in[0]), global<float>(op.out[0]), elementsOf(op),
                    op.attr[attr::avgPool2d::countPadding] != 0, windowsOf(op, op.out[0], op.in[0]), epiloguesOf(op)},
      gridFor(op));
  return true;
}

}  // namespace gradline::cuda
