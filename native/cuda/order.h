// In which order the stages of a sequence stand that several blocks share, and where all of them wait for each other.
// It knows what stages touch, not what they compute; which launches become stages is decided by merge.cu.
#pragma once
#include "merge.h"

namespace gradline::cuda {

struct Member {
  const Placed *from;
  int launches;  // of a step, from `from` on, that it stands for
  Stage stage;
  std::vector<unsigned char> argument;
  Rows rows;
  int interval;  // between two barriers, from 1; 0: there are none
};

inline uint64_t blocksOf(const Stage &stage) { return uint64_t{stage.grid[0]} * stage.grid[1] * stage.grid[2]; }

// Sorts them into as few intervals as their order allows, and shares out the blocks of the card within each; how many
// barriers a step has.
int order(std::vector<Member> &members, int blocks);

}  // namespace gradline::cuda
