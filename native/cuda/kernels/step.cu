// The planners of the kernels in step.cuh: which of them an op of some shape takes, and with what grid.
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
