// What follows the update of the parameters: a limit on the norm of each unit's weights, and running averages of
// weights. Both leave everything alone in a step whose update was skipped.
#pragma once
#include "fold.cuh"
#include "kernels.h"

namespace gradline::cuda {

// theta [rows, units]: a block for 32 units, whose columns it sums and scales.
struct MaxNorm {
  static constexpr int kThreads = kBlock;
  Global<float> theta;
  Global<const StepState> step;
  int rows, units, width;
  double limit;

  GPU_DEVICE void run() const {
    const StepState state = step[0];
    if (state.skip) return;
    GPU_SHARED(float, factor, 32);
    const int column = thread() % width, unit = block() * width + column, lanes = kThreads / width;
    double squares = 0;
    if (unit < units) {
      for (int row = thread() / width; row < rows; row += lanes) {
        const float w = theta[row * units + unit];
        squares += static_cast<double>(w) * static_cast<double>(w);
      }
    }
    squares = foldColumn<kThreads>(squares, width, AddUp());
    if (thread() < width) {
      const double norm = sqrt(squares);
      factor[column] = norm > limit ? static_cast<float>(limit / norm) : 1.0f;
    }
    barrier();
    const float scale = factor[column];
    if (unit >= units || scale == 1.0f) return;  // a unit within the limit keeps its bits
    for (int row = thread() / width; row < rows; row += lanes)
      theta[row * units + unit] = theta[row * units + unit] * scale;
  }
};

struct AverageWeights {
  static constexpr int kThreads = kBlock;
  Global<float> average;
  Global<const float> theta;
  Global<const StepState> step;
  int n;
  double decay;

  GPU_DEVICE void run() const {
    const int i = block() * kThreads + thread();
    if (i >= n) return;
    const StepState state = step[0];
    if (state.skip) return;
    const double weight = state.updates <= 1 ? 0 : decay;
    const float keep = static_cast<float>(weight), take = static_cast<float>(1 - weight);
    average[i] = keep * average[i] + take * theta[i];
  }
};

}  // namespace gradline::cuda
