// The planner of the kernel in step.cuh. The end of a step is no op: the host appends it to the launches of all ops.
// No kernel stands here.
#include "step.cuh"

namespace gradline::cuda {

void planEndOfStep(Launches &launches, const void *metrics, void *ring, int64_t words, int64_t slots) {
  launches.guard = Guard::finished;
  const size_t bytes = static_cast<size_t>(words) * sizeof(uint32_t);
  const EndOfStep kernel = {launches.status, global(static_cast<const uint32_t *>(metrics), bytes),
                            global(static_cast<uint32_t *>(ring), bytes * static_cast<size_t>(slots)),
                            static_cast<int>(words), static_cast<uint64_t>(slots)};
  launch(launches, kernel, {1});
}

}  // namespace gradline::cuda
