// Counts allocations of the whole process, by standing in front of malloc and its kin. Not with a sanitizer, which
// stands there itself, and only with the GNU C library, whose own functions remain callable under other names.
#pragma once
#include <cstdint>

namespace gradline::replay {

// Allocations so far, of all threads; always 0 where they are not counted.
uint64_t allocations();
bool countsAllocations();

}  // namespace gradline::replay
