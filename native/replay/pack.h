// A pack: recorded programs with everything a run of them needs, as bench/pack.ts writes it. Reading checks every
// bound, since a pack is a file like any other; what the programs inside mean is the core's business.
//
//   "GLREPLAY", u32 version, u32 cases, then of each case, little-endian and without padding:
//   u32 name bytes, name; u32 steps; u64 program bytes, program; u64 input bytes, inputs one after the other;
//   u32 regions, of each u64 bytes, first content (0 bytes: the program owns it);
//   u32 checks, of each u32 region, u32 dtype, u64 offset, u64 count, u32 kind, f64 factor, f64 scale, and for kind
//   `terms` count times f32
#pragma once
#include <string>
#include <vector>

#include "../abi.h"

namespace gradline::replay {

// How far a result may be from ref's. With u = 2^-24 and a bound b, |got - ref| <= 2 b: ref rounds as well.
enum class Bound : uint32_t {
  exact = 0,    // equal bits, but for the sign of zero
  terms = 1,    // b = factor * u * terms[i]: elementwise, terms = |A||B| of each element
  largest = 2,  // b = factor * u * max(scale, the largest |ref| of the range)
  step = 3,     // a StepState: counters equal, floats within factor * u of their size
};

struct Check {
  uint32_t region;
  DType dtype;
  uint64_t offset, count;  // bytes from the start of the region; elements
  Bound kind;
  double factor, scale;
  std::vector<float> terms;
};

struct Case {
  std::string name;
  uint32_t steps;
  std::vector<uint8_t> program, inputs;
  std::vector<std::vector<uint8_t>> contents;  // by region
  std::vector<Check> checks;
};

// Throws Error (argument) when the file cannot be read or is no pack.
std::vector<Case> readPack(const std::string &path);

}  // namespace gradline::replay
