// Random numbers and batch sampling: every number is a function of (seed, step, stream, purpose, element), see
// philox.h, so any launch shape gives the same. Seed and step are read from the StepState in device memory.
#pragma once
#include "../../philox.h"
#include "../gpu.h"
#include "kernels.h"

namespace gradline::cuda {

// x [n], step -> y = x * factor where kept, else 0; y may lie on x
struct Dropout {
  static constexpr int kThreads = kBlock;
  Global<const float> x;
  Global<const StepState> step;
  Global<float> y;
  int n;
  uint32_t stream, threshold;
  float factor;

  GPU_DEVICE void run() const {
    const int quad = block() * kThreads + thread(), i = quad * kPerThread;
    if (i >= n) return;
    const StepState state = step[0];
    const Philox4 bits = randomBlock(state.seed, state.step, stream, Purpose::dropout, static_cast<uint64_t>(quad));
    if (i + kPerThread <= n) {
      Float4 q = load4(x, i);
      GPU_UNROLL
      for (int k = 0; k < kPerThread; k++) q.v[k] = bits.v[k] >> 8 >= threshold ? q.v[k] * factor : 0.0f;
      store4(y, i, q);
      return;
    }
    GPU_UNROLL
    for (int k = 0; k < kPerThread; k++) {
      if (i + k >= n) return;
      const float value = x[i + k];
      y[i + k] = bits.v[k] >> 8 >= threshold ? value * factor : 0.0f;
    }
  }
};

// x [images, h, w, channels], step -> y [images, h', w', channels]: a thread for each element of y draws the four
// numbers of its image again, which is cheaper than handing them over.
struct CropFlip {
  static constexpr int kThreads = kBlock;
  struct Axis {
    int from, to, beyond;  // elements of x and of y along it

    // Where element i of y comes from.
    GPU_DEVICE int source(int i, uint32_t place, bool mirrored, bool back) const {
      const int image = back ? to : from, window = back ? from : to;
      const uint64_t places = static_cast<uint64_t>(image + 2 * beyond - window + 1);
      const int first = static_cast<int>((place * places) >> 32) - beyond;
      if (mirrored) return first + window - 1 - i;  // its own inverse
      return back ? i - first : i + first;
    }
  };
  Global<const float> x;
  Global<const StepState> step;
  Global<float> y;
  int n, channels;
  Axis rows, columns;
  uint32_t stream, vertical, horizontal;
  float fill;
  bool back;

  GPU_DEVICE void run() const {
    const int i = block() * kThreads + thread();
    if (i >= n) return;
    const int channel = i % channels, pixel = i / channels;
    const int column = pixel % columns.to, row = pixel / columns.to % rows.to, image = pixel / columns.to / rows.to;
    const StepState state = step[0];
    const Philox4 bits = randomBlock(state.seed, state.step, stream, Purpose::window, static_cast<uint64_t>(image));
    const int r = rows.source(row, bits.v[0], bits.v[2] >> 8 < vertical, back);
    const int c = columns.source(column, bits.v[1], bits.v[3] >> 8 < horizontal, back);
    const bool inside = r >= 0 && r < rows.from && c >= 0 && c < columns.from;
    float value = fill;
    if (inside) value = x[((image * rows.from + r) * columns.from + c) * channels + channel];
    y[i] = value;
  }
};

// step -> y [n] in [low, high): what rounds up to high is taken back to `below`.
struct RandomUniform {
  static constexpr int kThreads = kBlock;
  Global<const StepState> step;
  Global<float> y;
  int n;
  uint32_t stream;
  float low, width, below;

  GPU_DEVICE void run() const {
    const int quad = block() * kThreads + thread(), i = quad * kPerThread;
    if (i >= n) return;
    const StepState state = step[0];
    const Philox4 bits = randomBlock(state.seed, state.step, stream, Purpose::uniform, static_cast<uint64_t>(quad));
    GPU_UNROLL
    for (int k = 0; k < kPerThread; k++) {
      if (i + k >= n) return;
      y[i + k] = fminf(low + width * uniform24(bits.v[k]), below);
    }
  }
};

// step -> y [n]: Box-Muller (1958) in double, from 1 - u in (0, 1], so that the logarithm is finite.
struct RandomNormal {
  static constexpr int kThreads = kBlock;
  Global<const StepState> step;
  Global<float> y;
  int n;
  uint32_t stream;
  double mean, deviation;

  GPU_DEVICE void run() const {
    const int quad = block() * kThreads + thread(), i = quad * kPerThread;
    if (i >= n) return;
    const StepState state = step[0];
    const Philox4 bits = randomBlock(state.seed, state.step, stream, Purpose::normal, static_cast<uint64_t>(quad));
    GPU_UNROLL
    for (int k = 0; k < kPerThread; k += 2) {
      if (i + k >= n) return;
      const double u = 1 - static_cast<double>(uniform24(bits.v[k]));
      const double turns = static_cast<double>(uniform24(bits.v[k + 1]));
      const double radius = sqrt(-2 * log(u));
      y[i + k] = static_cast<float>(mean + deviation * (radius * cosOfTurns(turns)));
      if (i + k + 1 < n) y[i + k + 1] = static_cast<float>(mean + deviation * (radius * sinOfTurns(turns)));
    }
  }
};

// step -> rows i32 [batch], each in [0, samples)
struct SampleRows {
  static constexpr int kThreads = kBlock;
  Global<const StepState> step;
  Global<int32_t> rows;
  int n, shuffle;
  uint64_t samples;

  GPU_DEVICE void run() const {
    const int i = block() * kThreads + thread();
    if (i >= n) return;
    const StepState state = step[0];
    const uint64_t element = static_cast<uint64_t>(i), position = (state.first + element) % samples;
    uint64_t row = position;
    if (shuffle == 1) row = permuteIndex(position, samples, state.seed, state.epoch);
    // A 32-bit number maps to [0, samples) by the upper half of their product (Lemire 2019, without the rejection).
    if (shuffle == 2) {
      const Philox4 bits = randomBlock(state.seed, state.step, 0, Purpose::choice, element / 4);
      uint32_t chosen = bits.v[0];  // by comparisons: an array with an index would have to lie in memory
      GPU_UNROLL
      for (uint32_t k = 1; k < 4; k++) chosen = element % 4 == k ? bits.v[k] : chosen;
      row = (chosen * samples) >> 32;
    }
    rows[i] = static_cast<int32_t>(row);
  }
};

}  // namespace gradline::cuda
