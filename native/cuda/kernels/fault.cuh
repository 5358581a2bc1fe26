// How a kernel reports data that it cannot work with: a label or index out of range, a number that is not finite. The
// planner of such an op asks for Guard::finished, so that its own blocks do not stop each other.
#pragma once
#include "../gpu.h"

namespace gradline::cuda {

// What a kernel needs in order to report.
struct Reporter {
  DeviceStatus *status;
  uint32_t op;

  // The first op that faults keeps the report, and of its reports the one of the lowest row: whichever block comes
  // first, the host reads what the oracle would have said.
  GPU_DEVICE void operator()(Fault fault, int64_t row, int64_t got, int64_t limit) const {
    DeviceStatus *const to = status;
    const uint32_t self = op;
    exclusive(&to->lock, [=] {
      volatile RunStatus *first = &to->first;  // other blocks write it too: no copy of it may be used
      if (first->fault != 0 && (first->op != self || first->row <= row)) return;
      first->op = self;
      first->row = row;
      first->got = got;
      first->limit = limit;
      first->fault = static_cast<int32_t>(fault);
    });
  }
};

inline Reporter reporterOf(const Op &op, Launches &launches) {
  launches.guard = Guard::finished;
  return {launches.status, op.index};
}

}  // namespace gradline::cuda
