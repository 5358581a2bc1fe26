// The end of a step, which is no op: metrics to their slot of the ring, the step counted, a fault made final. It makes
// several steps in one graph independent of the host, which fetches ring and status whenever it likes.
#include "../gpu.h"
#include "kernels.h"

namespace gradline::cuda {
namespace {

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

}  // namespace

void planEndOfStep(Launches &launches, const void *metrics, void *ring, int64_t words, int64_t slots) {
  launches.guard = Guard::finished;
  const size_t bytes = static_cast<size_t>(words) * sizeof(uint32_t);
  const EndOfStep kernel = {launches.status, global(static_cast<const uint32_t *>(metrics), bytes),
                            global(static_cast<uint32_t *>(ring), bytes * static_cast<size_t>(slots)),
                            static_cast<int>(words), static_cast<uint64_t>(slots)};
  launch(launches, kernel, {1});
}

}  // namespace gradline::cuda
