// How a kernel reports data that it cannot work with: a label or index out of range, a number that is not finite. The
// planner of such an op asks for Guard::finished, so that its own blocks do not stop each other; its kernel begins with
// isStopped().
#pragma once
#include <cstddef>

#include "../gpu.h"

namespace gradline::cuda {

// Fault and op of a RunStatus, as one number that is read and written whole.
GPU_DEVICE uint64_t faultOf(int32_t fault, uint32_t op) {
  return static_cast<uint64_t>(op) << 32 | static_cast<uint32_t>(fault);
}
static_assert(offsetof(RunStatus, fault) == 0 && offsetof(RunStatus, op) == 4);

// What a kernel needs in order to report.
struct Reporter {
  DeviceStatus *status;
  uint32_t op;

  // An op before this one faulted in this step: what it should have made may be missing. For all threads of a block
  // alike, as others may be reporting just now.
  GPU_DEVICE bool isStopped() const {
    GPU_SHARED(int32_t, stopped, 1);
    if (thread() == 0) {
      const uint64_t first = loadWhole(&status->first);
      stopped[0] = static_cast<uint32_t>(first) != 0 && first >> 32 < op;
    }
    barrier();
    return stopped[0] != 0;
  }
  // The first op of the step that faults keeps the report, and of its reports the one of the lowest row: whichever
  // block comes first, the host reads what the oracle would have said.
  GPU_DEVICE void operator()(Fault fault, int64_t row, int64_t got, int64_t limit) const {
    DeviceStatus *const to = status;
    const uint64_t mine = faultOf(static_cast<int32_t>(fault), op);
    exclusive(&to->lock, [=] {
      volatile RunStatus *first = &to->first;  // other blocks write it too: no copy of it may be used
      const uint64_t before = loadWhole(&to->first);
      if (before != 0 && (before >> 32 < mine >> 32 || (before >> 32 == mine >> 32 && first->row <= row))) return;
      first->row = row;
      first->got = got;
      first->limit = limit;
      storeWhole(&to->first, mine);
    });
  }
};

inline Reporter reporterOf(const Op &op, Launches &launches) {
  launches.guard = Guard::finished;
  return {launches.status, op.index};
}

}  // namespace gradline::cuda
