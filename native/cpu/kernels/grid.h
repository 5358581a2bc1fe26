// Operands that broadcast to an output seen as [rows, inner]: an operand moves by `perRow` from row to row and by
// `perColumn` (0 or 1) inside a row. Shared by the elementwise ops and broadcast; it finds shapes and reads no data.
#pragma once
#include "../simd.h"
#include "kernels.h"

namespace gradline::cpu::GL_ISA {

struct Steps {
  int64_t perRow, perColumn;
};
struct Grid {
  int64_t rows, inner;
  Steps operand[3];

  GL_INLINE int64_t blocks() const { return ceilDiv(inner, kChunk); }  // of the columns of one row
  GL_INLINE int64_t rowsPerUnit() const { return inner < kChunk ? kChunk / inner : 1; }
  GL_INLINE int64_t units() const { return ceilDiv(rows, rowsPerUnit()) * blocks(); }
};

// Length of `operand` along axis `axis` of `shape`, shapes aligned from the right.
GL_SIMD int64_t lengthAlong(const Tensor &operand, const Tensor &shape, int axis) {
  const int own = axis - (shape.rank - operand.rank);
  return own < 0 ? 1 : operand.dims[own];
}

// False when an operand is none of: same, scalar, row, column; or when rows and columns of operands do not agree.
static inline bool findGrid(const Op &op, Grid &grid) {
  const Tensor &y = op.out[0];
  if (y.size == 0) return false;
  grid.inner = 0;
  for (int pass = 0; pass < 2; pass++) {  // the first pass finds `inner`, the second the steps
    for (int k = 0; k < op.inputs; k++) {
      const Tensor &x = op.in[k];
      Steps &steps = grid.operand[k];
      if (x.size == y.size) {
        steps = {grid.inner, 1};
        continue;
      }
      if (x.size == 1) {
        steps = {0, 0};
        continue;
      }
      int first = 0, last = y.rank - 1;  // axes along which x has more than one element
      while (lengthAlong(x, y, first) == 1) first++;
      while (lengthAlong(x, y, last) == 1) last--;
      bool row = true, column = true;
      for (int axis = first; axis < y.rank; axis++) row &= lengthAlong(x, y, axis) == y.dims[axis];
      for (int axis = 0; axis <= last; axis++) column &= lengthAlong(x, y, axis) == y.dims[axis];
      if (!row && !column) return false;
      const int64_t inner = row ? x.size : y.size / x.size;
      if (grid.inner != 0 && grid.inner != inner) return false;
      grid.inner = inner;
      steps = row ? Steps{0, 1} : Steps{1, 0};
    }
    if (grid.inner == 0) grid.inner = y.size;
  }
  grid.rows = y.size / grid.inner;
  return true;
}

// Calls body(row, first column, columns) for the stretches of the units [begin, end).
template <class Body>
GL_SIMD void eachStretch(const Grid &grid, int64_t begin, int64_t end, Body body) {
  const int64_t blocks = grid.blocks(), perUnit = grid.rowsPerUnit();
  if (blocks == 1) {
    const int64_t stop = smaller(end * perUnit, grid.rows);
    for (int64_t row = begin * perUnit; row < stop; row++) body(row, 0, grid.inner);
    return;
  }
  for (int64_t unit = begin; unit < end; unit++) {
    const int64_t column = unit % blocks * kChunk;
    body(unit / blocks, column, smaller(kChunk, grid.inner - column));
  }
}

}  // namespace gradline::cpu::GL_ISA
