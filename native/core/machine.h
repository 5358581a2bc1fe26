// What this machine lets this process use: processor name, cores, memory, instruction sets. Read once per call, never
// cached: affinity and quotas may change.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace gradline {

struct Machine {
  std::string cpu;
  int cores;                      // allowed by the affinity mask and by the cgroup's quota, at least 1
  uint64_t memory;                // bytes of the machine, or of the cgroup when that allows less
  std::vector<std::string> isas;  // of "avx512", "avx2", "base" those that run here, best first
};

// `root` stands before the paths of all files that are read, so that tests can make up a machine.
Machine readMachine(const std::string &root = "");

}  // namespace gradline
