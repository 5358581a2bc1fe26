// See copies.h. A copy writes twice for the detector: where it begins, since from then on it may land at any time, and
// where it has landed.
#include "copies.h"

#include <cstring>
#include <deque>
#include <vector>

#include "fibers.h"

namespace gradline::cuda::emulator {
namespace {

struct Copy {
  Stretch to, from;
  bool zeros;
};
using Group = std::vector<Copy>;

struct Thread {
  Group begun;
  std::deque<Group> groups;
};

Thread &threadOf(uint32_t fiber) {
  static std::vector<Thread> all(kMaxThreads);
  return all[fiber];
}
Thread &thread() { return threadOf(runningFiber()); }

bool isAligned(const Stretch &s) { return reinterpret_cast<uintptr_t>(s.at) % s.bytes == 0; }

bool reaches(const Stretch &s, bool write) {
  if (s.buffer) return access(*s.buffer, s.at, s.bytes, write, s.begin, s.end);
  report("copy of memory that is no device buffer", "", "");
  return false;
}

void land(const Group &group) {
  for (const Copy &copy : group) {
    access(*copy.to.buffer, copy.to.at, copy.to.bytes, true, copy.to.begin, copy.to.end);
    if (copy.zeros)
      std::memset(copy.to.at, 0, copy.to.bytes);
    else
      std::memcpy(copy.to.at, copy.from.at, copy.to.bytes);
  }
}

}  // namespace

void copyLater(const Stretch &to, const Stretch &from, bool zeros) {
  if (!isAligned(to) || (!zeros && !isAligned(from))) report("copy off alignment", "", std::to_string(to.bytes));
  if (!reaches(to, true) || (!zeros && !reaches(from, false))) return;
  undefine(*to.buffer, to.at, to.bytes);
  thread().begun.push_back({to, from, zeros});
}

void commitCopies() {
  Thread &t = thread();
  t.groups.push_back(std::move(t.begun));
  t.begun.clear();
}

void waitCopies(int groups) {
  std::deque<Group> &under = thread().groups;
  for (; under.size() > static_cast<size_t>(groups); under.pop_front()) land(under.front());
}

void endCopies() {
  Thread &t = thread();
  bool open = !t.begun.empty();
  for (const Group &group : t.groups) open |= !group.empty();
  if (open) report("copies that nobody waits for", "", "");
}

void beginCopies(uint32_t fiber) {
  Thread &t = threadOf(fiber);
  t.begun.clear();
  t.groups.clear();
}

}  // namespace gradline::cuda::emulator
