// Batch normalisation over rows of [r, c], with epilogues. Statistics come from chunks of rows, two passes each, merged
// in double by Chan's formula (Chan, Golub, LeVeque 1983) in a fixed tree; up to one chunk of rows the whole op is one
// launch. The derivative is in normGrad.cuh, softmax in softmax.cuh.
#pragma once
#include "columns.cuh"
#include "fold.cuh"

namespace gradline::cuda {

// ---- What the derivative computes too: behind an activation it must see the very number that the activation saw

GPU_DEVICE float normalFactor(float gamma, float variance, float eps) { return gamma / sqrtf(variance + eps); }

// The difference first, so that a mean far larger than the deviation costs no digits.
GPU_DEVICE float normalized(float x, float mean, float factor, float beta) { return (x - mean) * factor + beta; }

// Count, mean and sum of squared deviations of some rows of a channel.
struct Statistics {
  double count, mean, squares;
};
struct Merge {
  GPU_DEVICE Statistics operator()(const Statistics &a, const Statistics &b) const {
    const double count = a.count + b.count;
    if (count == 0) return a;
    const double delta = b.mean - a.mean, share = b.count / count;
    return {count, a.mean + delta * share, a.squares + b.squares + delta * delta * a.count * share};
  }
};

// Of one chunk, for the threads of the first row. Pivot p is the chunk's mean as first computed; from the sums of x - p
// and (x - p)^2 mean and squares follow exactly, whatever the rounding of p.
GPU_DEVICE Statistics chunkStatistics(const Columns &at, Global<const float> x) {
  GPU_SHARED(float, pivots, 32);
  float sum = 0;
  at.eachRow([&](int i) { sum += x[i]; });
  sum = foldColumn<kBlock>(sum, at.width, AddUp());
  const float rows = static_cast<float>(at.rowsOfBlock());
  if (at.isFirstRow()) pivots[thread()] = sum / rows;
  barrier();
  const float pivot = pivots[at.columnOfThread()];
  float deviation = 0, square = 0;
  at.eachRow([&](int i) {
    const float d = x[i] - pivot;
    deviation += d;
    square += d * d;
  });
  deviation = foldColumn<kBlock>(deviation, at.width, AddUp());
  square = foldColumn<kBlock>(square, at.width, AddUp());
  const double offset = static_cast<double>(deviation) / static_cast<double>(rows);
  return {static_cast<double>(rows), static_cast<double>(pivot) + offset,
          static_cast<double>(square) - static_cast<double>(deviation) * offset};
}

GPU_DEVICE float varianceOf(const Statistics &all) {
  const double variance = all.squares / all.count;
  return variance < 0 ? 0.0f : static_cast<float>(variance);  // NaN stays
}

// What a column of y is made of besides x.
struct Row {
  Global<const float> gamma, beta;
  float eps;
  Epilogues epilogues;
};

// The rows of this block, through the epilogues.
GPU_DEVICE void normalize(const Columns &at, Global<const float> x, Global<float> y, const Row &row, float mean,
                          float variance) {
  const int c = at.column();
  const float gamma = row.gamma[c], beta = row.beta[c], factor = normalFactor(gamma, variance, row.eps);
  at.eachRow([&](int i) { y[i] = applyEpilogues(row.epilogues, normalized(x[i], mean, factor, beta), i, c, at.c); });
}

// x, gamma, beta -> y, mean, variance when all rows are one chunk
struct BatchNorm {
  static constexpr int kThreads = kBlock;
  Columns at;
  Row row;
  Global<const float> x;
  Global<float> y, mean, variance;

  GPU_DEVICE void run() const {
    GPU_SHARED(float, both, 64);
    const Statistics all = chunkStatistics(at, x);
    if (at.isFirstRow()) {
      both[thread()] = static_cast<float>(all.mean);
      both[32 + thread()] = varianceOf(all);
      if (at.isInside()) {
        mean[at.column()] = static_cast<float>(all.mean);
        variance[at.column()] = varianceOf(all);
      }
    }
    barrier();
    if (!at.isInside()) return;
    const int own = at.columnOfThread();
    normalize(at, x, y, row, both[own], both[32 + own]);
  }
};

// x -> statistics of each chunk [chunks, c]
struct ChunkStatistics {
  static constexpr int kThreads = kBlock;
  Columns at;
  Global<const float> x;
  Global<Statistics> partial;

  GPU_DEVICE void run() const {
    const Statistics all = chunkStatistics(at, x);
    if (at.isFirstRow() && at.isInside()) partial[at.chunk() * at.c + at.column()] = all;
  }
};

// Statistics of the chunks -> mean, variance: each thread merges neighbouring chunks in order, the block the rest.
struct MergeStatistics {
  static constexpr int kThreads = kBlock;
  Columns at;  // one row per chunk
  Global<const Statistics> partial;
  Global<float> mean, variance;

  GPU_DEVICE void run() const {
    Statistics all = {0, 0, 0};
    at.eachOfRun([&](int i) { all = Merge()(all, partial[i]); });
    all = foldColumn<kBlock>(all, at.width, Merge());
    if (!at.isFirstRow() || !at.isInside()) return;
    mean[at.column()] = static_cast<float>(all.mean);
    variance[at.column()] = varianceOf(all);
  }
};

// x, gamma, beta, mean, variance -> y
struct Normalize {
  static constexpr int kThreads = kBlock;
  Columns at;
  Row row;
  Global<const float> x, mean, variance;
  Global<float> y;

  GPU_DEVICE void run() const {
    if (!at.isInside()) return;
    const float center = mean[at.column()], spread = variance[at.column()];
    normalize(at, x, y, row, center, spread);
  }
};

}  // namespace gradline::cuda
