// The compile stage of the CPU executor: from ops to a fixed schedule. It chooses for each phase on how many threads it
// is worth being cut, where the cuts lie, and between which phases all threads must wait for each other (waits.h). It
// runs nothing.
#pragma once
#include <string>
#include <vector>

#include "target.h"

namespace gradline::cpu {

// Units [begin, end) of one phase.
struct Piece {
  void (*run)(const Op &op, int64_t begin, int64_t end, void *scratch);
  const Op *op;
  int64_t begin, end;
};

// The work of a step, cut into `shares` that threads take: one each, or several when there are fewer threads. Within a
// section shares do not depend on each other; between two sections all of them must be done.
struct Schedule {
  int shares = 1;
  std::vector<Piece> pieces;      // section after section, and in each share after share
  std::vector<size_t> starts{0};  // by section and share, first of its pieces; and the number of all

  size_t sections() const { return (starts.size() - 1) / static_cast<size_t>(shares); }
};

struct ProgramPlan {
  Schedule step;
  Schedule timed;                     // the same with each phase in a section of its own
  std::vector<size_t> timedSections;  // by op, its first section in `timed`; and the number of all
  size_t workspace = 0;               // bytes used by one op after the other
  size_t scratch = 0;                 // bytes of each thread
  std::vector<std::string> texts;     // by op, for the printout
  std::vector<int> threads;           // by op
};

// At most `threads` shares.
ProgramPlan planProgram(const IsaTable &isa, const Op *ops, uint32_t count, Numerics numerics, int threads);

}  // namespace gradline::cpu
