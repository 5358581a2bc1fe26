// What a test may ask of the stand-in besides failing.
#pragma once
#include <cstdint>

namespace standin {

struct Options {
  bool rude = false;         // offers an in-place reduction even where the preference excludes it
  bool onlyRight = false;    // offers no algorithm that fails or is wrong
  uint32_t unsupported = 0;  // an epilogue for which there is no algorithm
};
Options &options();

}  // namespace standin
