// Which launches of a step become one: runs of small launches are merged into sequences (kernels/sequence.cuh), so that
// a step has few nodes and a small program one. It follows from shapes; only how many blocks share the work is the
// card's.
#pragma once
#include "launch.h"

namespace gradline::cuda {

// A launch with the op that it belongs to; null: the end of the step.
struct Placed {
  Launch launch;
  const Op *op;
  uint64_t workspaceAt, workspaceBytes;  // of the op; those of two ops may overlap
};

struct Merged {
  std::vector<Launch> nodes;
  std::vector<size_t> nodeOf;        // by launch
  std::vector<int> intervalOf;       // by launch: behind which barrier of its node, from 1; 0 where there are none
  std::vector<int> barriers;         // by node: of all blocks, in each step
  std::vector<unsigned char> table;  // what must stand at `memory` when they run
  bool isWhole;                      // one sequence is the whole step, so it can make several in one launch
};

inline uint64_t bytesOf(const Tensor &t) {
  return static_cast<uint64_t>(t.size) * (t.dtype == DType::u8 ? 1 : t.dtype == DType::f64 ? 8 : 4);
}

// Whether it writes memory that outlives the step.
inline bool lasts(const Op &op) { return op.lasting || (flagsOf(op.code) & (kEffect | kUpdateRule)) != 0; }

// Whether it is small and of a kernel that can be a stage, so that it becomes part of a node with neighbours like it.
bool isMergeable(const Launch &launch);

// `memory`: of the card, at a multiple of kAlignment; null while only planning, for the size of the table.
Merged merge(const std::vector<Placed> &launches, char *memory, int multiprocessors);

}  // namespace gradline::cuda
