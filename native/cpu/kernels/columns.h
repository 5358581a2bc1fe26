// Folding a matrix [rows, c] over its rows, for sums of bias gradients and the statistics of batch norm: several
// running values per column at once, in an order that depends on rows and c alone.
#pragma once
#include "../simd.h"

namespace gradline::cpu::GL_ISA {

// Columns [column, column + vecs * kLanes), or `count` columns of one vector: rows go to `chains` partial values in
// turn, so that neighbouring additions do not wait for each other.
template <int values, int vecs, int chains, class Term, class Combine>
GL_SIMD void foldBlock(int64_t rows, int64_t column, int64_t count, Vec start, Term term, Combine combine,
                       Vec (&total)[vecs][values]) {
  Vec partial[chains][vecs][values];
  for (int k = 0; k < chains; k++)
    for (int v = 0; v < vecs; v++)
      for (int s = 0; s < values; s++) partial[k][v][s] = start;
  const auto take = [&](int64_t row, int k) GL_LAMBDA {
#pragma GCC unroll 4
    for (int v = 0; v < vecs; v++) {
      Vec value[values];
      term(row, column + v * kLanes, count, value);
#pragma GCC unroll 2
      for (int s = 0; s < values; s++) partial[k][v][s] = combine(partial[k][v][s], value[s]);
    }
  };
  int64_t row = 0;
  for (; row + chains <= rows; row += chains) {
#pragma GCC unroll 4
    for (int k = 0; k < chains; k++) take(row + k, k);
  }
  for (; row < rows; row++) take(row, 0);
  for (int width = chains / 2; width > 0; width /= 2)
    for (int k = 0; k < width; k++)
      for (int v = 0; v < vecs; v++)
        for (int s = 0; s < values; s++) partial[k][v][s] = combine(partial[k][v][s], partial[k + width][v][s]);
  for (int v = 0; v < vecs; v++)
    for (int s = 0; s < values; s++) total[v][s] = partial[0][v][s];
}

// term(row, column, count, Vec (&value)[values]) gives the values of `count` columns of one row, combine joins two, and
// finish(column, count, Vec (&total)[values]) receives the result for the columns [begin, end).
template <int values, class Term, class Combine, class Finish>
GL_SIMD void foldColumns(int64_t rows, int64_t begin, int64_t end, Vec start, Term term, Combine combine,
                         Finish finish) {
  constexpr int kWide = 4;
  int64_t column = begin;
  for (; column + kWide * kLanes <= end; column += kWide * kLanes) {
    Vec total[kWide][values];
    foldBlock<values, kWide, 1>(rows, column, kLanes, start, term, combine, total);
    for (int v = 0; v < kWide; v++) finish(column + v * kLanes, kLanes, total[v]);
  }
  eachVec(end - column, [&](int64_t i, int64_t count) GL_LAMBDA {
    Vec total[1][values];
    foldBlock<values, 1, 4>(rows, column + i, count, start, term, combine, total);
    finish(column + i, count, total[0]);
  });
}

// The sum over the rows of x [rows, c] for the columns [begin, end), added to `y` where `accumulate` says so.
GL_SIMD void sumRows(const float *x, int64_t ld, int64_t rows, int64_t begin, int64_t end, bool accumulate, float *y) {
  foldColumns<1>(
      rows, begin, end, Vec{},
      [&](int64_t row, int64_t column, int64_t count, Vec(&value)[1])
          GL_LAMBDA { value[0] = load(x + row * ld + column, count); },
      [](Vec a, Vec b) GL_LAMBDA { return a + b; },
      [&](int64_t column, int64_t count, Vec(&total)[1])
          GL_LAMBDA { store(y + column, accumulate ? load(y + column, count) + total[0] : total[0], count); });
}

}  // namespace gradline::cpu::GL_ISA
