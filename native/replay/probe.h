// A backend with an observer in between: the same table, but steps pass through gradline_replay_step (marks.h), what
// they allocate and what is copied is counted, and memory that a program owns begins as NaN instead of zero.
#pragma once
#include <string>
#include <vector>

#include "../abi.h"

namespace gradline::replay {

// Since resetCounts(), over all devices.
struct Counts {
  uint64_t steps;
  uint64_t allocations;    // from the beginning of the first step to the end of the last
  uint64_t read, written;  // bytes copied out of and into the memory of devices
};

// "ref", "cpu", or the path of a library that exports `extern "C" const gradline::Backend *gradline_backend()`. One at
// a time. Throws Error (argument, backend).
const Backend &probed(const std::string &nameOrPath);

void resetCounts();
Counts counts();

// Of the next allocations, in their order, those that begin as bytes 0xff: a NaN, -1 or 255 where something is read
// before it is written. Those after them begin as the backend makes them.
void poisonNext(std::vector<bool> which);

}  // namespace gradline::replay
