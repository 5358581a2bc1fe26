// Products as stages of a sequence whose blocks end what they begin, so that no barrier of all blocks has to stand
// within a product: narrow ones in rows, short ones with all parts of their sums. Bits are those of tile.cuh: a part of
// a sum is added up in the same order from 0, its strips of 16 padded with zeros, and the parts in theirs. Only
// sequence.cuh, where a block can become another one, includes it.
#pragma once
#include "matmul.cuh"

namespace gradline::cuda {

// a [m, k] times b of at most 128 columns: a block makes kRows whole rows of y, so that what works on the same rows
// behind it needs nothing of other blocks. Strips of b are fetched while the ones before are multiplied.
template <bool transposeB>
struct NarrowRows {
  static constexpr int kThreads = kBlock, kRows = kStretchRows, kMostColumns = 128;
  static constexpr int kLong = 2 * kStrip;                           // of a strip, along k
  static constexpr int kMostEach = kRows * kMostColumns / kThreads;  // rows that a thread owns, of one column
  using Tile = ProductTile<Matmul<false, transposeB>, 64, 64, 4>;
  static constexpr int kWords = 2 * kStrip * (Tile::kPitchA + Tile::kPitchB);  // as the tiles: they share this memory
  static_assert(kRows * kLong == kThreads && kThreads + kLong * kMostColumns <= kWords);

  Matmul<false, transposeB> problem;
  int perSplit, splits;

  GPU_DEVICE void run() const {
    const Shared<float> stripA = strips<kWords>(), stripB = stripA + kThreads;
    const int n = problem.n, k = problem.k, row0 = block() * kRows;
    int columns = 32;  // with those that are not there
    while (columns < n) columns *= 2;
    const int column = thread() % columns, each = kRows * columns / kThreads, first = thread() / columns * each;

    constexpr int kLoads = kLong * kMostColumns / kThreads;
    float nextA = 0, nextB[kLoads] = {};
    const auto fetch = [&](int k0) {
      const int row = row0 + thread() / kLong, at = k0 + thread() % kLong;
      nextA = 0;
      if (row < problem.m && at < k) nextA = problem.first[row * k + at];
      GPU_UNROLL
      for (int j = 0; j < kLoads; j++) {
        const int i = j * kThreads + thread();
        const int c = transposeB ? i / kLong : i % columns, along = k0 + (transposeB ? i % kLong : i / columns);
        nextB[j] = 0;
        if (i < kLong * columns && c < n && along < k)
          nextB[j] = problem.second[transposeB ? c * k + along : along * n + c];
      }
    };
    // Columns of a strip of b stand crosswise, so that neighbours along k fall into different banks too.
    const auto lay = [&] {
      stripA[thread()] = nextA;
      GPU_UNROLL
      for (int j = 0; j < kLoads; j++) {
        const int i = j * kThreads + thread();
        if (i >= kLong * columns) continue;
        const int c = transposeB ? i / kLong : i % columns, along = transposeB ? i % kLong : i / columns;
        stripB[along * columns + (c ^ along)] = nextB[j];
      }
    };

    float part[kMostEach] = {}, total[kMostEach] = {};
    fetch(0);
    for (int k0 = 0; k0 < k; k0 += kLong) {
      lay();
      barrier();
      if (k0 + kLong < k) fetch(k0 + kLong);
      const int end = static_cast<int>(smaller(kLong, ceilDiv(k - k0, kStrip) * kStrip));
      for (int along = 0; along < end; along++) {
        if (k0 + along > 0 && (k0 + along) % perSplit == 0) endPart(part, total);
        const float b = stripB[along * columns + (column ^ along)];
        GPU_UNROLL
        for (int r = 0; r < kMostEach; r++)
          if (r < each) part[r] = fmaf(stripA[(first + r) * kLong + along], b, part[r]);
      }
      barrier();
    }
    if (splits > 1) endPart(part, total);
    GPU_UNROLL
    for (int r = 0; r < kMostEach; r++) {
      const int row = row0 + first + r;
      if (r < each && row < problem.m && column < n) problem.store(0, row, column, splits > 1 ? total[r] : part[r]);
    }
  }

  GPU_DEVICE static void endPart(float (&part)[kMostEach], float (&total)[kMostEach]) {
    GPU_UNROLL
    for (int r = 0; r < kMostEach; r++) {
      total[r] += part[r];
      part[r] = 0;
    }
  }
};

// A tile with all of its splits, and their sum.
template <bool transposeA, bool transposeB>
struct WholeTile {
  using Own = ProductTile<Matmul<transposeA, transposeB>, 64, 64, 4>;
  static constexpr int kThreads = Own::kThreads;
  static constexpr int64_t kLongest = 128;  // common length: more of it is faster by several blocks
  static_assert(kThreads == kBlock);

  Own tile;
  int splits;

  GPU_DEVICE void run() const {
    const int place = block();
    for (int split = 0; split < splits; split++) {
      becomeBlock(place, split, 0, [] { return false; });
      tile.run();
    }
    barrier();
    const auto &problem = tile.problem;
    const int n = problem.n, row0 = place / tile.tilesAcross * Own::kRows;
    const int column = place % tile.tilesAcross * Own::kColumns + thread() % Own::kColumns;
    if (column >= n) return;
    for (int row = row0 + thread() / Own::kColumns; row < smaller(row0 + Own::kRows, problem.m);
         row += kThreads / Own::kColumns)
      problem.store(0, row, column, sumOfParts(row, column));
    if (problem.sums() && row0 == 0 && thread() < Own::kColumns)
      problem.storeSum(0, column, sumOfParts(problem.m, column));
  }
  GPU_DEVICE float sumOfParts(int row, int column) const {
    const int size = rowsWithSums(tile.problem) * tile.problem.n, i = row * tile.problem.n + column;
    float total = 0;
    for (int split = 0; split < splits; split++) total += tile.partial[split * size + i];
    return total;
  }
};

}  // namespace gradline::cuda
