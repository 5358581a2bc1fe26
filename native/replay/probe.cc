// The observed backend. Steps are called on the runner thread of a device, one at a time; the other threads of the
// process wait meanwhile, so plain counters would do but for the sanitizer, which cannot know.
#include "probe.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include "../core/library.h"
#include "../cpu/backend.h"
#include "../ref/table.h"
#include "heap.h"
#include "marks.h"

namespace gradline::replay {
namespace {

const Backend *inner = nullptr;
Backend outer;
std::vector<bool> poisoned;  // of the next allocations, the last one first
std::atomic<uint64_t> steps{0}, heapBefore{0}, heapAfter{0}, bytesRead{0}, bytesWritten{0};

// One call of the inner step, whatever the table's step takes.
template <class>
struct Step;
template <class... Arguments>
struct Step<void (*)(Arguments...)> {
  static void run(Arguments... arguments) {
    if (steps.fetch_add(1) == 0) heapBefore = allocations();
    const auto body = [&] { inner->step(arguments...); };
    gradline_replay_step([](const void *pointer) { (*static_cast<const decltype(body) *>(pointer))(); }, &body);
    heapAfter = allocations();
  }
};

uint64_t run(void *executable, uint64_t count, void *results, StopSign sign, RunStatus *status) {
  if (steps == 0) heapBefore = allocations();
  const uint64_t done = inner->run(executable, count, results, sign, status);
  steps += done;
  heapAfter = allocations();
  return done;
}

void *alloc(void *device, size_t bytes) {
  void *memory = inner->alloc(device, bytes);
  if (poisoned.empty()) return memory;
  const bool fill = poisoned.back();
  poisoned.pop_back();
  if (memory && fill) {
    // In pieces through the backend's own write, since the memory need not be the host's.
    const std::vector<uint8_t> piece(std::min(bytes, size_t{1} << 20), 0xff);
    for (size_t at = 0; at < bytes; at += piece.size()) {
      inner->write(device, static_cast<char *>(memory) + at, piece.data(), std::min(piece.size(), bytes - at));
    }
  }
  return memory;
}

void write(void *device, void *to, const void *from, size_t bytes) {
  bytesWritten += bytes;
  inner->write(device, to, from, bytes);
}

void read(void *device, void *to, const void *from, size_t bytes) {
  bytesRead += bytes;
  inner->read(device, to, from, bytes);
}

const Backend *open(const std::string &name) {
  if (name == "cpu") return &cpu::backend;
  if (name == "ref") return &ref::backend;
  if (name.find('/') == std::string::npos) {
    throw Error(ErrorCode::argument, "expected cpu, ref or the path of a library for --backend but received " + name);
  }
  return &loadBackend(name);
}

}  // namespace

const Backend &probed(const std::string &nameOrPath) {
  inner = open(nameOrPath);
  outer = *inner;
  outer.step = Step<decltype(Backend::step)>::run;
  if (inner->run) outer.run = run;
  outer.alloc = alloc;
  outer.write = write;
  outer.read = read;
  return outer;
}

void resetCounts() { steps = heapBefore = heapAfter = bytesRead = bytesWritten = 0; }
Counts counts() { return {steps, heapAfter - heapBefore, bytesRead, bytesWritten}; }
void poisonNext(std::vector<bool> which) {
  std::reverse(which.begin(), which.end());
  poisoned = std::move(which);
}

}  // namespace gradline::replay
