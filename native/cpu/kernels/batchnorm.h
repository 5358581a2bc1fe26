// How batch norm cuts its matrix [rows, c], and the statistics of its pieces. A tile is a block of whole rows: memory
// is read as it lies. What is summed over all rows is summed in a tile in single precision and merged over the tiles,
// in order, in double. The kernels that use it stand in norm.cc.
#pragma once
#include "columns.h"
#include "kernels.h"

namespace gradline::cpu::GL_ISA {

struct Tiling {
  int64_t rows, c, rowsPerTile, tiles;

  GL_INLINE int64_t first(int64_t tile) const { return tile * rowsPerTile; }
  GL_INLINE int64_t count(int64_t tile) const { return smaller(rowsPerTile, rows - first(tile)); }
};

GL_SIMD Tiling tilingOf(const Tensor &x) {
  const int64_t rowsPerTile = larger(8, 4 * kChunk / x.channels());
  return {x.rows(), x.channels(), rowsPerTile, ceilDiv(x.rows(), rowsPerTile)};
}

// Sums `values` terms over the rows of a tile into sums [values, c]; see foldColumns for `term`. Wide rows are summed a
// few at a time, so that each is walked from end to end: a column of them would touch a page per row.
template <int values, class Term>
GL_SIMD void sumRows(int64_t rows, int64_t c, float *sums, Term term) {
  const int64_t perPass = c <= 4 * kLanes ? rows : 8;
  for (int64_t first = 0; first < rows; first += perPass)
    foldColumns<values>(
        smaller(perPass, rows - first), 0, c, set1(0.0f),
        [&](int64_t row, int64_t i, int64_t count, Vec(&value)[values])
            GL_LAMBDA { term(first + row, i, count, value); },
        [](Vec a, Vec b) GL_LAMBDA { return a + b; },
        [&](int64_t i, int64_t count, Vec(&total)[values]) GL_LAMBDA {
          for (int v = 0; v < values; v++) {
            float *sum = sums + v * c + i;
            store(sum, first == 0 ? total[v] : load(sum, count) + total[v], count);
          }
        });
}

// A pair of vectors of doubles: the lower and the upper half of the lanes of a Vec.
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

// ---- Statistics. Of a tile, two rows: sum of x - p and sum of (x - p)^2 with the tile's first row as pivot p. Mean
// and squares follow from them (Chan, Golub, LeVeque 1983); p is as near to the mean as the data are, so that a mean
// far larger than the deviation costs no digits.

enum StatisticsRow { kDeviation, kSquare, kStatisticsRows };

GL_SIMD void tileStatistics(const float *x, int64_t rows, int64_t c, float *partial) {
  sumRows<kStatisticsRows>(rows, c, partial,
                           [&](int64_t row, int64_t i, int64_t count, Vec(&value)[kStatisticsRows]) GL_LAMBDA {
                             value[kDeviation] = load(x + row * c + i, count) - load(x + i, count);
                             value[kSquare] = value[kDeviation] * value[kDeviation];
                           });
}

// Merges the tiles' partials [tiles, 2, c] into mean and variance of `count` channels from `column` on.
GL_SIMD void mergeStatistics(const Tiling &t, const float *x, const float *partials, int64_t column, int64_t count,
                             float *meanOut, float *varianceOut) {
  DoublePair mean = {}, squares = {};
  double merged = 0;  // rows so far
  for (int64_t tile = 0; tile < t.tiles; tile++) {
    const double rows = static_cast<double>(t.count(tile));
    const float *partial = partials + tile * kStatisticsRows * t.c + column;
    const DoublePair sum = widen(load(partial + kDeviation * t.c, count)), offset = times(sum, 1 / rows);
    const DoublePair tileMean = add(widen(load(x + t.first(tile) * t.c + column, count)), offset);
    const DoublePair tileSquares = sub(widen(load(partial + kSquare * t.c, count)), mul(sum, offset));
    const DoublePair delta = sub(tileMean, mean);
    const double share = rows / (merged + rows);
    mean = add(mean, times(delta, share));
    squares = add(squares, add(tileSquares, times(mul(delta, delta), merged * share)));
    merged += rows;
  }
  store(meanOut + column, narrow(mean), count);
  const Vec variance = narrow(times(squares, 1 / static_cast<double>(t.rows)));
  store(varianceOut + column, maxOf(set1(0.0f), variance), count);
}

// ---- Gradients. Of a tile, two rows: sum of dy and sum of dy * (x - mean).

enum GradientRow { kSum, kProduct, kGradientRows };

// Merges the tiles' partials [tiles, 2, c] into dgamma and dbeta of `count` channels from `column` on.
GL_SIMD void mergeGradients(const Tiling &t, const float *partials, int64_t column, int64_t count, Vec deviation,
                            float *dgamma, float *dbeta) {
  DoublePair sum = {}, product = {};
  for (int64_t tile = 0; tile < t.tiles; tile++) {
    const float *partial = partials + tile * kGradientRows * t.c + column;
    sum = add(sum, widen(load(partial + kSum * t.c, count)));
    product = add(product, widen(load(partial + kProduct * t.c, count)));
  }
  store(dgamma + column, narrow(product) / deviation, count);
  store(dbeta + column, narrow(sum), count);
}

// ---- Results. (x - mean) * factor + beta with factor = gamma / sqrt(variance + eps): the difference first, so that a
// mean far larger than the deviation costs no digits. Forward and backward compute it here, so that the derivative of
// an activation sees the very number that the activation saw.
GL_SIMD Vec normalized(Vec x, Vec mean, Vec factor, Vec beta) { return isolate((x - mean) * factor + beta); }

GL_SIMD void normalFactor(const float *gamma, const float *variance, float eps, int64_t cols, float *factor) {
  eachVec(cols, [&](int64_t i, int64_t count) GL_LAMBDA {
    store(factor + i, load(gamma + i, count) / sqrt(load(variance + i, count) + eps), count);
  });
}

}  // namespace gradline::cpu::GL_ISA
