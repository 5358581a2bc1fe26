// The tile of every product: a block makes kRows x kColumns of y = A B from strips of 16 of the common length, which
// wait in shared memory; the next strip is fetched while this one is multiplied. Where A and B come from and where y
// goes is the Problem's business, so matmul and the three convolutions are this one kernel. fp32 on the ordinary units.
//
// A Problem has `m, n, k`, the constants kAByK and kBByK (true: neighbours along k are neighbours in memory), and
//   Line lineA(int row), Step stepA(int k), float a(Line, Step); the same for b, over columns
//   groups(); store(group, row, column, value)
// and with kSums, sums() and storeSum(group, column, value) for the sums of the columns of B, which come along.
// A Line is what a thread keeps of a row over all strips, a Step what it keeps of one k.
#pragma once
#include "kernels.h"
#include "scalar.cuh"

namespace gradline::cuda {

constexpr int kStrip = 16;
// Blocks that a product should have at the least to fill a large card. A constant, not the card's: bits must not depend
// on the machine.
constexpr int64_t kWantedBlocks = 256;
constexpr int64_t kMostSplits = 64, kLeastPerSplit = 64;

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

template <class Problem, int kTileRows, int kTileColumns, int kThreadRows>
struct ProductTile {
  static constexpr int kRows = kTileRows, kColumns = kTileColumns;
  static constexpr int kThreadColumns = 4;
  static constexpr int kThreads = (kRows / kThreadRows) * (kColumns / kThreadColumns);
  static constexpr int kPitchA = kRows + 4, kPitchB = kColumns + 4;  // + 4: fewer bank conflicts, still 16-byte steps
  static_assert(kThreads % kRows == 0 && kThreads % kColumns == 0 && kThreads % kStrip == 0);
  static constexpr int kLoadsA = kRows * kStrip / kThreads, kLoadsB = kColumns * kStrip / kThreads;

  Problem problem;
  Global<float> partial;  // [splits, groups, m (+ 1 for sums), n] when the common length is split between blocks
  int tilesAcross, perSplit;

  // Which element of a strip this thread fetches as its j-th: along k first, or across.
  template <bool byK, int extent>
  GPU_DEVICE static int across(int j) {
    return byK ? thread() / kStrip + j * (kThreads / kStrip) : thread() % extent;
  }
  template <bool byK, int extent>
  GPU_DEVICE static int along(int j) {
    return byK ? thread() % kStrip : thread() / extent + j * (kThreads / extent);
  }

  // Where a row of this block's split and group begins in `partial`, in rows.
  GPU_DEVICE int partialRow(int row) const {
    return (blockY() * problem.groups() + blockZ()) * rowsWithSums(problem) + row;
  }
  GPU_DEVICE void run() const {
    const Shared<float> stripsA = strips<2 * kStrip *(kPitchA + kPitchB)>(), stripsB = stripsA + 2 * kStrip * kPitchA;
    const int row0 = block() / tilesAcross * kRows, column0 = block() % tilesAcross * kColumns;
    const int begin = blockY() * perSplit, end = static_cast<int>(smaller(begin + perSplit, problem.k));
    constexpr bool byKA = Problem::kAByK, byKB = Problem::kBByK;

    Line linesA[kLoadsA], linesB[kLoadsB];
    GPU_UNROLL
    for (int j = 0; j < kLoadsA; j++) linesA[j] = problem.lineA(row0 + across<byKA, kRows>(j));
    GPU_UNROLL
    for (int j = 0; j < kLoadsB; j++) linesB[j] = problem.lineB(column0 + across<byKB, kColumns>(j));

    float nextA[kLoadsA], nextB[kLoadsB];
    const auto fetch = [&](int k0) {
      GPU_UNROLL
      for (int j = 0; j < kLoadsA; j++) {
        const int k = k0 + along<byKA, kRows>(j);
        const bool inside = k < end && row0 + across<byKA, kRows>(j) < problem.m;
        nextA[j] = inside ? problem.a(linesA[j], problem.stepA(k)) : 0.0f;
      }
      GPU_UNROLL
      for (int j = 0; j < kLoadsB; j++) {
        const int k = k0 + along<byKB, kColumns>(j);
        const bool inside = k < end && column0 + across<byKB, kColumns>(j) < problem.n;
        nextB[j] = inside ? problem.b(linesB[j], problem.stepB(k)) : 0.0f;
      }
    };
    const auto put = [&](int half) {
      GPU_UNROLL
      for (int j = 0; j < kLoadsA; j++)
        stripsA[(half * kStrip + along<byKA, kRows>(j)) * kPitchA + across<byKA, kRows>(j)] = nextA[j];
      GPU_UNROLL
      for (int j = 0; j < kLoadsB; j++)
        stripsB[(half * kStrip + along<byKB, kColumns>(j)) * kPitchB + across<byKB, kColumns>(j)] = nextB[j];
    };

    // A thread owns kThreadRows x 4 of the tile: groups of four rows that lie kRows / (kThreadRows / 4) apart.
    constexpr int kGroups = kThreadRows / 4, kGroupRows = kRows / kGroups;
    const int x = thread() % (kColumns / kThreadColumns) * kThreadColumns;
    const int y = thread() / (kColumns / kThreadColumns) * 4;
    float total[kThreadRows][kThreadColumns] = {};
    const bool sums = wantsSums(problem) && row0 == 0 && thread() < kColumns;
    float sum = 0;

    fetch(begin);
    put(0);
    barrier();
    int half = 0;
    for (int k0 = begin; k0 < end; k0 += kStrip) {
      const bool more = k0 + kStrip < end;
      if (more) fetch(k0 + kStrip);
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
      if (more) put(1 - half);
      barrier();
      half = 1 - half;
    }

    GPU_UNROLL
    for (int i = 0; i < kThreadRows; i++) {
      const int row = row0 + i / 4 * kGroupRows + y + i % 4;
      GPU_UNROLL
      for (int j = 0; j < kThreadColumns; j++) {
        const int column = column0 + x + j;
        if (row >= problem.m || column >= problem.n) continue;
        if (partial)
          partial[partialRow(row) * problem.n + column] = total[i][j];
        else
          problem.store(blockZ(), row, column, total[i][j]);
      }
    }
    if constexpr (Problem::kSums) {
      const int column = column0 + thread();
      if (!sums || column >= problem.n) return;
      if (partial)
        partial[partialRow(problem.m) * problem.n + column] = sum;
      else
        problem.storeSum(blockZ(), column, sum);
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

template <class Tile, class Problem>
void planTile(const Op &op, Launches &launches, const Problem &problem) {
  const int64_t m = problem.m, n = problem.n, groups = problem.groups();
  const int64_t results = groups * rowsWithSums(problem) * n;
  const int64_t across = ceilDiv(n, Tile::kColumns), tiles = ceilDiv(m, Tile::kRows) * across;
  int64_t splits = smaller(ceilDiv(kWantedBlocks, tiles * groups), problem.k / kLeastPerSplit);
  splits = larger(1, smaller(splits, kMostSplits));
  while (splits > 1 && splits * results > kMaxElements32) splits--;
  const int64_t perSplit = larger(1, ceilDiv(ceilDiv(problem.k, splits), kStrip)) * kStrip;
  splits = larger(1, ceilDiv(problem.k, perSplit));
  Global<float> partial = nullptr;
  if (splits > 1) partial = scratch<float>(op, launches, splits * results);
  launch(launches, Tile{problem, partial, static_cast<int>(across), static_cast<int>(perSplit)},
         {tiles, splits, groups});
  if (splits > 1)
    launch(launches, MergeSplits<Problem>{problem, partial, static_cast<int>(splits)}, {ceilDiv(results, 256)});
}

// The largest tile of which there are enough; small products are split along k as well.
template <class Problem>
void planProduct(const Op &op, Launches &launches, const Problem &problem) {
  const auto tiles = [&](int64_t rows, int64_t columns) {
    return ceilDiv(problem.m, rows) * ceilDiv(problem.n, columns) * problem.groups();
  };
  if (tiles(128, 64) >= kWantedBlocks)
    planTile<ProductTile<Problem, 128, 64, 8>>(op, launches, problem);
  else if (tiles(64, 64) >= kWantedBlocks)
    planTile<ProductTile<Problem, 64, 64, 4>>(op, launches, problem);
  else
    planTile<ProductTile<Problem, 32, 32, 4>>(op, launches, problem);
}

}  // namespace gradline::cuda
