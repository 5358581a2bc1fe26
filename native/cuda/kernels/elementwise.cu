// The planners of the kernels in elementwise.cuh: which of them an op takes, with what grid and workspace, from shapes
// alone. No kernel stands here.
#include "elementwise.cuh"

namespace gradline::cuda {
namespace {

Grid gridFor(const Op &op) { return {ceilDiv(op.out[0].size, kPerBlock)}; }
int elementsOf(const Op &op) { return static_cast<int>(op.out[0].size); }

template <class F>
bool planBroadcasting(const Op &op, Launches &launches, const F &f) {
  int steps[kMaxWalked][kMaxRank] = {};
  for (int k = 0; k < op.inputs; k++) broadcastSteps(op.in[k], op.out[0], steps[k]);
  const Axes axes = joined(op.out[0], steps, op.inputs);
  launch(launches, Broadcasting<F>{f, global<float>(op.out[0]), elementsOf(op), axes}, gridFor(op));
  return true;
}

template <OpCode code>
bool planUnaryOf(const Op &op, Launches &launches) {
  const float a = static_cast<float>(op.attr[0]), b = static_cast<float>(op.attr[1]);
  const Unary<code> kernel = {global<const float>(op.in[0]), global<float>(op.out[0]), elementsOf(op), a, b};
  launch(launches, kernel, gridFor(op));
  return true;
}

template <OpCode code>
bool planBinaryOf(const Op &op, Launches &launches) {
  const Global<const float> a = global<const float>(op.in[0]), b = global<const float>(op.in[1]);
  const float attr = static_cast<float>(op.attr[0]), second = static_cast<float>(op.attr[1]);
  if (op.in[0].size != op.out[0].size || op.in[1].size != op.out[0].size)
    return planBroadcasting(op, launches, Combine<code, float>{a, b, attr, second});
  launch(launches, Binary<code>{a, b, global<float>(op.out[0]), elementsOf(op), attr, second}, gridFor(op));
  return true;
}

}  // namespace

bool planUnary(const Op &op, Launches &launches) {
  if (!allF32(op)) return false;
  if (op.out[0].size == 0) return true;
  switch (op.code) {
#define GL_CASE(name) \
  case OpCode::name:  \
    return planUnaryOf<OpCode::name>(op, launches);
    GL_CASE(neg)
    GL_CASE(abs)
    GL_CASE(sign)
    GL_CASE(exp)
    GL_CASE(log)
    GL_CASE(log1p)
    GL_CASE(erf)
    GL_CASE(sqrt)
    GL_CASE(scale)
    GL_CASE(relu)
    GL_CASE(leakyRelu)
    GL_CASE(elu)
    GL_CASE(sigmoid)
    GL_CASE(tanh)
#undef GL_CASE
    default:
      return false;
  }
}

bool planBinary(const Op &op, Launches &launches) {
  if (op.code == OpCode::equal && op.in[0].dtype == DType::i32) {
    if (!isCountable(op)) return false;
    if (op.out[0].size == 0) return true;
    const Combine<OpCode::equal, int32_t> f = {global<const int32_t>(op.in[0]), global<const int32_t>(op.in[1]), 0, 0};
    return planBroadcasting(op, launches, f);
  }
  if (!allF32(op)) return false;
  if (op.out[0].size == 0) return true;
  switch (op.code) {
#define GL_CASE(name) \
  case OpCode::name:  \
    return planBinaryOf<OpCode::name>(op, launches);
    GL_CASE(reluGrad)
    GL_CASE(leakyReluGrad)
    GL_CASE(eluGrad)
    GL_CASE(sigmoidGrad)
    GL_CASE(tanhGrad)
    GL_CASE(add)
    GL_CASE(sub)
    GL_CASE(mul)
    GL_CASE(div)
    GL_CASE(maximum)
    GL_CASE(minimum)
    GL_CASE(weightedSum)
    GL_CASE(greater)
    GL_CASE(equal)
#undef GL_CASE
    default:
      return false;
  }
}

bool planSelect(const Op &op, Launches &launches) {
  if (!allF32(op)) return false;
  if (op.out[0].size == 0) return true;
  const Choose f = {global<const float>(op.in[0]), global<const float>(op.in[1]), global<const float>(op.in[2])};
  return planBroadcasting(op, launches, f);
}

}  // namespace gradline::cuda
