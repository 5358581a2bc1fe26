// The proof that a wait can be left out. A wait between two phases is needed when a share of one meets bytes that
// another share of the other writes; which bytes a share meets follows from its units and from what the phase says of
// its rows. What says nothing is taken to touch all of its operands. How much work is worth a share is not decided
// here.
#pragma once
#include <vector>

#include "target.h"

namespace gradline::cpu {

// Nanoseconds that a wait of two threads costs. Measured on two cores of a Zen 5: 66 when both come at once, 110 when
// each then meets 4 to 16 KB that the other has written. Costs of phases are rough, so threads come at different times;
// what that adds is an estimate.
constexpr double kWait = 250;

// Bytes that a phase meets: all of them by every share that has units, or row by row.
struct Access {
  uint64_t place, begin, end;
  bool byRow, write;
};

// Share s of a phase takes the units [cut[s], cut[s + 1]).
using Cuts = std::vector<int64_t>;

// A phase with its place in the schedule.
struct Task {
  const Op *op;
  Phase phase;
  std::vector<Access> accesses;
  int threads;  // that it is worth
  Cuts cuts;
  bool waits;  // begins when all shares of everything before are done
};

// `workspace` bytes are met by every phase of the op.
std::vector<Access> accessesOf(const Op &op, const Phase &phase, size_t workspace);

// Whether the last task can do without a wait behind those of the section that begins at `first`. It may take the cuts
// of a task there, or these the cuts that suit it.
bool join(std::vector<Task> &tasks, size_t first);

}  // namespace gradline::cpu
