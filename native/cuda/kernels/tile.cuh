// The tile of every product in fp32: a block makes kRows x kColumns of y = A B from strips of 16 of the common length,
// which wait in shared memory; the next strip is fetched while this one is multiplied. Where A and B come from and
// where y goes is the Problem's business, so matmul and the three convolutions are this one kernel. What it shares with
// the tile of the tensor cores (mma.cuh) stands first; which of them a product takes is decided in product.cuh.
//
// A Problem has `m, n, k`, the constants kAByK and kBByK (true: neighbours along k are neighbours in memory), and
//   left(), lineA(row), stepA(k), placeA(line, step): where that element of A lies in left(); -1 where it is 0
//   right(), lineB(column), stepB(k), placeB(line, step)
//   groups(); store(group, row, column, value)
// and with kSums, sums() and storeSum(group, column, value) for the sums of the columns of B, which come along.
// A Line is what a thread keeps of a row over all strips, a Step what it keeps of one k.
#pragma once
#include "kernels.h"
#include "scalar.cuh"

namespace gradline::cuda {

constexpr int kStrip = 16;
struct Line {
  int base, y, x;
};
struct Step {
  int offset, y, x;
};

template <class Problem>
GL_INLINE bool wantsSums(const Problem &problem) {
  if constexpr (Problem::kSums)
    return problem.sums();
  else
    return false;
}
// Rows of a partial result: the sums stand behind the others.
template <class Problem>
GL_INLINE int rowsWithSums(const Problem &problem) {
  return problem.m + (wantsSums(problem) ? 1 : 0);
}

// The strips of a tile. All problems share them where several are one kernel (sequence.cu).
template <int words>
GPU_DEVICE Shared<float> strips() {
  GPU_SHARED(float, memory, words);
  return memory;
}

// The operands of a Problem, so that what is done to A is done to B by the same lines.
template <class Problem>
struct SideA {
  static constexpr bool kByK = Problem::kAByK;
  GPU_DEVICE static int length(const Problem &p) { return p.m; }
  GPU_DEVICE static Global<const float> memory(const Problem &p) { return p.left(); }
  GPU_DEVICE static Line line(const Problem &p, int row) { return p.lineA(row); }
  GPU_DEVICE static int place(const Problem &p, const Line &line, int k) { return p.placeA(line, p.stepA(k)); }
};
template <class Problem>
struct SideB {
  static constexpr bool kByK = Problem::kBByK;
  GPU_DEVICE static int length(const Problem &p) { return p.n; }
  GPU_DEVICE static Global<const float> memory(const Problem &p) { return p.right(); }
  GPU_DEVICE static Line line(const Problem &p, int column) { return p.lineB(column); }
  GPU_DEVICE static int place(const Problem &p, const Line &line, int k) { return p.placeB(line, p.stepB(k)); }
};

// What a thread fetches of each strip of an operand: kLoads times `width` numbers that are neighbours in memory.
// Threads stand side by side along the strip (byK) or across it, whichever memory does. Four at a time needs rows whose
// length is a multiple of four, so that they are all in the strip or all outside.
template <class Side, int extent, int threads, int width>
struct Share {
  static constexpr int kLoads = extent * kStrip / threads / width;
  static constexpr int kSide = (Side::kByK ? kStrip : extent) / width;  // threads side by side
  static_assert(threads % kSide == 0 && kLoads * threads * width == extent * kStrip);
  Line lines[kLoads];
  int first;  // row or column of the tile's first

  template <class Problem>
  GPU_DEVICE Share(const Problem &problem, int first) : first(first) {
    GPU_UNROLL
    for (int j = 0; j < kLoads; j++) lines[j] = Side::line(problem, first + across(j));
  }
  GPU_DEVICE static int across(int j) {
    return Side::kByK ? thread() / kSide + j * (threads / kSide) : thread() % kSide * width;
  }
  GPU_DEVICE static int along(int j) {
    return Side::kByK ? thread() % kSide * width : thread() / kSide + j * (threads / kSide);
  }
  // Where the j-th of them lies, of the strip that begins at k0; -1 for zeros.
  template <class Problem>
  GPU_DEVICE int place(const Problem &problem, int j, int k0, int end) const {
    const int k = k0 + along(j);
    if (k >= end || first + across(j) >= Side::length(problem)) return -1;
    return Side::place(problem, lines[j], k);
  }
};

// Where the part of this block's split and group begins in `partial`, in rows.
template <class Problem>
GPU_DEVICE int firstPartialRow(const Problem &problem) {
  return (blockY() * problem.groups() + blockZ()) * rowsWithSums(problem);
}
// An element of the result, or of this block's part of its sum.
template <class Problem>
GPU_DEVICE void put(const Problem &problem, Global<float> partial, int row, int column, float value) {
  if (row >= problem.m || column >= problem.n) return;
  if (partial)
    partial[(firstPartialRow(problem) + row) * problem.n + column] = value;
  else
    problem.store(blockZ(), row, column, value);
}
template <class Problem>
GPU_DEVICE void putSum(const Problem &problem, Global<float> partial, int column, float value) {
  if (column >= problem.n) return;
  if (partial)
    partial[(firstPartialRow(problem) + problem.m) * problem.n + column] = value;
  else
    problem.storeSum(blockZ(), column, value);
}

template <class Problem, int kTileRows, int kTileColumns, int kThreadRows, int kWidth = 1>
struct ProductTile {
  static constexpr int kRows = kTileRows, kColumns = kTileColumns;
  static constexpr int kThreadColumns = 4;
  static constexpr int kThreads = (kRows / kThreadRows) * (kColumns / kThreadColumns);
  static constexpr int kPitchA = kRows + 4, kPitchB = kColumns + 4;  // + 4: fewer bank conflicts, still 16-byte steps
  using ShareA = Share<SideA<Problem>, kRows, kThreads, kWidth>;
  using ShareB = Share<SideB<Problem>, kColumns, kThreads, kWidth>;

  Problem problem;
  Global<float> partial;  // [splits, groups, m (+ 1 for sums), n] when the common length is split between blocks
  int tilesAcross, perSplit;

  // The strip that begins at k0, on its way through registers.
  template <class Side, int extent>
  GPU_DEVICE void fetch(const Share<Side, extent, kThreads, kWidth> &share, int k0, int end,
                        float (&next)[Share<Side, extent, kThreads, kWidth>::kLoads][kWidth]) const {
    const Global<const float> memory = Side::memory(problem);
    GPU_UNROLL
    for (int j = 0; j < share.kLoads; j++) {
      const int at = share.place(problem, j, k0, end);
      if constexpr (kWidth == 4) {
        const Float4 four = at < 0 ? Float4{} : load4(memory, at);
        GPU_UNROLL
        for (int c = 0; c < 4; c++) next[j][c] = four.v[c];
      } else {
        next[j][0] = at < 0 ? 0.0f : memory[at];
      }
    }
  }
  // A strip lies in shared memory as [k, row] or [k, column].
  template <class Side, int extent>
  GPU_DEVICE static void lay(const float (&next)[Share<Side, extent, kThreads, kWidth>::kLoads][kWidth],
                             Shared<float> strip, int pitch) {
    using Own = Share<Side, extent, kThreads, kWidth>;
    GPU_UNROLL
    for (int j = 0; j < Own::kLoads; j++) {
      GPU_UNROLL
      for (int c = 0; c < kWidth; c++)
        strip[(Own::along(j) + (Side::kByK ? c : 0)) * pitch + Own::across(j) + (Side::kByK ? 0 : c)] = next[j][c];
    }
  }

  GPU_DEVICE void run() const {
    const Shared<float> stripsA = strips<2 * kStrip *(kPitchA + kPitchB)>(), stripsB = stripsA + 2 * kStrip * kPitchA;
    const int row0 = block() / tilesAcross * kRows, column0 = block() % tilesAcross * kColumns;
    const int begin = blockY() * perSplit, end = static_cast<int>(smaller(begin + perSplit, problem.k));
    const ShareA shareA(problem, row0);
    const ShareB shareB(problem, column0);
    float nextA[ShareA::kLoads][kWidth], nextB[ShareB::kLoads][kWidth];
    const auto fetchBoth = [&](int k0) {
      fetch<SideA<Problem>, kRows>(shareA, k0, end, nextA);
      fetch<SideB<Problem>, kColumns>(shareB, k0, end, nextB);
    };
    const auto layBoth = [&](int half) {
      lay<SideA<Problem>, kRows>(nextA, stripsA + half * kStrip * kPitchA, kPitchA);
      lay<SideB<Problem>, kColumns>(nextB, stripsB + half * kStrip * kPitchB, kPitchB);
    };

    // A thread owns kThreadRows x 4 of the tile: groups of four rows that lie kRows / (kThreadRows / 4) apart.
    constexpr int kGroups = kThreadRows / 4, kGroupRows = kRows / kGroups;
    const int x = thread() % (kColumns / kThreadColumns) * kThreadColumns;
    const int y = thread() / (kColumns / kThreadColumns) * 4;
    float total[kThreadRows][kThreadColumns] = {};
    const bool sums = wantsSums(problem) && row0 == 0 && thread() < kColumns;
    float sum = 0;

    fetchBoth(begin);
    layBoth(0);
    barrier();
    int half = 0;
    for (int k0 = begin; k0 < end; k0 += kStrip) {
      const bool more = k0 + kStrip < end;
      if (more) fetchBoth(k0 + kStrip);
      GPU_UNROLL
      for (int k = 0; k < kStrip; k++) {
        Float4 a[kGroups];
        GPU_UNROLL
        for (int g = 0; g < kGroups; g++) a[g] = load4(stripsA, (half * kStrip + k) * kPitchA + g * kGroupRows + y);
        const Float4 b = load4(stripsB, (half * kStrip + k) * kPitchB + x);
        GPU_UNROLL
        for (int i = 0; i < kThreadRows; i++) {
          GPU_UNROLL
          for (int j = 0; j < kThreadColumns; j++) total[i][j] = fmaf(a[i / 4].v[i % 4], b.v[j], total[i][j]);
        }
      }
      if (sums) {
        GPU_UNROLL
        for (int k = 0; k < kStrip; k++) sum += stripsB[(half * kStrip + k) * kPitchB + thread()];
      }
      if (more) layBoth(1 - half);
      barrier();
      half = 1 - half;
    }

    GPU_UNROLL
    for (int i = 0; i < kThreadRows; i++) {
      const int row = row0 + i / 4 * kGroupRows + y + i % 4;
      GPU_UNROLL
      for (int j = 0; j < kThreadColumns; j++) put(problem, partial, row, column0 + x + j, total[i][j]);
    }
    if constexpr (Problem::kSums) {
      if (sums) putSum(problem, partial, column0 + thread(), sum);
    }
  }
};

// Adds up the parts of a split product in order.
template <class Problem>
struct MergeSplits {
  static constexpr int kThreads = 256;
  Problem problem;
  Global<const float> partial;
  int splits;

  GPU_DEVICE void run() const {
    const int i = block() * kThreads + thread(), rows = rowsWithSums(problem);
    const int size = problem.groups() * rows * problem.n;
    if (i >= size) return;
    float total = 0;
    for (int s = 0; s < splits; s++) total += partial[s * size + i];
    const int column = i % problem.n, row = i / problem.n % rows, group = i / problem.n / rows;
    if constexpr (Problem::kSums) {
      if (row == problem.m) return problem.storeSum(group, column, total);
    }
    problem.store(group, row, column, total);
  }
};

}  // namespace gradline::cuda
