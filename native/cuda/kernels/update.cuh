// The optimizer step but for its rules (rules.cuh) and what follows them (constrain.cuh): data cursor, groups of
// micro-batches, gradient norm and clipping. What differs between steps is read from and written to the StepState in
// device memory; one thread does that, everything else is summed in a fixed tree.
#pragma once
#include "fold.cuh"
#include "kernels.h"
#include "nadam.cuh"
#include "segments.cuh"

namespace gradline::cuda {

struct Advance {
  static constexpr int kThreads = 32;
  Global<StepState> step;
  uint64_t batch, samples;

  GPU_DEVICE void run() const {
    if (thread() != 0) return;
    StepState state = step[0];
    state.step++;
    if (samples > 0) {
      if (state.cursor >= samples) {
        state.epoch++;
        state.cursor = 0;
      }
      state.first = state.cursor;
      state.cursor += batch;
    }
    step[0] = state;
  }
};

struct StepValue {
  static constexpr int kThreads = 32;
  Global<const StepState> step;
  Global<float> y;
  int field;

  GPU_DEVICE void run() const {
    if (thread() != 0) return;
    const StepState state = step[0];
    double value = state.rate * state.rateFactor;
    if (field == 1) value = state.clipScale;
    if (field == 2) value = static_cast<double>(state.skip);
    if (field == 3) value = static_cast<double>(state.updates);
    if (field == 4) value = static_cast<double>(state.groupSteps);
    if (field == 5) value = static_cast<double>(state.groupRows);
    y[0] = static_cast<float>(value);
  }
};

struct CountGroup {
  static constexpr int kThreads = 32;
  Global<StepState> step;
  uint64_t size, rows, samples;

  GPU_DEVICE void run() const {
    if (thread() != 0) return;
    StepState state = step[0];
    if (!state.pending) state.groupSteps = state.groupRows = 0;
    state.groupSteps++;
    state.groupRows += rows;
    state.pending = state.groupSteps < size && !(samples > 0 && state.cursor >= samples) ? 1 : 0;
    step[0] = state;
  }
};

// sum += rows * g over what segments cover; the first micro-batch without what stood there, a full group becomes the
// mean.
struct AccumulateGradient {
  static constexpr int kThreads = kBlock;
  Global<float> sum;
  Global<const float> g;
  Global<const StepState> step;
  Segments segments;
  float rows;

  GPU_DEVICE void run() const {
    const StepState state = step[0];
    const bool first = state.groupSteps <= 1, full = !state.pending;
    const float all = static_cast<float>(state.groupRows);
    segments.eachElement<kThreads>([&](int i, const SegmentRecord &) {
      float total = rows * g[i];
      if (!first) total = sum[i] + total;
      sum[i] = full ? total / all : total;
    });
  }
};

// ---- Global norm

constexpr int kChunk = 4096;        // elements per partial sum, as in ref
constexpr int64_t kFewChunks = 16;  // up to here one block sums them itself, which saves a launch

GPU_DEVICE double squaresOfChunk(Global<const float> g, int begin, int n) {
  double total = 0;
  const int end = static_cast<int>(smaller(begin + kChunk, n));
  for (int i = begin + thread(); i < end; i += kBlock) {
    const float value = g[i];
    total += static_cast<double>(value) * static_cast<double>(value);
  }
  return foldBlock<kBlock>(total, AddUp());
}

struct SumSquares {
  static constexpr int kThreads = kBlock;
  Global<const float> g;
  Global<double> partial;
  int n;

  GPU_DEVICE void run() const {
    const double total = squaresOfChunk(g, block() * kChunk, n);
    if (thread() == 0) partial[block()] = total;
  }
};

// One block: adds up the partial sums in order (or takes the chunks of g itself), then moves the step state on.
struct PrepareUpdate {
  static constexpr int kThreads = kBlock;
  Global<StepState> step;
  Global<const float> g;  // null: `partial` holds the sums of all chunks
  Global<const double> partial;
  int n;  // elements of g, or partial sums
  bool grouped;
  double maxNorm, momentum, momentumDecay;

  GPU_DEVICE void run() const {
    StepState state = step[0];
    barrier();  // every thread has read it before one writes
    if (!grouped) state.pending = 0;
    state.skip = 1;
    if (state.pending) {
      if (thread() == 0) step[0] = state;
      return;
    }
    double squares = 0;
    if (g) {
      for (int begin = 0; begin < n; begin += kChunk) squares += squaresOfChunk(g, begin, n);
    } else {
      const int each = static_cast<int>(ceilDiv(n, kThreads)), begin = thread() * each;
      for (int i = begin; i < smaller(begin + each, n); i++) squares += partial[i];
      squares = foldBlock<kThreads>(squares, AddUp());
    }
    if (thread() != 0) return;
    state.gradNorm = sqrt(squares);
    state.skip = state.gradNorm < static_cast<double>(INFINITY) ? 0 : 1;  // NaN is not below
    state.clipScale = maxNorm > 0 && state.gradNorm > maxNorm && !state.skip ? maxNorm / state.gradNorm : 1;
    if (state.skip) {
      state.skipped++;
    } else {
      state.updates++;
      if (momentum > 0) {
        const double mu = nadamMomentum(momentum, momentumDecay, static_cast<double>(state.updates));
        state.momentumProduct = state.updates == 1 ? mu : state.momentumProduct * mu;
      }
    }
    step[0] = state;
  }
};

}  // namespace gradline::cuda
