// Batch normalisation of f32 [r, c] (any leading axes) and softmax over the last axis, with derivatives.
// Statistics come from chunks of rows that fit the first cache: two passes inside a chunk, then the chunks are merged
// in order in double. Memory is so read once for the statistics and once for the result.
#include "columns.h"
#include "kernels.h"
#include "softmax.h"

namespace gradline::cpu::GL_ISA {
namespace {

struct Geometry {
  int64_t rows, c, rowsPerChunk, chunks;
  GL_INLINE int64_t first(int64_t chunk) const { return chunk * rowsPerChunk; }
  GL_INLINE int64_t count(int64_t chunk) const { return smaller(rowsPerChunk, rows - first(chunk)); }
};

Geometry geometryOf(const Tensor &x) {
  Geometry g = {x.rows(), x.channels(), 0, 0};
  g.rowsPerChunk = larger(4, 2 * kChunk / g.c);
  g.chunks = ceilDiv(g.rows, g.rowsPerChunk);
  return g;
}

// Workspace of the forward op: three rows [c] per chunk, see chunkStatistics.
enum PartialRow { kPivot, kDeviation, kSquare, kPartialRows };
GL_SIMD float *partialRow(const Op &op, const Geometry &g, int64_t chunk, PartialRow which) {
  return static_cast<float *>(op.workspace) + (chunk * kPartialRows + which) * g.c;
}

struct DoublePair {
  DVec low, high;
};
GL_SIMD DoublePair widen(Vec x) { return {widenLow(x), widenHigh(x)}; }
GL_SIMD DoublePair add(DoublePair a, DoublePair b) { return {a.low + b.low, a.high + b.high}; }
GL_SIMD DoublePair sub(DoublePair a, DoublePair b) { return {a.low - b.low, a.high - b.high}; }
GL_SIMD DoublePair mul(DoublePair a, DoublePair b) { return {a.low * b.low, a.high * b.high}; }
GL_SIMD DoublePair times(DoublePair a, double b) { return {a.low * b, a.high * b}; }
GL_SIMD Vec narrow(DoublePair a) {
  Vec v;
  const HalfVec low = __builtin_convertvector(a.low, HalfVec), high = __builtin_convertvector(a.high, HalfVec);
  __builtin_memcpy(&v, &low, sizeof low);
  __builtin_memcpy((char *)&v + sizeof low, &high, sizeof high);
  return v;
}

GL_SIMD Vec sumOf(Vec a, Vec b) { return a + b; }

// Per chunk and channel: pivot p (the chunk's mean as first computed), sum of x - p and sum of (x - p)^2. Exact mean
// and squares follow from the three, whatever the rounding of p (Chan, Golub, LeVeque 1983).
void chunkStatistics(const Op &op, int64_t begin, int64_t end, void *) {
  const Geometry g = geometryOf(op.in[0]);
  const auto combine = [](Vec a, Vec b) GL_LAMBDA { return sumOf(a, b); };
  for (int64_t chunk = begin; chunk < end; chunk++) {
    const float *x = op.in[0].as<float>() + g.first(chunk) * g.c;
    const int64_t rows = g.count(chunk);
    const Vec share = set1(1.0f / static_cast<float>(rows));
    float *pivot = partialRow(op, g, chunk, kPivot), *deviation = partialRow(op, g, chunk, kDeviation);
    float *square = partialRow(op, g, chunk, kSquare);
    foldColumns<1>(
        rows, 0, g.c, set1(0.0f),
        [&](int64_t row, int64_t column, int64_t count, Vec(&value)[1])
            GL_LAMBDA { value[0] = load(x + row * g.c + column, count); },
        combine,
        [&](int64_t column, int64_t count, Vec(&total)[1])
            GL_LAMBDA { store(pivot + column, total[0] * share, count); });
    foldColumns<2>(
        rows, 0, g.c, set1(0.0f),
        [&](int64_t row, int64_t column, int64_t count, Vec(&value)[2]) GL_LAMBDA {
          value[0] = load(x + row * g.c + column, count) - load(pivot + column, count);
          value[1] = value[0] * value[0];
        },
        combine,
        [&](int64_t column, int64_t count, Vec(&total)[2]) GL_LAMBDA {
          store(deviation + column, total[0], count);
          store(square + column, total[1], count);
        });
  }
}

// Merges the chunks into mean and variance. A unit is one vector of channels.
void mergeStatistics(const Op &op, int64_t begin, int64_t end, void *) {
  const Geometry g = geometryOf(op.in[0]);
  for (int64_t column = begin * kLanes; column < smaller(end * kLanes, g.c); column += kLanes) {
    const int64_t count = smaller(kLanes, g.c - column);
    const auto partial = [&](int64_t chunk, PartialRow which)
                             GL_LAMBDA { return widen(load(partialRow(op, g, chunk, which) + column, count)); };
    DoublePair mean = {}, squares = {};
    double merged = 0;  // rows so far
    for (int64_t chunk = 0; chunk < g.chunks; chunk++) {
      const double rows = static_cast<double>(g.count(chunk));
      const DoublePair sum = partial(chunk, kDeviation), offset = times(sum, 1 / rows);
      const DoublePair chunkMean = add(partial(chunk, kPivot), offset);
      const DoublePair chunkSquares = sub(partial(chunk, kSquare), mul(sum, offset));
      const DoublePair delta = sub(chunkMean, mean);
      const double share = rows / (merged + rows);
      mean = add(mean, times(delta, share));
      squares = add(squares, add(chunkSquares, times(mul(delta, delta), merged * share)));
      merged += rows;
    }
    store(op.out[1].as<float>() + column, narrow(mean), count);
    const Vec variance = narrow(times(squares, 1 / static_cast<double>(g.rows)));
    store(op.out[2].as<float>() + column, maxOf(set1(0.0f), variance), count);
  }
}

// x [rows, c] -> y = (x - mean) * gamma / sqrt(variance + eps) + beta: the difference first, so that a mean far larger
// than the deviation costs no digits. `factor` is room for c floats, so that the root is taken once per channel.
GL_SIMD void normalize(const float *x, float *y, int64_t rows, int64_t c, const float *gamma, const float *beta,
                       const float *mean, const float *variance, float eps, float *factor) {
  eachVec(c, [&](int64_t i, int64_t count) GL_LAMBDA {
    store(factor + i, load(gamma + i, count) / sqrt(load(variance + i, count) + eps), count);
  });
  for (int64_t row = 0; row < rows; row++, x += c, y += c)
    eachVec(c, [&](int64_t i, int64_t count) GL_LAMBDA {
      const Vec centred = load(x + i, count) - load(mean + i, count);
      store(y + i, centred * load(factor + i, count) + load(beta + i, count), count);
    });
}

void normalizeChunks(const Op &op, int64_t begin, int64_t end, void *scratch) {
  const Geometry g = geometryOf(op.in[0]);
  const int64_t first = g.first(begin), rows = smaller(g.first(end), g.rows) - first;
  normalize(op.in[0].as<float>() + first * g.c, op.out[0].as<float>() + first * g.c, rows, g.c, op.in[1].as<float>(),
            op.in[2].as<float>(), op.out[1].as<float>(), op.out[2].as<float>(), static_cast<float>(op.attr[0]),
            static_cast<float *>(scratch));
}

void normalizeInference(const Op &op, int64_t begin, int64_t end, void *scratch) {
  const Geometry g = geometryOf(op.in[0]);
  const int64_t first = g.first(begin), rows = smaller(g.first(end), g.rows) - first;
  normalize(op.in[0].as<float>() + first * g.c, op.out[0].as<float>() + first * g.c, rows, g.c, op.in[1].as<float>(),
            op.in[2].as<float>(), op.in[3].as<float>(), op.in[4].as<float>(), static_cast<float>(op.attr[0]),
            static_cast<float *>(scratch));
}

// Inputs dy, x, gamma, mean, variance. Workspace: per chunk the rows sum dy [c] and sum dy * (x - mean) [c].
void chunkGradients(const Op &op, int64_t begin, int64_t end, void *) {
  const Geometry g = geometryOf(op.in[0]);
  const float *mean = op.in[3].as<float>();
  for (int64_t chunk = begin; chunk < end; chunk++) {
    const float *dy = op.in[0].as<float>() + g.first(chunk) * g.c, *x = op.in[1].as<float>() + g.first(chunk) * g.c;
    float *partial = static_cast<float *>(op.workspace) + chunk * 2 * g.c;
    foldColumns<2>(
        g.count(chunk), 0, g.c, set1(0.0f),
        [&](int64_t row, int64_t column, int64_t count, Vec(&value)[2]) GL_LAMBDA {
          value[0] = load(dy + row * g.c + column, count);
          value[1] = value[0] * (load(x + row * g.c + column, count) - load(mean + column, count));
        },
        [](Vec a, Vec b) GL_LAMBDA { return sumOf(a, b); },
        [&](int64_t column, int64_t count, Vec(&total)[2]) GL_LAMBDA {
          store(partial + column, total[0], count);
          store(partial + g.c + column, total[1], count);
        });
  }
}

// Merges the chunks into dgamma and dbeta. A unit is one vector of channels.
void mergeGradients(const Op &op, int64_t begin, int64_t end, void *) {
  const Geometry g = geometryOf(op.in[0]);
  const float eps = static_cast<float>(op.attr[attr::batchNormGrad::eps]);
  for (int64_t column = begin * kLanes; column < smaller(end * kLanes, g.c); column += kLanes) {
    const int64_t count = smaller(kLanes, g.c - column);
    DoublePair sum = {}, product = {};
    for (int64_t chunk = 0; chunk < g.chunks; chunk++) {
      const float *partial = static_cast<float *>(op.workspace) + chunk * 2 * g.c + column;
      sum = add(sum, widen(load(partial, count)));
      product = add(product, widen(load(partial + g.c, count)));
    }
    const Vec deviation = sqrt(load(op.in[4].as<float>() + column, count) + eps);
    store(op.out[1].as<float>() + column, narrow(product) / deviation, count);
    store(op.out[2].as<float>() + column, narrow(sum), count);
  }
}

// dx = gamma / s * (dy - average(dy) - (x - mean) / s * average(dy * z)), s = sqrt(variance + eps). The factors of each
// channel stand in the scratch: gamma / s, average(dy), average(dy * z) / s.
void inputGradient(const Op &op, int64_t begin, int64_t end, void *scratch) {
  const Geometry g = geometryOf(op.in[0]);
  const float eps = static_cast<float>(op.attr[attr::batchNormGrad::eps]);
  const Vec share = set1(1.0f / static_cast<float>(g.rows));
  const float *mean = op.in[3].as<float>();
  float *factor = static_cast<float *>(scratch), *average = factor + g.c, *slope = average + g.c;
  eachVec(g.c, [&](int64_t i, int64_t count) GL_LAMBDA {
    const Vec deviation = sqrt(load(op.in[4].as<float>() + i, count) + eps);
    store(factor + i, load(op.in[2].as<float>() + i, count) / deviation, count);
    store(average + i, load(op.out[2].as<float>() + i, count) * share, count);
    store(slope + i, load(op.out[1].as<float>() + i, count) * share / deviation, count);
  });
  for (int64_t row = g.first(begin); row < smaller(g.first(end), g.rows); row++) {
    const float *dy = op.in[0].as<float>() + row * g.c, *x = op.in[1].as<float>() + row * g.c;
    float *dx = op.out[0].as<float>() + row * g.c;
    eachVec(g.c, [&](int64_t i, int64_t count) GL_LAMBDA {
      const Vec centred = load(x + i, count) - load(mean + i, count);
      const Vec rest = load(dy + i, count) - load(average + i, count) - centred * load(slope + i, count);
      store(dx + i, load(factor + i, count) * rest, count);
    });
  }
}

int64_t rowsPerUnit(const Op &op) { return larger(1, kChunk / op.in[0].channels()); }

void runSoftmax(const Op &op, int64_t begin, int64_t end, void *) {
  const int64_t c = op.in[0].channels(), perUnit = rowsPerUnit(op), stop = smaller(end * perUnit, op.in[0].rows());
  for (int64_t row = begin * perUnit; row < stop; row++)
    softmaxRow(op.in[0].as<float>() + row * c, op.out[0].as<float>() + row * c, c);
}

void runSoftmaxGrad(const Op &op, int64_t begin, int64_t end, void *) {
  const int64_t c = op.in[0].channels(), perUnit = rowsPerUnit(op), stop = smaller(end * perUnit, op.in[0].rows());
  for (int64_t row = begin * perUnit; row < stop; row++) {
    const float *dy = op.in[0].as<float>() + row * c, *y = op.in[1].as<float>() + row * c;
    float *dx = op.out[0].as<float>() + row * c;
    Vec products = set1(0.0f);
    eachVec(c, [&](int64_t i, int64_t count) GL_LAMBDA { products += load(dy + i, count) * load(y + i, count); });
    const Vec inner = set1(sumLanes(products));
    eachVec(c, [&](int64_t i, int64_t count)
                   GL_LAMBDA { store(dx + i, load(y + i, count) * (load(dy + i, count) - inner), count); });
  }
}

// Nanoseconds of a softmax-like op on x: three light passes, one exponential per vector and a few reductions per row.
double rowTime(const Tensor &x) {
  const double vectors = static_cast<double>(x.rows() * ceilDiv(x.channels(), kLanes));
  return streamTime(8.0 * static_cast<double>(x.size)) + 5.0 * vectors + 8.0 * static_cast<double>(x.rows());
}

}  // namespace

bool planBatchNorm(const Op &op, KernelPlan &plan) {
  if (!allF32(op) || op.in[0].size == 0) return false;
  const Geometry g = geometryOf(op.in[0]);
  const double bytes = 4.0 * static_cast<double>(op.in[0].size);
  const double partials = 4.0 * static_cast<double>(g.chunks * kPartialRows * g.c);
  onePhase(plan, "chunks", chunkStatistics, g.chunks, streamTime(bytes));
  addPhase(plan, mergeStatistics, ceilDiv(g.c, kLanes), streamTime(partials));
  addPhase(plan, normalizeChunks, g.chunks, streamTime(2 * bytes));
  plan.workspace = static_cast<size_t>(partials);
  plan.scratch = static_cast<size_t>(g.c) * sizeof(float);
  return true;
}

bool planBatchNormGrad(const Op &op, KernelPlan &plan) {
  if (!allF32(op) || op.in[0].size == 0) return false;
  const Geometry g = geometryOf(op.in[0]);
  const double bytes = 4.0 * static_cast<double>(op.in[0].size);
  const double partials = 4.0 * static_cast<double>(g.chunks * 2 * g.c);
  onePhase(plan, "chunks", chunkGradients, g.chunks, streamTime(2 * bytes));
  addPhase(plan, mergeGradients, ceilDiv(g.c, kLanes), streamTime(partials));
  addPhase(plan, inputGradient, g.chunks, streamTime(3 * bytes));
  plan.workspace = static_cast<size_t>(partials);
  plan.scratch = 3 * static_cast<size_t>(g.c) * sizeof(float);
  return true;
}

bool planBatchNormInference(const Op &op, KernelPlan &plan) {
  if (!allF32(op) || op.in[0].size == 0) return false;
  const Geometry g = geometryOf(op.in[0]);
  onePhase(plan, "chunks", normalizeInference, g.chunks, streamTime(8.0 * static_cast<double>(op.in[0].size)));
  plan.scratch = static_cast<size_t>(g.c) * sizeof(float);
  return true;
}

bool planSoftmax(const Op &op, KernelPlan &plan) {
  if (!allF32(op) || op.in[0].size == 0) return false;
  return onePhase(plan, "rows", runSoftmax, ceilDiv(op.in[0].rows(), rowsPerUnit(op)), rowTime(op.in[0]));
}

bool planSoftmaxGrad(const Op &op, KernelPlan &plan) {
  if (!allF32(op) || op.in[0].size == 0) return false;
  return onePhase(plan, "rows", runSoftmaxGrad, ceilDiv(op.in[0].rows(), rowsPerUnit(op)), rowTime(op.in[0]));
}

}  // namespace gradline::cpu::GL_ISA
