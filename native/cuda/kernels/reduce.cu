// The planners of the kernels in reduce.cuh: which of them an op takes, with what grid and workspace, from shapes
// alone. No kernel stands here.
#include "reduce.cuh"

namespace gradline::cuda {
namespace {

// x [outer, r, inner] -> y [outer, inner] in as many launches as r takes.
template <class F>
void planLayers(const Op &op, Launches &launches, int64_t outer, int64_t r, int64_t inner) {
  Global<const float> x = global<const float>(op.in[0]);
  const Global<float> y = global<float>(op.out[0]);
  while (true) {
    const int width = columnsPerBlock(inner);
    const int64_t stretch = inner == 1 ? kRowStretch : kColumnStretch * (kBlock / width);
    const int64_t stretches = larger(1, ceilDiv(r, stretch)), tiles = ceilDiv(inner, width);
    const Global<float> to = stretches == 1 ? y : scratch<float>(op, launches, outer * stretches * inner);
    if (inner == 1 && r <= kShortRow) {
      launch(launches, ShortRows<F>{x, to, static_cast<int>(outer), static_cast<int>(r)},
             {ceilDiv(outer, kBlock / 32)});
    } else if (inner == 1) {
      launch(launches, LongRows<F>{x, to, static_cast<int>(r), static_cast<int>(stretches)}, {outer * stretches});
    } else {
      const ColumnStretches<F> kernel = {x,
                                         to,
                                         static_cast<int>(r),
                                         static_cast<int>(inner),
                                         width,
                                         static_cast<int>(stretch),
                                         static_cast<int>(stretches),
                                         static_cast<int>(tiles)};
      launch(launches, kernel, {outer * stretches * tiles});
    }
    if (stretches == 1) return;
    x = to;
    r = stretches;
  }
}

template <class F>
bool planReduce(const Op &op, Launches &launches) {
  if (!allF32(op)) return false;
  const Tensor &x = op.in[0], &y = op.out[0];
  if (y.size == 0) return true;
  // Lengths of runs of axes, reduced or kept in turn; axes of length 1 belong to any run.
  int64_t length[kMaxRank + 1] = {};
  bool reduced[kMaxRank + 1] = {};
  int runs = 0;
  for (int axis = 0; axis < x.rank; axis++) {
    if (x.dims[axis] == 1) continue;
    const bool gone = (op.iattr(0) >> axis & 1) != 0;
    if (runs == 0 || reduced[runs - 1] != gone) {
      length[runs] = 1;
      reduced[runs++] = gone;
    }
    length[runs - 1] *= x.dims[axis];
  }
  const int first = runs > 0 && !reduced[0] ? 1 : 0;  // of the reduced runs
  const int64_t outer = first ? length[0] : 1, inner = first + 1 < runs ? length[first + 1] : 1;
  if (first + 2 >= runs) {
    planLayers<F>(op, launches, outer, first < runs ? length[first] : 1, inner);
    return true;
  }
  Tensor kept = x, gone = x;
  int steps[kMaxWalked][kMaxRank] = {};
  broadcastSteps(x, x, steps[0]);
  for (int axis = 0; axis < x.rank; axis++) ((op.iattr(0) >> axis & 1) != 0 ? kept : gone).dims[axis] = 1;
  const int64_t r = x.size / y.size;
  launch(launches,
         Scattered<F>{global<const float>(x), global<float>(y), static_cast<int>(y.size), static_cast<int>(r),
                      joined(kept, steps, 1), joined(gone, steps, 1)},
         {ceilDiv(y.size, kBlock / 32)});
  return true;
}

}  // namespace

bool planSum(const Op &op, Launches &launches) { return planReduce<AddUp>(op, launches); }
bool planMax(const Op &op, Launches &launches) { return planReduce<TakeLarger>(op, launches); }

bool planArgmax(const Op &op, Launches &launches) {
  if (!isCountable(op) || !isF32(op.in[0])) return false;
  const int rows = static_cast<int>(op.out[0].size), channels = static_cast<int>(op.in[0].channels());
  if (rows == 0) return true;
  if (channels == 0) return false;
  launch(launches, Argmax{global<const float>(op.in[0]), global<int32_t>(op.out[0]), rows, channels},
         {ceilDiv(rows, kBlock / 32)});
  return true;
}

}  // namespace gradline::cuda
