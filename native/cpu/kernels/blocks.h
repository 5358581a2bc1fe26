// Copying between a dense tensor and a block of a larger one, as contiguous runs of bytes: what slice, pad and concat
// in move.cc have in common. It knows sizes and offsets, not ops.
#pragma once
#include "../simd.h"
#include "kernels.h"

namespace gradline::cpu::GL_ISA {

constexpr int64_t kUnitBytes = 16384;

GL_SIMD int64_t bytesOf(DType dtype) { return dtype == DType::u8 ? 1 : dtype == DType::f64 ? 8 : 4; }

// The block as `runs` stretches of `runBytes`; the dense side has them one after the other, in the larger tensor axis k
// of the outer axes moves by step[k] bytes. Long runs are cut into pieces, short ones share a unit.
struct Block {
  int axes;
  int64_t dims[kMaxRank], step[kMaxRank], start, runs, runBytes;

  GL_INLINE int64_t pieces() const { return larger(ceilDiv(runBytes, kUnitBytes), 1); }
  GL_INLINE int64_t runsPerUnit() const { return runBytes < kUnitBytes ? kUnitBytes / larger(runBytes, 1) : 1; }
  GL_INLINE int64_t units() const { return ceilDiv(runs, runsPerUnit()) * pieces(); }
};

// begins[k] is where the block begins along axis k of `whole`.
GL_SIMD Block findBlock(const Tensor &block, const Tensor &whole, const int64_t *begins) {
  Block b = {};
  b.runs = 1;
  b.runBytes = bytesOf(block.dtype);
  int64_t stride = b.runBytes;  // of the axis in `whole`
  bool dense = true;            // the axes behind this one are whole, so the run goes on
  int64_t dims[kMaxRank], step[kMaxRank];
  int outer = 0;
  for (int axis = block.rank - 1; axis >= 0; axis--) {
    b.start += begins[axis] * stride;
    if (dense) {
      b.runBytes *= block.dims[axis];
    } else {
      dims[outer] = block.dims[axis];
      step[outer++] = stride;
      b.runs *= block.dims[axis];
    }
    dense = dense && block.dims[axis] == whole.dims[axis];
    stride *= whole.dims[axis];
  }
  b.axes = outer;
  for (int k = 0; k < outer; k++) {
    b.dims[k] = dims[outer - 1 - k];
    b.step[k] = step[outer - 1 - k];
  }
  return b;
}

// Copies the units [begin, end) of a block into `dense` (out of it when `toWhole`).
GL_SIMD void moveBlock(const Block &b, char *dense, char *whole, bool toWhole, int64_t begin, int64_t end) {
  const int64_t pieces = b.pieces(), perUnit = b.runsPerUnit();
  for (int64_t unit = begin; unit < end; unit++) {
    const int64_t first = unit / pieces * perUnit, skip = unit % pieces * kUnitBytes;
    const int64_t length = smaller(b.runBytes - skip, kUnitBytes);
    int64_t index[kMaxRank] = {}, at = b.start + skip, rest = first;
    for (int k = b.axes - 1; k >= 0; rest /= b.dims[k--]) {
      index[k] = rest % b.dims[k];
      at += index[k] * b.step[k];
    }
    for (int64_t run = first; run < smaller(first + perUnit, b.runs); run++) {
      char *inner = dense + run * b.runBytes + skip, *outer = whole + at;
      __builtin_memcpy(toWhole ? outer : inner, toWhole ? inner : outer, static_cast<size_t>(length));
      for (int k = b.axes - 1; k >= 0; k--) {
        at += b.step[k];
        if (++index[k] < b.dims[k]) break;
        at -= index[k] * b.step[k];
        index[k] = 0;
      }
    }
  }
}

}  // namespace gradline::cpu::GL_ISA
