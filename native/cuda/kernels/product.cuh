// Which tile makes a product of our own, with what grid and workspace, from its shape and the class of its program
// alone: those of fp32 (tile.cuh) or those of the tensor cores (mma.cuh). Included by the planners of matmul and
// convolution.
#pragma once
#include "mma.cuh"
#include "tile.cuh"

namespace gradline::cuda {

// Blocks that a product should have at the least to fill a large card. A constant, not the card's: bits must not depend
// on the machine.
constexpr int64_t kWantedBlocks = 256;
constexpr int64_t kMostSplits = 64, kLeastPerSplit = 64;

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

template <class Problem>
int64_t tilesOf(const Problem &problem, int64_t rows, int64_t columns) {
  return ceilDiv(problem.m, rows) * ceilDiv(problem.n, columns) * problem.groups();
}

// The largest tile of which there are enough; small products are split along k as well. `quads`: four neighbours of
// either operand can be fetched at once.
template <class Problem>
void planExact(const Op &op, Launches &launches, const Problem &problem, bool quads) {
  if (tilesOf(problem, 128, 64) >= kWantedBlocks)
    quads ? planTile<ProductTile<Problem, 128, 64, 8, 4>>(op, launches, problem)
          : planTile<ProductTile<Problem, 128, 64, 8>>(op, launches, problem);
  else if (tilesOf(problem, 64, 64) >= kWantedBlocks)
    planTile<ProductTile<Problem, 64, 64, 4>>(op, launches, problem);
  else
    planTile<ProductTile<Problem, 32, 32, 4>>(op, launches, problem);
}

template <class Numbers, class Problem>
void planRounding(const Op &op, Launches &launches, const Problem &problem, bool quads) {
  if (!quads)
    planTile<MmaTile<Problem, Numbers, 64, 64, 1>>(op, launches, problem);
  else if (tilesOf(problem, 128, 128) >= kWantedBlocks && problem.m > 64 && problem.n > 64)
    planTile<MmaTile<Problem, Numbers, 128, 128, 4>>(op, launches, problem);
  else
    planTile<MmaTile<Problem, Numbers, 64, 64, 4>>(op, launches, problem);
}

// A small product stays exact in every class: it shares a launch with its neighbours, which the tensor cores' tiles
// cannot. Where their gain begins to be more than a launch is for a card to tell, as for the library.
template <class Problem>
void planProduct(const Op &op, Launches &launches, const Problem &problem, const GlGemm &shape, bool quads) {
  Launches exact = launches;
  planExact(op, exact, problem, quads);
  if (op.numerics == Numerics::tf32 && !isSmall(shape, exact))
    planRounding<Tf32>(op, launches, problem, quads);
  else if (op.numerics == Numerics::bf16 && !isSmall(shape, exact))
    planRounding<Bf16>(op, launches, problem, quads);
  else
    launches = exact;
}

// Whether both operands begin at multiples of 16 bytes.
inline bool isAligned(const Op &op) { return op.in[0].offset % 16 == 0 && op.in[1].offset % 16 == 0; }

}  // namespace gradline::cuda
