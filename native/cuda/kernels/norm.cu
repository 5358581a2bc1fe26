// Batch normalisation over rows of [r, c], with its derivative. Statistics come from chunks of rows, two passes each,
// merged in double by Chan's formula (Chan, Golub, LeVeque 1983) in a fixed tree; up to one chunk of rows the whole op
// is one launch. Softmax is in softmax.cu.
#include "columns.cuh"
#include "fold.cuh"

namespace gradline::cuda {
namespace {

constexpr int kBlock = Columns::kThreads;

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

// y = (x - mean) * gamma / sqrt(variance + eps) + beta over the rows of this block: the difference first, so that a
// mean far larger than the deviation costs no digits.
GPU_DEVICE void normalize(const Columns &at, Global<const float> x, Global<float> y, float gamma, float beta,
                          float mean, float variance, float eps) {
  const float factor = gamma / sqrtf(variance + eps);
  at.eachRow([&](int i) { y[i] = (x[i] - mean) * factor + beta; });
}

// x, gamma, beta -> y, mean, variance when all rows are one chunk
struct BatchNorm {
  static constexpr int kThreads = kBlock;
  Columns at;
  Global<const float> x, gamma, beta;
  Global<float> y, mean, variance;
  float eps;

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
    const int own = at.columnOfThread(), c = at.column();
    normalize(at, x, y, gamma[c], beta[c], both[own], both[32 + own], eps);
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
  Global<const float> x, gamma, beta, mean, variance;
  Global<float> y;
  float eps;

  GPU_DEVICE void run() const {
    if (!at.isInside()) return;
    const int c = at.column();
    normalize(at, x, y, gamma[c], beta[c], mean[c], variance[c], eps);
  }
};

// ---- Derivative: with z = (x - mean) / sqrt(variance + eps),
//   dx = gamma / sqrt(variance + eps) * (dy - average(dy) - z * average(dy * z))

struct GradOperands {
  Global<const float> dy, x, gamma, mean, variance;
  Global<float> dx, dgamma, dbeta;
  float eps;
};

// Sums of dy and dy * (x - mean) over the rows of this block, for the threads of the first row.
GPU_DEVICE void chunkGradients(const Columns &at, const GradOperands &o, float &sum, float &product) {
  sum = product = 0;
  if (at.isInside()) {
    const float center = o.mean[at.column()];
    at.eachRow([&](int i) {
      const float dy = o.dy[i];
      sum += dy;
      product += dy * (o.x[i] - center);
    });
  }
  sum = foldColumn<kBlock>(sum, at.width, AddUp());
  product = foldColumn<kBlock>(product, at.width, AddUp());
}

GPU_DEVICE void inputGradient(const Columns &at, const GradOperands &o, float dgamma, float dbeta) {
  const int c = at.column();
  const float deviation = sqrtf(o.variance[c] + o.eps), rows = static_cast<float>(at.rows);
  const float factor = o.gamma[c] / deviation, average = dbeta / rows, slope = dgamma / rows / deviation;
  const float center = o.mean[c];
  at.eachRow([&](int i) { o.dx[i] = factor * (o.dy[i] - average - (o.x[i] - center) * slope); });
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

}  // namespace

bool planBatchNorm(const Op &op, Launches &launches) {
  if (!allF32(op) || op.epilogues != 0 || op.out[0].size == 0) return false;
  const Columns at = columnsOf(op.in[0]);
  const Global<const float> x = global<const float>(op.in[0]), gamma = global<const float>(op.in[1]),
                            beta = global<const float>(op.in[2]);
  const Global<float> y = global<float>(op.out[0]), mean = global<float>(op.out[1]),
                      variance = global<float>(op.out[2]);
  const float eps = static_cast<float>(op.attr[attr::batchNorm::eps]);
  if (at.chunks() == 1) {
    launch(launches, BatchNorm{at, x, gamma, beta, y, mean, variance, eps}, at.grid());
    return true;
  }
  const Columns overChunks = at.overChunks();
  const Global<Statistics> partial = scratch<Statistics>(op, launches, at.chunks() * at.c);
  launch(launches, ChunkStatistics{at, x, partial}, at.grid());
  launch(launches, MergeStatistics{overChunks, partial, mean, variance}, overChunks.grid());
  launch(launches, Normalize{at, x, gamma, beta, mean, variance, y, eps}, at.grid());
  return true;
}

bool planBatchNormGrad(const Op &op, Launches &launches) {
  if (!allF32(op) || op.inputs != 5 || op.epilogues != 0 || op.out[0].size == 0) return false;
  const Columns at = columnsOf(op.in[0]);
  GradOperands o = {};
  o.dy = global<const float>(op.in[0]);
  o.x = global<const float>(op.in[1]);
  o.gamma = global<const float>(op.in[2]);
  o.mean = global<const float>(op.in[3]);
  o.variance = global<const float>(op.in[4]);
  o.dx = global<float>(op.out[0]);
  o.dgamma = global<float>(op.out[1]);
  o.dbeta = global<float>(op.out[2]);
  o.eps = static_cast<float>(op.attr[attr::batchNormGrad::eps]);
  if (at.chunks() == 1) {
    launch(launches, BatchNormGrad{at, o}, at.grid());
    return true;
  }
  const Columns overChunks = at.overChunks();
  const Global<float> partial = scratch<float>(op, launches, at.chunks() * 2 * at.c);
  launch(launches, ChunkGradients{at, o, partial}, at.grid());
  launch(launches, MergeGradients{overChunks, o, partial}, overChunks.grid());
  launch(launches, InputGradient{at, o}, at.grid());
  return true;
}

bool planBatchNormInference(const Op &op, Launches &launches) {
  if (!allF32(op) || op.epilogues != 0) return false;
  if (op.out[0].size == 0) return true;
  const Columns at = columnsOf(op.in[0]);
  launch(launches,
         Normalize{at, global<const float>(op.in[0]), global<const float>(op.in[1]), global<const float>(op.in[2]),
                   global<const float>(op.in[3]), global<const float>(op.in[4]), global<float>(op.out[0]),
                   static_cast<float>(op.attr[attr::batchNormInference::eps])},
         at.grid());
  return true;
}

}  // namespace gradline::cuda
