// The scheduler of the emulated card: see fibers.h. A fiber is a stack and a saved stack pointer (switch.h). Blocks run
// one after the other, so one set of stacks serves them all.
#include "fibers.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>

#include "switch.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace gradline::cuda::emulator {
namespace {

constexpr size_t kStack = 64 << 10, kSharedBytes = 227 << 10;  // shared memory of a block on sm_90
constexpr uint32_t kWarp = 32;

enum class State : uint8_t { ready, atBarrier, inWarp, done };

struct Fiber {
  void *pointer;  // of its stack, while it waits
  State state;
  uint32_t exchanges;  // warp operations begun
};

// Two slots are enough: a lane can be one operation ahead of the others, never two.
struct Warp {
  uint64_t value[2][kWarp];
  int operation[2];
  uint32_t arrived[2];
};

struct SharedArray {
  const void *key;
  size_t offset, bytes;
};

struct Machine {
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  std::vector<SharedArray> arrays;
  std::unique_ptr<char[]> stacks{new char[kMaxThreads * kStack]};
  Buffer shared;
  size_t sharedUsed = 0, sharedWas = 0;
  const Launch *launch = nullptr;
  uint32_t current = 0, stamp = 0, barriers = 0;
  uint32_t block[3] = {};
  uint32_t blockNumber = 0;
  void *scheduler = nullptr;
  const void *schedulerStack = nullptr;
  size_t schedulerStackBytes = 0;
  Order order = Order::forward;
  uint64_t random = 1;

  Machine() {
    shared.name = "shared memory";
    shared.begin = static_cast<char *>(std::aligned_alloc(256, kSharedBytes));
    shared.end = shared.begin + kSharedBytes;
    shared.cells.resize(kSharedBytes / 4);
  }
  ~Machine() { std::free(shared.begin); }
};

Machine &machine() {
  static Machine all;
  return all;
}

#if defined(__SANITIZE_ADDRESS__)
void leave(void **fake, const void *stack, size_t bytes) { __sanitizer_start_switch_fiber(fake, stack, bytes); }
void arrive(void *fake, const void **stack, size_t *bytes) { __sanitizer_finish_switch_fiber(fake, stack, bytes); }
#else
void leave(void **, const void *, size_t) {}
void arrive(void *, const void **, size_t *) {}
#endif

void toScheduler() {
  Machine &m = machine();
  void *fake = nullptr;
  leave(&fake, m.schedulerStack, m.schedulerStackBytes);
  gradline_switch(&m.fibers[m.current].pointer, m.scheduler);
  arrive(fake, &m.schedulerStack, &m.schedulerStackBytes);
}

void wait(State state) {
  machine().fibers[machine().current].state = state;
  toScheduler();
}

[[noreturn]] void enter() {
  Machine &m = machine();
  arrive(nullptr, &m.schedulerStack, &m.schedulerStackBytes);
  static_cast<const Kernel *>(m.launch->function)->run(m.launch->argument);
  for (;;) wait(State::done);
}

void resume(uint32_t fiber) {
  Machine &m = machine();
  m.current = fiber;
  void *fake = nullptr;
  leave(&fake, m.stacks.get() + fiber * kStack, kStack);
  gradline_switch(&m.scheduler, m.fibers[fiber].pointer);
  arrive(fake, nullptr, nullptr);
}

void prepare(uint32_t fiber) {
  Machine &m = machine();
  m.fibers[fiber] = {freshStack(m.stacks.get() + fiber * kStack, kStack, &enter), State::ready, 0};
}

uint64_t nextRandom() {  // an LCG of Knuth's is random enough to shuffle threads
  Machine &m = machine();
  m.random = m.random * 6364136223846793005u + 1442695040888963407u;
  return m.random >> 33;
}

void arrange(std::vector<uint32_t> &list) {
  Machine &m = machine();
  if (m.order != Order::random) return;
  for (size_t i = list.size(); i > 1; i--) std::swap(list[i - 1], list[nextRandom() % i]);
}

std::vector<uint32_t> inOrder(uint32_t count) {
  std::vector<uint32_t> list(count);
  std::iota(list.begin(), list.end(), 0u);
  if (machine().order == Order::reverse) std::reverse(list.begin(), list.end());
  arrange(list);
  return list;
}

// Of a block that can never end: its stacks are given up as they are.
void abandon(const char *why) {
  report("deadlock", "", why);
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(machine().stacks.get(), kMaxThreads * kStack);
#endif
}

void runBlock(std::vector<uint32_t> &order) {
  Machine &m = machine();
  const uint32_t threads = m.launch->threads;
  for (uint32_t i = 0; i < threads; i++) prepare(i);
  m.warps.assign(threads / kWarp, Warp{});
  m.arrays.clear();
  m.barriers = 0;
  m.sharedUsed = m.launch->sharedBytes;
  // NaN and nobody's, as far as the last block went.
  const size_t stale = std::max(m.sharedWas, m.sharedUsed);
  std::memset(m.shared.begin, 0xff, stale);
  std::fill_n(m.shared.cells.begin(), stale / 4 + (stale % 4 != 0), Cell{});
  for (;;) {
    uint32_t done = 0, waiting = 0, ran = 0;
    arrange(order);
    for (uint32_t i : order) {
      if (m.fibers[i].state == State::ready) {
        ran++;
        resume(i);
      }
    }
    for (const Fiber &fiber : m.fibers) {
      done += fiber.state == State::done;
      waiting += fiber.state == State::atBarrier;
    }
    if (done == threads) break;
    if (waiting == threads) {
      m.barriers++;
      for (Fiber &fiber : m.fibers) fiber.state = State::ready;
    } else if (ran == 0) {
      abandon(waiting ? "a barrier is not reached by all threads of the block"
                      : "a warp operation is not reached by all lanes");
      break;
    }
  }
  m.sharedWas = m.sharedUsed;
}

// The slot of this lane's next warp operation, complete: waits until all lanes of the warp have come.
uint32_t meet(const void *value, size_t bytes, int operation) {
  Machine &m = machine();
  const uint32_t self = m.current;
  Warp &warp = m.warps[self / kWarp];
  const uint32_t slot = m.fibers[self].exchanges++ & 1;
  if (warp.arrived[slot] == kWarp) warp.arrived[slot] = 0;  // of two operations ago
  if (warp.arrived[slot] == 0) warp.operation[slot] = operation;
  if (warp.operation[slot] != operation) report("lanes of a warp are at different operations", "", "");
  std::memcpy(&warp.value[slot][self % kWarp], value, bytes);
  warp.arrived[slot]++;
  if (warp.arrived[slot] < kWarp) {
    wait(State::inWarp);
  } else {
    const uint32_t first = self / kWarp * kWarp;
    for (uint32_t i = first; i < first + kWarp; i++) {
      if (m.fibers[i].state == State::inWarp) m.fibers[i].state = State::ready;
    }
  }
  return slot;
}

}  // namespace

void setOrder(Order order, uint64_t seed) {
  machine().order = order;
  machine().random = seed;
}

void run(const Launch &launch) {
  Machine &m = machine();
  m.launch = &launch;
  m.stamp++;
  const uint64_t blocks = uint64_t{launch.grid[0]} * launch.grid[1] * launch.grid[2];
  if (launch.threads == 0 || launch.threads > kMaxThreads || launch.threads % kWarp != 0)
    report("launch of " + std::to_string(launch.threads) + " threads", "", "a block has 32 to 1024, whole warps");
  else if (blocks == 0 || launch.grid[0] > 0x7fffffff || launch.grid[1] > 65535 || launch.grid[2] > 65535)
    report("grid out of range", "", std::to_string(blocks) + " blocks");
  else if (launch.sharedBytes > kSharedBytes)
    report("too much shared memory", "", std::to_string(launch.sharedBytes) + " bytes");
  else {
    m.fibers.resize(launch.threads);
    std::vector<uint32_t> order = inOrder(launch.threads);
    for (uint32_t number : inOrder(static_cast<uint32_t>(blocks))) {
      m.blockNumber = number;
      m.block[0] = number % launch.grid[0];
      m.block[1] = number / launch.grid[0] % launch.grid[1];
      m.block[2] = number / launch.grid[0] / launch.grid[1];
      runBlock(order);
    }
  }
  m.launch = nullptr;
}

uint32_t threadIndex() { return machine().current; }
uint32_t blockIndex(int axis) { return machine().block[axis]; }
void blockBarrier() { wait(State::atBarrier); }

void exchange(void *value, size_t bytes, uint32_t from, int operation) {
  Machine &m = machine();
  const uint32_t self = m.current;
  const uint32_t slot = meet(value, bytes, operation);
  std::memcpy(value, &m.warps[self / kWarp].value[slot][from % kWarp], bytes);
}

uint32_t ballot(bool value) {
  Machine &m = machine();
  const uint32_t self = m.current;
  uint64_t bit = value ? 1 : 0;
  const uint32_t slot = meet(&bit, sizeof bit, -1);
  uint32_t bits = 0;
  for (uint32_t i = 0; i < kWarp; i++) bits |= static_cast<uint32_t>(m.warps[self / kWarp].value[slot][i] != 0) << i;
  return bits;
}

char *sharedArray(const void *key, size_t bytes) {
  Machine &m = machine();
  for (const SharedArray &array : m.arrays) {
    if (array.key == key) return m.shared.begin + array.offset;
  }
  const size_t offset = (m.sharedUsed + 15) / 16 * 16;
  if (offset + bytes > kSharedBytes) {
    report("too much shared memory", "", std::to_string(offset + bytes) + " bytes");
    return m.shared.begin;
  }
  // Fresh even where the block before used less.
  std::memset(m.shared.begin + offset, 0xff, bytes);
  std::fill_n(m.shared.cells.begin() + static_cast<ptrdiff_t>(offset / 4), (bytes + 3) / 4, Cell{});
  m.arrays.push_back({key, offset, bytes});
  m.sharedUsed = offset + bytes;
  return m.shared.begin + offset;
}

Buffer &sharedBuffer() { return machine().shared; }

Actor runningActor() {
  const Machine &m = machine();
  return {m.stamp, m.blockNumber, m.current, m.barriers};
}

std::string runningKernel() {
  const Machine &m = machine();
  if (!m.launch) return "no kernel";
  const std::string name = m.launch->name ? m.launch->name() : "a kernel";
  const size_t at = name.find("Kernel = "), end = name.rfind(']');
  return at == std::string::npos ? name : name.substr(at + 9, end - at - 9);
}

std::string runningThread() {
  const Machine &m = machine();
  if (!m.launch) return "host";
  return "block (" + std::to_string(m.block[0]) + ", " + std::to_string(m.block[1]) + ", " +
         std::to_string(m.block[2]) + ") thread " + std::to_string(m.current);
}

}  // namespace gradline::cuda::emulator
