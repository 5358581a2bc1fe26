// The planners of the kernels in move.cuh: which of them an op takes, with what grid and workspace, from shapes alone.
// No kernel stands here.
#include "move.cuh"

namespace gradline::cuda {
namespace {

Grid gridFor(int64_t n) { return {ceilDiv(n, kPerBlock)}; }

template <class T>
void launchStrided(Launches &launches, const Tensor &x, const Tensor &y, const Tensor &walked, int64_t xStart,
                   int64_t yStart, const int (&steps)[kMaxWalked][kMaxRank]) {
  const Axes axes = joined(walked, steps, 2);
  if (x.size == y.size && planSwap<T>(launches, x, y, axes)) return;
  const Strided<T> kernel = {
      global<const T>(x),       global<T>(y), static_cast<int>(walked.size), static_cast<int>(xStart),
      static_cast<int>(yStart), axes};
  launch(launches, kernel, gridFor(walked.size));
}

// Moves the elements of `walked`, whose axes the steps belong to, from x to y.
void moveStrided(Launches &launches, const Tensor &x, const Tensor &y, const Tensor &walked, int64_t xStart,
                 int64_t yStart, const int (&steps)[kMaxWalked][kMaxRank]) {
  if (walked.size == 0) return;
  if (x.dtype == DType::u8)
    launchStrided<uint8_t>(launches, x, y, walked, xStart, yStart, steps);
  else
    launchStrided<uint32_t>(launches, x, y, walked, xStart, yStart, steps);
}

template <class T>
void launchFill(Launches &launches, const Tensor &y, T value) {
  if (y.size > 0) launch(launches, Fill<T>{global<T>(y), static_cast<int>(y.size), value}, gridFor(y.size));
}

// Offset in a tensor of the index that the attributes b0 .. give.
int64_t blockStart(const Op &op, const Tensor &tensor) {
  int64_t start = 0;
  for (int axis = 0; axis < tensor.rank; axis++) start = start * tensor.dims[axis] + op.iattr(attr::slice::b0 + axis);
  return start;
}

template <class From, class To>
bool convertTo(const Op &op, Launches &launches) {
  const int n = static_cast<int>(op.out[0].size);
  launch(launches, Convert<From, To>{global<const From>(op.in[0]), global<To>(op.out[0]), n}, gridFor(n));
  return true;
}
template <class From>
bool convertFrom(const Op &op, Launches &launches) {
  if (op.out[0].dtype == DType::f32) return convertTo<From, float>(op, launches);
  if (op.out[0].dtype == DType::i32) return convertTo<From, int32_t>(op, launches);
  return convertTo<From, uint8_t>(op, launches);
}

template <class T, class To>
bool planGatherOf(const Op &op, Launches &launches) {
  const int64_t n = op.in[1].size, inner = op.out[0].size / n;
  const Gather<T, To> kernel = {global<const T>(op.in[0]),
                                global<const int32_t>(op.in[1]),
                                global<To>(op.out[0]),
                                static_cast<int>(op.out[0].size),
                                static_cast<int>(inner),
                                static_cast<int>(op.in[0].dims[0]),
                                static_cast<float>(op.attr[attr::gather::factor]),
                                static_cast<float>(op.attr[attr::gather::offset]),
                                reporterOf(op, launches)};
  launch(launches, kernel, gridFor(op.out[0].size));
  return true;
}

bool isF64(const Op &op) {
  for (int i = 0; i < op.inputs; i++)
    if (op.in[i].dtype == DType::f64) return true;
  return op.out[0].dtype == DType::f64;
}

}  // namespace

bool planCopy(const Op &op, Launches &launches) {
  if (!isCountable(op) || isF64(op)) return false;
  if (op.out[0].size == 0) return true;
  if (op.in[0].dtype == DType::f32) return convertFrom<float>(op, launches);
  if (op.in[0].dtype == DType::i32) return convertFrom<int32_t>(op, launches);
  return convertFrom<uint8_t>(op, launches);
}

bool planFill(const Op &op, Launches &launches) {
  if (!isCountable(op) || isF64(op)) return false;
  const double value = op.attr[attr::fill::value];
  if (op.out[0].dtype == DType::f32) launchFill(launches, op.out[0], static_cast<float>(value));
  if (op.out[0].dtype == DType::i32) launchFill(launches, op.out[0], static_cast<int32_t>(value));
  if (op.out[0].dtype == DType::u8) launchFill(launches, op.out[0], static_cast<uint8_t>(value));
  return true;
}

// broadcast, transpose and slice: y walked in order, x by strides.
bool planStrided(const Op &op, Launches &launches) {
  if (!isCountable(op) || isF64(op)) return false;
  const Tensor &x = op.in[0], &y = op.out[0];
  int steps[kMaxWalked][kMaxRank] = {}, own[kMaxRank] = {};
  broadcastSteps(y, y, steps[1]);
  broadcastSteps(x, x, own);
  int64_t start = 0;
  if (op.code == OpCode::broadcast) broadcastSteps(x, y, steps[0]);
  if (op.code == OpCode::transpose)
    for (int axis = 0; axis < y.rank; axis++) steps[0][axis] = own[op.iattr(attr::transpose::p0 + axis)];
  if (op.code == OpCode::slice) {
    for (int axis = 0; axis < y.rank; axis++) steps[0][axis] = own[axis];
    start = blockStart(op, x);
  }
  moveStrided(launches, x, y, y, start, 0, steps);
  return true;
}

bool planConcat(const Op &op, Launches &launches) {
  if (!isCountable(op) || isF64(op)) return false;
  const int64_t axis = op.iattr(attr::concat::axis);
  int64_t start = 0, stride = 1;
  for (int after = op.out[0].rank - 1; after > axis; after--) stride *= op.out[0].dims[after];
  for (int j = 0; j < op.inputs; j++) {
    int steps[kMaxWalked][kMaxRank] = {};
    broadcastSteps(op.in[j], op.in[j], steps[0]);
    broadcastSteps(op.out[0], op.out[0], steps[1]);
    moveStrided(launches, op.in[j], op.out[0], op.in[j], 0, start, steps);
    start += op.in[j].dims[axis] * stride;
  }
  return true;
}

bool planPad(const Op &op, Launches &launches) {
  if (!isCountable(op) || isF64(op)) return false;
  int steps[kMaxWalked][kMaxRank] = {};
  broadcastSteps(op.in[0], op.in[0], steps[0]);
  broadcastSteps(op.out[0], op.out[0], steps[1]);
  if (op.out[0].dtype == DType::u8)
    launchFill(launches, op.out[0], uint8_t{0});
  else
    launchFill(launches, op.out[0], uint32_t{0});
  moveStrided(launches, op.in[0], op.out[0], op.in[0], 0, blockStart(op, op.out[0]), steps);
  return true;
}

bool planGather(const Op &op, Launches &launches) {
  if (!isCountable(op) || isF64(op)) return false;
  if (op.out[0].size == 0) return op.in[1].size == 0;  // rows of no elements: indices would go unchecked
  if (op.in[0].dtype == DType::i32) return planGatherOf<int32_t, int32_t>(op, launches);
  if (op.in[0].dtype == DType::u8) return planGatherOf<uint8_t, float>(op, launches);
  return planGatherOf<float, float>(op, launches);
}

bool planGatherGrad(const Op &op, Launches &launches) {
  if (!isCountable(op) || !isF32(op.in[0])) return false;
  const int64_t rows = op.out[0].dims[0], n = op.in[1].size;
  if (op.out[0].size == 0) return n == 0;
  const int64_t inner = op.out[0].size / rows, tiles = ceilDiv(inner, kBlock);
  const GatherGrad kernel = {global<const float>(op.in[0]), global<const int32_t>(op.in[1]),
                             global<float>(op.out[0]),      static_cast<int>(n),
                             static_cast<int>(inner),       static_cast<int>(rows),
                             static_cast<int>(tiles),       static_cast<float>(op.attr[attr::gatherGrad::factor]),
                             reporterOf(op, launches)};
  launch(launches, kernel, {rows * tiles});
  return true;
}

}  // namespace gradline::cuda
