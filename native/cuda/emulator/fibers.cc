// The scheduler of the emulated card: see fibers.h. A fiber is a stack and a saved stack pointer (switch.h). One set of
// stacks serves all launches: blocks run one after the other unless they have to wait for each other.
#include "fibers.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <numeric>

#include "copies.h"
#include "switch.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace gradline::cuda::emulator {
namespace {

constexpr size_t kStack = 64 << 10, kSharedBytes = 227 << 10;  // shared memory of a block on sm_90
constexpr uint32_t kWarp = 32;

enum class State : uint8_t { ready, atBarrier, atGrid, inWarp, done };

struct Fiber {
  void *pointer;  // of its stack, while it waits
  State state;
  uint32_t exchanges;  // warp operations begun
  uint32_t block[3];   // what it is told that its block is
};

// Two slots are enough: a lane can be one operation ahead of the others, never two.
struct Warp {
  Brought brought[2][kWarp];
  int operation[2];
  uint32_t arrived[2];
};

struct SharedArray {
  const void *key;
  size_t offset, bytes;
};

// A multiprocessor: what the threads of a block share.
struct Resident {
  std::vector<SharedArray> arrays;
  Buffer shared;
  size_t sharedUsed = 0, sharedWas = 0;
  uint32_t barriers = 0, number = 0;  // of the block
  int32_t word = 0;

  Resident() {
    shared.name = "shared memory";
    shared.begin = static_cast<char *>(std::aligned_alloc(256, kSharedBytes));
    shared.end = shared.begin + kSharedBytes;
    shared.cells.resize(kSharedBytes / 4);
  }
  ~Resident() { std::free(shared.begin); }
};

struct Machine {
  std::vector<Fiber> fibers;  // of the first resident block, of the second, ...
  std::vector<Warp> warps;
  std::vector<std::unique_ptr<Resident>> residents;
  std::unique_ptr<char[]> stacks{new char[kMaxThreads * kStack]};
  const Launch *launch = nullptr;
  uint32_t current = 0, stamp = 0;
  uint32_t last = 0;  // block that came to the barrier of the grid
  void *scheduler = nullptr;
  const void *schedulerStack = nullptr;
  size_t schedulerStackBytes = 0;
  Order order = Order::forward;
  uint64_t random = 1;

  Resident &resident() { return *residents[current / launch->threads]; }  // of the running thread
};

Machine &machine() {
  static Machine all;
  return all;
}

#if defined(__SANITIZE_ADDRESS__)
// The frames in which a fiber ended for good are never left, and a stack is taken for clean by who begins on it.
constexpr size_t kLastFrames = 4 << 10;
void clean(char *stack) { __asan_unpoison_memory_region(stack + kStack - kLastFrames, kLastFrames); }
void leave(void **fake, const void *stack, size_t bytes) { __sanitizer_start_switch_fiber(fake, stack, bytes); }
void arrive(void *fake, const void **stack, size_t *bytes) { __sanitizer_finish_switch_fiber(fake, stack, bytes); }
#else
void clean(char *) {}
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
  endCopies();
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

void prepare(uint32_t fiber, uint32_t block) {
  Machine &m = machine();
  const uint32_t *grid = m.launch->grid;
  clean(m.stacks.get() + fiber * kStack);
  beginCopies(fiber);
  m.fibers[fiber] = {freshStack(m.stacks.get() + fiber * kStack, kStack, &enter),
                     State::ready,
                     0,
                     {block % grid[0], block / grid[0] % grid[1], block / grid[0] / grid[1]}};
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

// Shared memory of a block that begins: NaN and nobody's, as far as the last block went.
void renew(Resident &resident, uint32_t number) {
  resident.number = number;
  resident.barriers = 0;
  resident.arrays.clear();
  resident.sharedUsed = machine().launch->sharedBytes;
  const size_t stale = std::max(resident.sharedWas, resident.sharedUsed);
  std::memset(resident.shared.begin, 0xff, stale);
  std::fill_n(resident.shared.cells.begin(), stale / 4 + (stale % 4 != 0), Cell{});
}

uint32_t countOf(State state, uint32_t begin, uint32_t end) {
  const auto first = machine().fibers.begin();
  return static_cast<uint32_t>(
      std::count_if(first + begin, first + end, [&](const Fiber &fiber) { return fiber.state == state; }));
}
void wake(State state, uint32_t begin, uint32_t end) {
  for (uint32_t i = begin; i < end; i++) {
    if (machine().fibers[i].state == state) machine().fibers[i].state = State::ready;
  }
}

// Runs these blocks at the same time, to their end; `order` is that of their threads.
void runBlocks(const std::vector<uint32_t> &numbers, std::vector<uint32_t> &order) {
  Machine &m = machine();
  const uint32_t threads = m.launch->threads, all = threads * static_cast<uint32_t>(numbers.size());
  while (m.residents.size() < numbers.size()) m.residents.push_back(std::make_unique<Resident>());
  for (size_t b = 0; b < numbers.size(); b++) renew(*m.residents[b], numbers[b]);
  for (uint32_t i = 0; i < all; i++) prepare(i, numbers[i / threads]);
  m.warps.assign(all / kWarp, Warp{});
  for (;;) {
    uint32_t ran = 0, woken = 0;
    arrange(order);
    for (uint32_t i : order) {
      if (m.fibers[i].state == State::ready) {
        ran++;
        resume(i);
      }
    }
    if (countOf(State::done, 0, all) == all) break;
    for (uint32_t begin = 0; begin < all; begin += threads) {
      if (countOf(State::atBarrier, begin, begin + threads) < threads) continue;
      m.residents[begin / threads]->barriers++;
      wake(State::atBarrier, begin, begin + threads);
      woken++;
    }
    if (countOf(State::atGrid, 0, all) == all) {
      m.stamp++;  // what comes is ordered behind what was, as by another launch
      m.last = inOrder(static_cast<uint32_t>(numbers.size())).back();
      wake(State::atGrid, 0, all);
      woken++;
    }
    if (ran == 0 && woken == 0) {
      abandon(countOf(State::atGrid, 0, all)      ? "a barrier of the grid is not reached by all its threads"
              : countOf(State::atBarrier, 0, all) ? "a barrier is not reached by all threads of the block"
                                                  : "a warp operation is not reached by all lanes");
      break;
    }
  }
  for (size_t b = 0; b < numbers.size(); b++) m.residents[b]->sharedWas = m.residents[b]->sharedUsed;
}

}  // namespace

const Brought *gather(const void *value, size_t bytes, int operation) {
  Machine &m = machine();
  const uint32_t self = m.current;
  Warp &warp = m.warps[self / kWarp];
  const uint32_t slot = m.fibers[self].exchanges++ & 1;
  if (warp.arrived[slot] == kWarp) warp.arrived[slot] = 0;  // of two operations ago
  if (warp.arrived[slot] == 0) warp.operation[slot] = operation;
  if (warp.operation[slot] != operation) report("lanes of a warp are at different operations", "", "");
  std::memcpy(warp.brought[slot][self % kWarp].bytes, value, bytes);
  warp.arrived[slot]++;
  if (warp.arrived[slot] < kWarp) {
    wait(State::inWarp);
  } else {
    const uint32_t first = self / kWarp * kWarp;
    for (uint32_t i = first; i < first + kWarp; i++) {
      if (m.fibers[i].state == State::inWarp) m.fibers[i].state = State::ready;
    }
  }
  return warp.brought[slot];
}

void setOrder(Order order, uint64_t seed) {
  machine().order = order;
  machine().random = seed;
}

void run(const Launch &launch) {
  Machine &m = machine();
  m.launch = &launch;
  m.current = 0;
  m.stamp++;
  const uint64_t blocks = uint64_t{launch.grid[0]} * launch.grid[1] * launch.grid[2];
  if (launch.threads == 0 || launch.threads > kMaxThreads || launch.threads % kWarp != 0)
    report("launch of " + std::to_string(launch.threads) + " threads", "", "a block has 32 to 1024, whole warps");
  else if (blocks == 0 || launch.grid[0] > 0x7fffffff || launch.grid[1] > 65535 || launch.grid[2] > 65535)
    report("grid out of range", "", std::to_string(blocks) + " blocks");
  else if (launch.sharedBytes > kSharedBytes)
    report("too much shared memory", "", std::to_string(launch.sharedBytes) + " bytes");
  else if (launch.together && blocks * launch.threads > kMaxThreads)
    report("too many blocks that wait for each other", "", std::to_string(blocks));
  else {
    const std::vector<uint32_t> numbers = inOrder(static_cast<uint32_t>(blocks));
    const uint32_t atOnce = launch.together ? static_cast<uint32_t>(blocks) : 1;
    m.fibers.resize(atOnce * launch.threads);
    std::vector<uint32_t> order = inOrder(atOnce * launch.threads);
    for (size_t i = 0; i < numbers.size(); i += atOnce)
      runBlocks({numbers.begin() + static_cast<ptrdiff_t>(i), numbers.begin() + static_cast<ptrdiff_t>(i + atOnce)},
                order);
  }
  m.launch = nullptr;
}

uint32_t threadIndex() { return machine().current % machine().launch->threads; }
uint32_t blockIndex(int axis) { return machine().fibers[machine().current].block[axis]; }
uint32_t blockOfCard() { return machine().resident().number; }
void becomeBlock(uint32_t x, uint32_t y, uint32_t z) {
  uint32_t *block = machine().fibers[machine().current].block;
  block[0] = x;
  block[1] = y;
  block[2] = z;
}
void blockBarrier() { wait(State::atBarrier); }
uint32_t gridBarrier() {
  if (machine().launch->together)
    wait(State::atGrid);
  else
    report("a barrier of the grid in a launch whose blocks run alone", "", "");
  return machine().last;
}
int32_t &blockWord() { return machine().resident().word; }

void exchange(void *value, size_t bytes, uint32_t from, int operation) {
  const Brought *const all = gather(value, bytes, operation);
  std::memcpy(value, all[from % kWarp].bytes, bytes);
}

uint32_t ballot(bool value) {
  const unsigned char bit = value ? 1 : 0;
  const Brought *const all = gather(&bit, sizeof bit, -1);
  uint32_t bits = 0;
  for (uint32_t i = 0; i < kWarp; i++) bits |= static_cast<uint32_t>(all[i].bytes[0]) << i;
  return bits;
}

char *sharedArray(const void *key, size_t bytes) {
  Resident &m = machine().resident();
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

Buffer &sharedBuffer() { return machine().resident().shared; }

Actor runningActor() {
  Machine &m = machine();
  return {m.stamp, m.resident().number, threadIndex(), m.resident().barriers};
}

uint32_t runningFiber() { return machine().current; }

std::string runningKernel() {
  const Machine &m = machine();
  if (!m.launch) return "no kernel";
  const std::string name = m.launch->name ? m.launch->name() : "a kernel";
  const size_t at = name.find("Kernel = "), end = name.rfind(']');
  return at == std::string::npos ? name : name.substr(at + 9, end - at - 9);
}

std::string runningThread() {
  const Machine &m = machine();
  if (!m.launch || m.fibers.empty()) return "host";
  const uint32_t *block = m.fibers[m.current].block;
  return "block (" + std::to_string(block[0]) + ", " + std::to_string(block[1]) + ", " + std::to_string(block[2]) +
         ") thread " + std::to_string(threadIndex());
}

}  // namespace gradline::cuda::emulator
