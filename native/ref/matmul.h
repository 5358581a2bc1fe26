// Matrix product of two matrices, either of them read transposed, with epilogues. Batched products do not exist here.
#pragma once
#include "epilogue.h"

namespace gradline::ref {

// a [m, k] ([k, m] if transposeA), b [k, n] ([n, k] if transposeB) -> y [m, n]; sums run over k from 0.
// Where asked for: the sum over k of b as it is read, [n].
template <class T>
void matmul(const Op &op) {
  const bool transposeA = op.attr[attr::matmul::transposeA] != 0, transposeB = op.attr[attr::matmul::transposeB] != 0;
  const int64_t m = op.out[0].dims[0], n = op.out[0].dims[1], k = op.in[0].dims[transposeA ? 0 : 1];
  const int64_t rowA = transposeA ? 1 : k, stepA = transposeA ? m : 1;  // a(i, p) = a[i * rowA + p * stepA]
  const int64_t stepB = transposeB ? 1 : n, colB = transposeB ? k : 1;  // b(p, j) = b[p * stepB + j * colB]
  const T *a = op.in[0].as<T>(), *b = op.in[1].as<T>();
  T *y = op.out[0].as<T>();
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      T total = 0;
      for (int64_t p = 0; p < k; p++) total += a[i * rowA + p * stepA] * b[p * stepB + j * colB];
      y[i * n + j] = total;
    }
  applyEpilogues<T>(op);
  if (op.outputs == 1) return;
  for (int64_t j = 0; j < n; j++) {
    T total = 0;
    for (int64_t p = 0; p < k; p++) total += b[p * stepB + j * colB];
    op.out[1].as<T>()[j] = total;
  }
}

}  // namespace gradline::ref
