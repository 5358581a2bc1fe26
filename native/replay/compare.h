// The error model: how far what a backend left behind is from what ref left, in units of what it may be.
#pragma once
#include <string>

#include "pack.h"

namespace gradline::replay {

struct Distance {
  double share = 0;  // largest |got - ref| over its bound; more than 1 is an error
  std::string text;  // where that was and what stood there
};

// `got` and `ref` are the bytes of the checked range, `what` its name.
Distance compare(const Check &check, const std::string &what, const uint8_t *got, const uint8_t *ref);

uint64_t bytesOf(const Check &check);

}  // namespace gradline::replay
