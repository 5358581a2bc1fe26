// The planners of the kernels in schedule.cuh: which of them an op takes, with what grid and workspace, from shapes
// alone. No kernel stands here.
#include "schedule.cuh"

namespace gradline::cuda {

bool planScheduleRate(const Op &op, Launches &launches) {
  namespace at = attr::scheduleRate;
  if (!isCountable(op)) return false;
  ScheduleRate kernel = {};
  kernel.step = global<StepState>(op.out[0]);
  if (op.inputs == 2) {
    kernel.table = global<const float>(op.in[1]);
    kernel.entries = static_cast<int>(op.in[1].size);
  }
  kernel.kind = static_cast<ScheduleKind>(op.iattr(at::kind));
  kernel.byEpoch = op.iattr(at::unit) != 0;
  kernel.begin = op.attr[at::begin];
  kernel.end = op.attr[at::end];
  kernel.base = op.attr[at::base];
  kernel.a = op.attr[at::a];
  kernel.b = op.attr[at::b];
  kernel.c = op.attr[at::c];
  launch(launches, kernel, {1});
  return true;
}

}  // namespace gradline::cuda
