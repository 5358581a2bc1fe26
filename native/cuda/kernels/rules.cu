// The planners of the kernels in rules.cuh: which of them an op takes, with what grid and workspace, from shapes alone.
// No kernel stands here.
#include "rules.cuh"

namespace gradline::cuda {
namespace {

template <class Rule>
bool planRule(const Op &op, Launches &launches) {
  Update<Rule> kernel = {{}, {}, {}, {}, {}, 0, Rule(op)};
  kernel.theta = global<float>(op.out[0]);
  for (int j = 0; j < Rule::kMoments; j++) kernel.moment[j] = global<float>(op.out[1 + j]);
  kernel.g = global<const float>(op.in[op.outputs]);
  kernel.step = global<const StepState>(op.in[op.outputs + 1]);
  kernel.segments = segmentsOf(op, launches);
  kernel.limit = static_cast<float>(op.attr[attr::sgdUpdate::clipValue]);
  launch(launches, kernel, segmentGrid<Update<Rule>>(op.out[0].size));
  return true;
}

}  // namespace

bool planUpdateRule(const Op &op, Launches &launches) {
  if (!isCountable(op) || !isF32(op.out[0])) return false;
  if (op.segmentCount == 0 || op.out[0].size == 0) return true;
  switch (op.code) {
#define GL_CASE(name, Rule)  \
  case OpCode::name##Update: \
    return planRule<Rule>(op, launches);
    GL_CASE(sgd, Sgd)
    GL_CASE(momentum, Momentum)
    GL_CASE(adagrad, Adagrad)
    GL_CASE(adadelta, Adadelta)
    GL_CASE(rmsprop, Rmsprop)
    GL_CASE(rmspropMomentum, RmspropMomentum)
    GL_CASE(adam, Adam)
    GL_CASE(amsgrad, Amsgrad)
    GL_CASE(adamax, Adamax)
    GL_CASE(nadam, Nadam)
    GL_CASE(radam, Radam)
    GL_CASE(lion, Lion)
#undef GL_CASE
    default:
      return false;
  }
}

}  // namespace gradline::cuda
