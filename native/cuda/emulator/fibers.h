// Runs launches on the CPU: one fiber per CUDA thread, block after block, or all blocks of a launch that asks for it.
// Fibers switch at barriers and warp operations only; the order in which they get their turn can be chosen, and no
// correct kernel shows which it was.
#pragma once
#include "../launch.h"
#include "memory.h"

namespace gradline::cuda::emulator {

// What a launch's `function` points to here.
struct Kernel {
  void (*run)(const void *argument);  // one thread of it as an ordinary function
  const char *(*name)();
  size_t argumentBytes;
};

enum class Order { forward, reverse, random };
// Of threads within a block and of blocks within a launch, for all launches to come.
void setOrder(Order order, uint64_t seed = 1);

// Runs one launch to its end. Everything wrong goes to findings().
void run(const Launch &launch);

// ---- What a running kernel may ask (dialect.h)

uint32_t threadIndex();
uint32_t blockIndex(int axis);
uint32_t blockOfCard();
// This thread is from now on one of that block; what it shares with others stays that of its block of the card.
void becomeBlock(uint32_t x, uint32_t y, uint32_t z);
void blockBarrier();
// Of a launch whose blocks run together; the block that came last, which is any of them.
uint32_t gridBarrier();
int32_t &blockWord();  // of the block of the card, for what its threads are to see alike
// What the lanes of a warp bring to an operation that all of them take part in.
struct Brought {
  static constexpr size_t kMost = 24;  // bytes of a lane
  alignas(8) unsigned char bytes[kMost];
};
// Waits until all lanes have come with `bytes` for the same `operation`; the 32 of them stay until this lane's next
// one.
const Brought *gather(const void *value, size_t bytes, int operation);
// Gives `bytes` and gets those that lane `from` gave.
void exchange(void *value, size_t bytes, uint32_t from, int operation);
// Bits of the lanes whose `value` is true.
uint32_t ballot(bool value);
// The array of this block that belongs to `key`; made by the first thread that asks.
char *sharedArray(const void *key, size_t bytes);
Buffer &sharedBuffer();

// ---- For memory.h

Actor runningActor();
uint32_t runningFiber();      // its number among those that run at the same time
std::string runningKernel();  // "no kernel" outside of a launch
std::string runningThread();

}  // namespace gradline::cuda::emulator
