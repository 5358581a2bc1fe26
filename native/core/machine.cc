// Cores, memory and instruction sets of this process: on Linux by affinity mask and cgroup v2 and v1 limits, elsewhere
// what the system reports for the whole machine; the processor's name and features by CPUID where there is one.
#include "machine.h"

#if defined(__linux__)
#include <sched.h>
#include <unistd.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_WIN32)
#include <windows.h>
#endif
#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <thread>

#include "../isa.h"

namespace gradline {
namespace {

#if defined(__linux__)

std::string readLine(const std::string &path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// A decimal number, or `otherwise` for "max", -1 and everything unreadable.
double toNumber(const std::string &text, double otherwise) {
  double value = 0;
  std::istringstream stream(text);
  return stream >> value && value >= 0 ? value : otherwise;
}

// The directories of this process's cgroup and all its parents for one controller ("" for version 2). A container often
// sees only its own root, where the path does not exist; its parents, down to the mount itself, are then still tried.
std::vector<std::string> cgroupDirectories(const std::string &root, const std::string &controller) {
  std::ifstream file(root + "/proc/self/cgroup");
  std::vector<std::string> directories;
  for (std::string line; std::getline(file, line);) {  // "0::/path" or "4:cpu,cpuacct:/path"
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string list = "," + line.substr(first + 1, second - first - 1) + ",";
    if (controller.empty() ? list != ",," : list.find("," + controller + ",") == std::string::npos) continue;
    const std::string mount = root + "/sys/fs/cgroup" + (controller.empty() ? "" : "/" + controller);
    for (std::string path = line.substr(second + 1);; path.erase(path.rfind('/'))) {
      directories.push_back(mount + (path == "/" ? "" : path));
      if (path.find('/') == std::string::npos || path == "/") break;
    }
  }
  return directories;
}

double cpuQuota(const std::string &root) {
  double cores = std::numeric_limits<double>::infinity();
  const auto limit = [&](const std::string &quota, const std::string &period) {
    const double per = toNumber(period, 0);
    if (per > 0) cores = std::min(cores, toNumber(quota, std::numeric_limits<double>::infinity()) / per);
  };
  for (const std::string &directory : cgroupDirectories(root, "")) {
    std::istringstream line(readLine(directory + "/cpu.max"));  // "max 100000" or "150000 100000"
    std::string quota, period;
    if (line >> quota >> period) limit(quota, period);
  }
  for (const std::string &directory : cgroupDirectories(root, "cpu")) {
    limit(readLine(directory + "/cpu.cfs_quota_us"), readLine(directory + "/cpu.cfs_period_us"));
  }
  return cores;
}

int allowedCores(const std::string &root) {
  // The fixed cpu_set_t holds 1024 cores; larger machines refuse it, so grow the mask until it fits.
  int cores = 0;
  for (int capacity = 1024; capacity <= 1 << 20 && cores == 0; capacity *= 2) {
    cpu_set_t *mask = CPU_ALLOC(capacity);
    if (!mask) break;
    if (sched_getaffinity(0, CPU_ALLOC_SIZE(capacity), mask) == 0) cores = CPU_COUNT_S(CPU_ALLOC_SIZE(capacity), mask);
    CPU_FREE(mask);
  }
  if (cores == 0) cores = static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  // A thread that would be held up most of the time keeps the others waiting, so 1.5 cores make 2 threads and 1.4
  // make 1.
  return std::max(1, static_cast<int>(std::floor(std::min<double>(cores, cpuQuota(root)) + 0.5)));
}

uint64_t allowedMemory(const std::string &root) {
  double bytes = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  for (const std::string &directory : cgroupDirectories(root, "")) {
    bytes = std::min(bytes, toNumber(readLine(directory + "/memory.max"), bytes));
  }
  for (const std::string &directory : cgroupDirectories(root, "memory")) {
    bytes = std::min(bytes, toNumber(readLine(directory + "/memory.limit_in_bytes"), bytes));
  }
  return static_cast<uint64_t>(bytes);
}

#else  // no control groups: the whole machine

int allowedCores(const std::string &) { return std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

uint64_t allowedMemory(const std::string &) {
#if defined(_WIN32)
  MEMORYSTATUSEX status;
  status.dwLength = sizeof status;
  if (GlobalMemoryStatusEx(&status)) return status.ullTotalPhys;
#elif defined(__APPLE__)
  uint64_t bytes = 0;
  size_t size = sizeof bytes;
  if (sysctlbyname("hw.memsize", &bytes, &size, nullptr, 0) == 0) return bytes;
#endif
  return uint64_t{1} << 40;  // unknown: the system itself will refuse
}

#endif

std::string cpuName() {
#if defined(__x86_64__)
  unsigned words[12] = {};
  if (__get_cpuid_max(0x80000000, nullptr) >= 0x80000004) {
    for (unsigned leaf = 0; leaf < 3; leaf++) {
      unsigned *at = words + 4 * leaf;
      __get_cpuid(0x80000002 + leaf, at, at + 1, at + 2, at + 3);
    }
    std::string name(reinterpret_cast<const char *>(words), sizeof words);  // 48 characters, filled up with 0 or spaces
    name.resize(std::min(name.find('\0'), name.size()));
    name.erase(name.find_last_not_of(' ') + 1);
    name.erase(0, name.find_first_not_of(' '));
    if (!name.empty()) return name;
  }
  return "unknown x86-64 processor";
#elif defined(__APPLE__)
  char name[128] = {};
  size_t size = sizeof name - 1;
  return sysctlbyname("machdep.cpu.brand_string", name, &size, nullptr, 0) == 0 ? name : "Apple processor";
#elif defined(__aarch64__)
  return "64-bit ARM processor";  // the kernel names makers and parts by number only
#else
  return "unknown processor";
#endif
}

std::vector<std::string> usableIsas() {
  std::vector<std::string> isas;
  const InstructionSets sets = instructionSets();
  if (sets.avx512) isas.emplace_back("avx512");
  if (sets.avx2) isas.emplace_back("avx2");
  isas.emplace_back("base");
  return isas;
}

}  // namespace

Machine readMachine(const std::string &root) {
  return {cpuName(), allowedCores(root), allowedMemory(root), usableIsas()};
}

}  // namespace gradline
