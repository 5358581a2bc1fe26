// The planners of the kernels in update.cuh: which of them an op takes, with what grid and workspace, from shapes
// alone. No kernel stands here.
#include "update.cuh"

namespace gradline::cuda {

bool planAdvance(const Op &op, Launches &launches) {
  launch(launches,
         Advance{global<StepState>(op.out[0]), static_cast<uint64_t>(op.attr[attr::advance::batch]),
                 static_cast<uint64_t>(op.attr[attr::advance::samples])},
         {1});
  return true;
}

bool planStepValue(const Op &op, Launches &launches) {
  if (!isCountable(op) || !isF32(op.out[0])) return false;
  const int field = static_cast<int>(op.attr[attr::stepValue::field]);
  launch(launches, StepValue{global<const StepState>(op.in[0]), global<float>(op.out[0]), field}, {1});
  return true;
}

bool planCountGroup(const Op &op, Launches &launches) {
  namespace a = attr::countGroup;
  launch(launches,
         CountGroup{global<StepState>(op.out[0]), static_cast<uint64_t>(op.attr[a::size]),
                    static_cast<uint64_t>(op.attr[a::rows]), static_cast<uint64_t>(op.attr[a::samples])},
         {1});
  return true;
}

bool planAccumulateGradient(const Op &op, Launches &launches) {
  if (!isCountable(op) || !isF32(op.out[1])) return false;
  if (op.segmentCount == 0 || op.out[1].size == 0) return true;
  launch(launches,
         AccumulateGradient{global<float>(op.out[1]), global<const float>(op.in[2]), global<const StepState>(op.in[3]),
                            segmentsOf(op, launches), static_cast<float>(op.attr[attr::accumulateGradient::rows])},
         segmentGrid<AccumulateGradient>(op.out[1].size));
  return true;
}

bool planPrepareUpdate(const Op &op, Launches &launches) {
  namespace a = attr::prepareUpdate;
  if (!isCountable(op)) return false;
  int64_t chunks = 0;
  for (int j = 1; j < op.inputs; j++) {
    if (!isF32(op.in[j])) return false;
    chunks += ceilDiv(op.in[j].size, kChunk);
  }
  PrepareUpdate kernel = {};
  kernel.step = global<StepState>(op.out[0]);
  kernel.grouped = op.attr[a::grouped] != 0;
  kernel.maxNorm = op.attr[a::maxNorm];
  kernel.momentum = op.attr[a::momentum];
  kernel.momentumDecay = op.attr[a::momentumDecay];
  if (op.inputs == 2 && chunks <= kFewChunks) {
    kernel.g = global<const float>(op.in[1]);
    kernel.n = static_cast<int>(op.in[1].size);
  } else {
    const Global<double> partial = scratch<double>(op, launches, chunks);
    int64_t first = 0;
    for (int j = 1; j < op.inputs; j++) {
      const int64_t own = ceilDiv(op.in[j].size, kChunk);
      const Global<const float> g = global<const float>(op.in[j]);
      if (own > 0) launch(launches, SumSquares{g, partial + first, static_cast<int>(op.in[j].size)}, {own});
      first += own;
    }
    kernel.partial = partial;
    kernel.n = static_cast<int>(chunks);
  }
  launch(launches, kernel, {1});
  return true;
}

}  // namespace gradline::cuda
