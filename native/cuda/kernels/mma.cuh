// The tile of a product on tensor cores, for programs that may round its operands (numerics tf32, bf16): four warps
// make kRows x kColumns of y = A B, each a quarter of it, in fp32 sums. Strips of 16 of the common length come by
// copies that land while others are multiplied, kStages of them, as floats; rounding happens on the way from shared
// memory to registers. Problems, epilogues and splits are those of tile.cuh.
#pragma once
#include "tile.cuh"

namespace gradline::cuda {

// What becomes of four numbers that are neighbours along k, in the words in which a lane holds them. A lane holds k =
// 4t to 4t + 3 of a strip, t = lane() % 4, where the instructions speak of t and t + 4, or of 2t, 2t + 1, 2t + 8, 2t +
// 9: the order of a sum along k is free as long as A and B have the same.
struct Tf32 {
  static constexpr int kWords = 4;
  GPU_DEVICE static void round(const Float4 &x, uint32_t (&words)[4]) {
    GPU_UNROLL
    for (int i = 0; i < 4; i++) words[i] = roundedToTf32(x.v[i]);
  }
  GPU_DEVICE static void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    multiplyTf32(c, a, b);
  }
};
struct Bf16 {
  static constexpr int kWords = 2;
  GPU_DEVICE static void round(const Float4 &x, uint32_t (&words)[2]) {
    words[0] = roundedToBf16(x.v[0], x.v[1]);
    words[1] = roundedToBf16(x.v[2], x.v[3]);
  }
  GPU_DEVICE static void multiply(float (&c)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    multiplyBf16(c, a, b);
  }
};

template <class Problem, class Numbers, int kTileRows, int kTileColumns, int kWidth>
struct MmaTile {
  static constexpr int kRows = kTileRows, kColumns = kTileColumns;
  static constexpr int kThreads = 128, kStages = 3;
  static constexpr int kWarpRows = kRows / 2, kWarpColumns = kColumns / 2;
  static constexpr int kBlocksDown = kWarpRows / 16, kBlocksAcross = kWarpColumns / 8;  // of one instruction
  static constexpr int kStageWords = kStrip * (kRows + kColumns);
  static constexpr int kPitch = kWarpColumns + 8;  // of rows on their way out
  static_assert(kColumns <= kThreads && kStages * kStageWords <= 12 * 1024, "48 KiB of shared memory without asking");
  using ShareA = Share<SideA<Problem>, kRows, kThreads, kWidth>;
  using ShareB = Share<SideB<Problem>, kColumns, kThreads, kWidth>;

  Problem problem;
  Global<float> partial;  // as in ProductTile
  int tilesAcross, perSplit;

  // Where an element of a strip lies. A strip has the order of memory, so that four neighbours arrive at once:
  // - [row, k]: eight lanes that load four numbers each, t = 0..3 of two rows, read 128 bytes without a gap.
  // - [k, row]: for one of its four k a lane reads row g of k = 4t + c. Rows lie exactly over each other, so the four t
  //   would meet in the same banks; turned by 8 t (xor, which leaves groups of eight together), they do not: 8 g and 4
  //   t are 32 banks. A copy of four numbers, or of one by each lane, stays within 128 bytes of a row either way.
  template <bool byK, int extent>
  GPU_DEVICE static int placeInStrip(int across, int k) {
    return byK ? across * kStrip + k : k * extent + (across ^ (k / 4 * 8));
  }

  template <class Side, int extent>
  GPU_DEVICE void begin(const Share<Side, extent, kThreads, kWidth> &share, Shared<float> strip, int k0,
                        int end) const {
    const Global<const float> memory = Side::memory(problem);
    GPU_UNROLL
    for (int j = 0; j < share.kLoads; j++) {
      const int to = placeInStrip<Side::kByK, extent>(share.across(j), share.along(j));
      const int at = share.place(problem, j, k0, end);
      if constexpr (kWidth == 4)
        copyLater4(strip, to, memory, at);
      else
        copyLater(strip, to, memory, at);
    }
  }

  // What this lane holds of a row of A or a column of B.
  template <bool byK, int extent>
  GPU_DEVICE static void hold(Shared<float> strip, int across, uint32_t (&words)[Numbers::kWords]) {
    const int k = lane() % 4 * 4;
    Float4 x;
    if constexpr (byK) {
      x = load4(strip, placeInStrip<byK, extent>(across, k));
    } else {
      GPU_UNROLL
      for (int c = 0; c < 4; c++) x.v[c] = strip[placeInStrip<byK, extent>(across, k + c)];
    }
    Numbers::round(x, words);
  }

  GPU_DEVICE void run() const {
    const Shared<float> memory = strips<kStages * kStageWords>();
    const int row0 = block() / tilesAcross * kRows, column0 = block() % tilesAcross * kColumns;
    const int first = blockY() * perSplit, end = static_cast<int>(smaller(first + perSplit, problem.k));
    const ShareA shareA(problem, row0);
    const ShareB shareB(problem, column0);
    const auto beginStrip = [&](int k0, int stage) {
      if (k0 < end) {
        begin(shareA, memory + stage * kStageWords, k0, end);
        begin(shareB, memory + stage * kStageWords + kStrip * kRows, k0, end);
      }
      commitCopies();  // without copies as well: waits count groups
    };

    const int row = warp() / 2 * kWarpRows + lane() / 4, column = warp() % 2 * kWarpColumns + lane() / 4;
    float total[kBlocksDown][kBlocksAcross][4] = {};
    const bool sums = wantsSums(problem) && row0 == 0 && thread() < kColumns;
    float sum = 0;

    GPU_UNROLL
    for (int s = 0; s < kStages - 1; s++) beginStrip(first + s * kStrip, s);
    int stage = 0;
    for (int k0 = first; k0 < end; k0 += kStrip) {
      waitCopies<kStages - 2>();
      barrier();  // what others copied is there, and nobody reads the strip before this one any more
      beginStrip(k0 + (kStages - 1) * kStrip, stage == 0 ? kStages - 1 : stage - 1);
      const Shared<float> stripA = memory + stage * kStageWords, stripB = stripA + kStrip * kRows;
      uint32_t b[kBlocksAcross][Numbers::kWords];
      GPU_UNROLL
      for (int j = 0; j < kBlocksAcross; j++) hold<Problem::kBByK, kColumns>(stripB, column + j * 8, b[j]);
      GPU_UNROLL
      for (int i = 0; i < kBlocksDown; i++) {
        uint32_t upper[Numbers::kWords], lower[Numbers::kWords];
        hold<Problem::kAByK, kRows>(stripA, row + i * 16, upper);
        hold<Problem::kAByK, kRows>(stripA, row + i * 16 + 8, lower);
        GPU_UNROLL
        for (int w = 0; w < Numbers::kWords; w += 2) {
          GPU_UNROLL
          for (int j = 0; j < kBlocksAcross; j++)
            Numbers::multiply(total[i][j], {upper[w], lower[w], upper[w + 1], lower[w + 1]}, {b[j][w], b[j][w + 1]});
        }
      }
      if (sums) {
        GPU_UNROLL
        for (int k = 0; k < kStrip; k++) sum += stripB[placeInStrip<Problem::kBByK, kColumns>(thread(), k)];
      }
      stage = stage + 1 == kStages ? 0 : stage + 1;
    }

    // Results go through shared memory, 16 rows of a warp at a time: lanes then store neighbours, and what an element
    // goes through before it is stored stands in the program once for these rows and not once for each number of a
    // lane.
    const Shared<float> rows = memory + warp() * 16 * kPitch;
    GPU_UNROLL
    for (int i = 0; i < kBlocksDown; i++) {
      barrier();  // what lies there has been read
      GPU_UNROLL
      for (int j = 0; j < kBlocksAcross; j++) {
        GPU_UNROLL
        for (int c = 0; c < 4; c++)
          rows[(lane() / 4 + c / 2 * 8) * kPitch + j * 8 + lane() % 4 * 2 + c % 2] = total[i][j][c];
      }
      barrier();
      for (int e = lane(); e < 16 * kWarpColumns; e += 32) {
        const int down = e / kWarpColumns, across = e % kWarpColumns;
        put(problem, partial, row0 + warp() / 2 * kWarpRows + i * 16 + down,
            column0 + warp() % 2 * kWarpColumns + across, rows[down * kPitch + across]);
      }
    }
    if constexpr (Problem::kSums) {
      if (sums) putSum(problem, partial, column0 + thread(), sum);
    }
  }
};

}  // namespace gradline::cuda
