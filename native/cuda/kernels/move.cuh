// Ops that move elements to other places, repeat, convert or pick them. Elements of 4 bytes move as they are, so f32
// and i32 share their kernels. Shapes say where; nothing is computed beyond conversion and the factor and offset of
// gather.
#pragma once
#include "axes.cuh"
#include "fault.cuh"
#include "transpose.cuh"

namespace gradline::cuda {

// y [yStart + stepsOfY . i] = x [xStart + stepsOfX . i] for every index i of the axes; operand 0 is x, operand 1 is y.
template <class T>
struct Strided {
  static constexpr int kThreads = kBlock;
  Global<const T> x;
  Global<T> y;
  int n, xStart, yStart;
  Axes axes;

  GPU_DEVICE void run() const {
    for (int k = 0; k < kPerThread; k++) {
      const int i = (block() * kPerThread + k) * kThreads + thread();
      if (i >= n) return;
      int place[2];
      placesOf(axes, i, place);
      y[yStart + place[1]] = x[xStart + place[0]];
    }
  }
};

template <class T>
struct Fill {
  static constexpr int kThreads = kBlock;
  Global<T> y;
  int n;
  T value;

  GPU_DEVICE void run() const {
    for (int k = 0; k < kPerThread; k++) {
      const int i = (block() * kPerThread + k) * kThreads + thread();
      if (i < n) y[i] = value;
    }
  }
};

// Integers truncate toward zero and saturate, NaN gives 0; doubles hold every source exactly.
template <class To, class From>
GPU_DEVICE To convert(From x) {
  if constexpr (To(0.5) != To(0)) {
    return static_cast<To>(x);
  } else {
    constexpr double low = To(-1) > To(0) ? 0.0 : -2147483648.0, high = To(-1) > To(0) ? 255.0 : 2147483647.0;
    const double value = static_cast<double>(x);
    if (value != value) return 0;
    return static_cast<To>(value <= low ? low : value >= high ? high : value);
  }
}

template <class From, class To>
struct Convert {
  static constexpr int kThreads = kBlock;
  Global<const From> x;
  Global<To> y;
  int n;

  GPU_DEVICE void run() const {
    for (int k = 0; k < kPerThread; k++) {
      const int i = (block() * kPerThread + k) * kThreads + thread();
      if (i < n) y[i] = convert<To, From>(x[i]);
    }
  }
};

// table [r, inner], indices i32 [n] -> y [n, inner]: factor * row + offset as float, i32 rows as they are
template <class T, class To>
struct Gather {
  static constexpr int kThreads = kBlock;
  Global<const T> table;
  Global<const int32_t> indices;
  Global<To> y;
  int size, inner, rows;
  float factor, offset;
  Reporter report;

  GPU_DEVICE void run() const {
    if (report.isStopped()) return;
    for (int k = 0; k < kPerThread; k++) {
      const int i = (block() * kPerThread + k) * kThreads + thread();
      if (i >= size) return;
      const int at = static_cast<int>(static_cast<uint32_t>(i) / static_cast<uint32_t>(inner)), column = i - at * inner;
      const int index = indices[at];
      if (index < 0 || index >= rows) {
        if (column == 0) report(Fault::indexOutOfRange, at, index, rows);
        continue;
      }
      const T value = table[index * inner + column];
      if constexpr (To(0.5) == To(0))
        y[i] = value;
      else
        y[i] = factor * static_cast<float>(value) + offset;
    }
  }
};

// dy [n, inner], indices i32 [n] -> dtable [rows, inner]: a block for up to 256 columns of one row, whose threads look
// at all indices in order and add where one names the row. So sums run in order of n and nothing collides.
struct GatherGrad {
  static constexpr int kThreads = kBlock;
  Global<const float> dy;
  Global<const int32_t> indices;
  Global<float> dtable;
  int n, inner, rows, tiles;
  float factor;
  Reporter report;

  GPU_DEVICE void run() const {
    if (report.isStopped()) return;
    GPU_SHARED(int32_t, some, kThreads);
    const int row = block() / tiles, column = block() % tiles * kThreads + thread();
    float total = 0;
    for (int begin = 0; begin < n; begin += kThreads) {
      barrier();
      if (begin + thread() < n) {
        const int index = indices[begin + thread()];
        some[thread()] = index;
        if (block() == 0 && (index < 0 || index >= rows)) report(Fault::indexOutOfRange, begin + thread(), index, rows);
      }
      barrier();
      const int count = n - begin < kThreads ? n - begin : kThreads;
      for (int i = 0; i < count; i++) {
        if (some[i] == row && column < inner) total += factor * dy[(begin + i) * inner + column];
      }
    }
    if (row < rows && column < inner) dtable[row * inner + column] = total;
  }
};

}  // namespace gradline::cuda
