// The end of a step, which is no op: metrics to their slot of the ring, the step counted, a fault made final. It makes
// several steps in one graph independent of the host, which fetches ring and status whenever it likes.
#pragma once
#include "../gpu.h"
#include "kernels.h"

namespace gradline::cuda {

struct EndOfStep {
  static constexpr int kThreads = 256;
  DeviceStatus *status;
  Global<const uint32_t> metrics;
  Global<uint32_t> ring;
  int words;
  uint64_t slots;

  GPU_DEVICE void run() const {
    const int32_t fault = status->first.fault;
    const uint64_t step = status->steps;
    barrier();  // every thread has read them before one writes
    if (fault != 0) {
      if (thread() == 0) status->finished = 1;
      return;
    }
    const Global<uint32_t> slot = ring + static_cast<int64_t>(step % slots) * words;
    for (int i = thread(); i < words; i += kThreads) slot[i] = metrics[i];
    if (thread() == 0) status->steps = step + 1;
  }
};

}  // namespace gradline::cuda
