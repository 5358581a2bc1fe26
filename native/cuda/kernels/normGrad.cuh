// The derivative of batch normalisation over rows of [r, c], with that of relu or leakyRelu behind it. Sums over rows
// come from chunks, merged in double in a fixed tree; up to one chunk of rows the whole op is one launch.
// With z = (x - mean) / sqrt(variance + eps):
//   dx = gamma / sqrt(variance + eps) * (dy - average(dy) - z * average(dy * z))
#pragma once
#include "norm.cuh"

namespace gradline::cuda {

struct GradOperands {
  Global<const float> dy, x, gamma, mean, variance, beta;  // beta: null where no activation followed
  Global<float> dx, dgamma, dbeta;
  float eps, slope;
};

// Element i of dy, through the derivative of the activation, whose argument is computed anew from x.
GPU_DEVICE float throughActivation(const GradOperands &o, int i, float mean, float factor, float beta) {
  const float dy = o.dy[i];
  if (!o.beta) return dy;
  const float y = normalized(o.x[i], mean, factor, beta);
  return o.slope == 0 ? binary<OpCode::reluGrad>(dy, y, 0.0f) : binary<OpCode::leakyReluGrad>(dy, y, o.slope);
}
GPU_DEVICE float betaOf(const GradOperands &o, int c) {
  float beta = 0;
  if (o.beta) beta = o.beta[c];
  return beta;
}

// Sums of dy and dy * (x - mean) over the rows of this block, for the threads of the first row.
GPU_DEVICE void chunkGradients(const Columns &at, const GradOperands &o, float &sum, float &product) {
  sum = product = 0;
  if (at.isInside()) {
    const int c = at.column();
    const float center = o.mean[c], factor = normalFactor(o.gamma[c], o.variance[c], o.eps), beta = betaOf(o, c);
    at.eachRow([&](int i) {
      const float dy = throughActivation(o, i, center, factor, beta);
      sum += dy;
      product += dy * (o.x[i] - center);
    });
  }
  sum = foldColumn<kBlock>(sum, at.width, AddUp());
  product = foldColumn<kBlock>(product, at.width, AddUp());
}

GPU_DEVICE void inputGradient(const Columns &at, const GradOperands &o, float dgamma, float dbeta) {
  const int c = at.column();
  const float rows = static_cast<float>(at.rows), average = dbeta / rows;
  const float slope = dgamma / rows / sqrtf(o.variance[c] + o.eps);
  const float center = o.mean[c], factor = normalFactor(o.gamma[c], o.variance[c], o.eps), beta = betaOf(o, c);
  at.eachRow([&](int i) {
    const float dy = throughActivation(o, i, center, factor, beta);
    o.dx[i] = factor * (dy - average - (o.x[i] - center) * slope);
  });
}

// All of it when all rows are one chunk.
struct BatchNormGrad {
  static constexpr int kThreads = kBlock;
  Columns at;
  GradOperands o;

  GPU_DEVICE void run() const {
    GPU_SHARED(float, both, 64);
    float sum, product;
    chunkGradients(at, o, sum, product);
    if (at.isFirstRow() && at.isInside()) {
      const int c = at.column();
      const float dgamma = product / sqrtf(o.variance[c] + o.eps);
      o.dgamma[c] = both[thread()] = dgamma;
      o.dbeta[c] = both[32 + thread()] = sum;
    }
    barrier();
    const int own = at.columnOfThread();
    if (at.isInside()) inputGradient(at, o, both[own], both[32 + own]);
  }
};

// Sums of each chunk [chunks, 2, c]
struct ChunkGradients {
  static constexpr int kThreads = kBlock;
  Columns at;
  GradOperands o;
  Global<float> partial;

  GPU_DEVICE void run() const {
    float sum, product;
    chunkGradients(at, o, sum, product);
    if (!at.isFirstRow() || !at.isInside()) return;
    partial[at.chunk() * 2 * at.c + at.column()] = sum;
    partial[(at.chunk() * 2 + 1) * at.c + at.column()] = product;
  }
};

struct MergeGradients {
  static constexpr int kThreads = kBlock;
  Columns at;  // one row per chunk
  GradOperands o;
  Global<const float> partial;

  GPU_DEVICE void run() const {
    double sum = 0, product = 0;
    at.eachOfRun([&](int i) {
      const int chunk = i / at.c, c = i - chunk * at.c;
      sum += static_cast<double>(partial[chunk * 2 * at.c + c]);
      product += static_cast<double>(partial[(chunk * 2 + 1) * at.c + c]);
    });
    sum = foldColumn<kBlock>(sum, at.width, AddUp());
    product = foldColumn<kBlock>(product, at.width, AddUp());
    if (!at.isFirstRow() || !at.isInside()) return;
    const int c = at.column();
    o.dgamma[c] = static_cast<float>(product) / sqrtf(o.variance[c] + o.eps);
    o.dbeta[c] = static_cast<float>(sum);
  }
};

struct InputGradient {
  static constexpr int kThreads = kBlock;
  Columns at;
  GradOperands o;

  GPU_DEVICE void run() const {
    if (!at.isInside()) return;
    inputGradient(at, o, o.dgamma[at.column()], o.dbeta[at.column()]);
  }
};

}  // namespace gradline::cuda
