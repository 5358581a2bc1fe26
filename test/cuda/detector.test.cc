// The detector of the emulator on kernels with planted defects: each must be found, and the sound twin must not be.
#include <string>

#include "../../native/cuda/emulator/fibers.h"
#include "../../native/cuda/gpu.h"
#include "tests.h"

namespace gradline::cuda::test {
namespace {

// Reverses 64 numbers through shared memory.
template <bool withBarrier>
struct Reverse {
  static constexpr int kThreads = 64;
  Global<const float> x;
  Global<float> y;
  GPU_DEVICE void run() const {
    GPU_SHARED(float, tile, kThreads);
    tile[thread()] = x[thread()];
    if (withBarrier) barrier();
    y[thread()] = tile[kThreads - 1 - thread()];
  }
};
// Every block writes the same element.
struct BlocksCollide {
  static constexpr int kThreads = 32;
  Global<float> y;
  GPU_DEVICE void run() const {
    if (thread() == 0) y[0] = 1.0f;
  }
};
// Block 1 reads what block 0 writes.
struct BlocksTalk {
  static constexpr int kThreads = 32;
  Global<float> y;
  GPU_DEVICE void run() const {
    if (thread() != 0) return;
    if (block() == 0) y[0] = 1.0f;
    if (block() == 1) y[1] = y[0] + 1.0f;
  }
};
// Blocks that are on the card at once exchange what they wrote, over a barrier of the grid that all of them reach or
// not.
enum class Meets { all, none, some };
template <Meets meets>
struct BlocksExchange {
  static constexpr int kThreads = 64;
  Global<float> y;
  GPU_DEVICE void run() const {
    y[block() * kThreads + thread()] = 1.0f;
    if (meets == Meets::all || (meets == Meets::some && block() == 0)) gridBarrier(nullptr, 2);
    const float other = y[(1 - block()) * kThreads + thread()];
    if (meets == Meets::all) gridBarrier(nullptr, 2);
    y[block() * kThreads + thread()] = other;
  }
};
struct ReadsTooFar {
  static constexpr int kThreads = 64;
  Global<const float> x;
  Global<float> y;
  GPU_DEVICE void run() const { y[thread()] = x[thread() + 1]; }
};
struct WritesTooFar {
  static constexpr int kThreads = 64;
  Global<float> y;
  GPU_DEVICE void run() const { y[thread() - 1] = 0.0f; }
};
struct ReadsUnwritten {
  static constexpr int kThreads = 64;
  Global<float> y;
  GPU_DEVICE void run() const {
    GPU_SHARED(float, tile, kThreads);
    if (thread() < 63) tile[thread()] = 1.0f;
    barrier();
    y[thread()] = tile[thread()];
  }
};
struct MissesBarrier {
  static constexpr int kThreads = 64;
  Global<float> y;
  GPU_DEVICE void run() const {
    if (thread() < 40) barrier();
    y[thread()] = 0.0f;
  }
};
struct MissesShuffle {
  static constexpr int kThreads = 32;
  Global<float> y;
  GPU_DEVICE void run() const {
    float v = 1.0f;
    if (lane() < 31) v = shuffleXor(v, 1);
    y[thread()] = v;
  }
};
struct Unaligned {
  static constexpr int kThreads = 32;
  Global<const float> x;
  Global<float> y;
  GPU_DEVICE void run() const {
    if (thread() == 0) store4(y, 0, load4(x, 1));
  }
};

template <class Kernel>
void expect(const char *name, const Kernel &kernel, int64_t blocks, const std::string &wanted, bool together = false) {
  for (const emulator::Order order : {emulator::Order::forward, emulator::Order::reverse, emulator::Order::random}) {
    emulator::setOrder(order, 3);
    emulator::findings().clear();
    Launches launches;
    launch(launches, kernel, {blocks});
    launches.list[0].together = together;
    emulator::run(launches.list[0]);
    std::string all;
    for (const std::string &finding : emulator::findings()) all += finding + "\n";
    emulator::findings().clear();
    test::expect(name, wanted.empty() ? all.empty() : all.find(wanted) != std::string::npos,
                 "expected '" + wanted + "' but the detector found: " + all);
  }
}

}  // namespace

void testDetector() {
  float *x = static_cast<float *>(emulator::allocate(64 * sizeof(float), "x"));
  float *y = static_cast<float *>(emulator::allocate(64 * sizeof(float), "y"));
  const Global<const float> in = global<const float>(x, 256);
  const Global<float> out = global<float>(y, 256);
  expect("a sound kernel", Reverse<true>{in, out}, 1, "");
  expect("no barrier", Reverse<false>{in, out}, 1, "race");
  expect("two blocks write one element", BlocksCollide{out}, 2, "race (two writes)");
  expect("one block reads what another writes", BlocksTalk{out}, 2, "race");
  float *z = static_cast<float *>(emulator::allocate(128 * sizeof(float), "z"));
  const Global<float> both = global<float>(z, 512);
  expect("blocks that wait for each other", BlocksExchange<Meets::all>{both}, 2, "", true);
  expect("blocks that do not wait", BlocksExchange<Meets::none>{both}, 2, "race", true);
  expect("a barrier of the grid that a block misses", BlocksExchange<Meets::some>{both}, 2, "grid is not reached",
         true);
  expect("a barrier of a grid that runs block by block", BlocksExchange<Meets::all>{both}, 2, "blocks run alone");
  emulator::release(z);
  expect("a read beyond the end", ReadsTooFar{in, out}, 1, "read out of bounds");
  expect("a write before the begin", WritesTooFar{out}, 1, "write out of bounds");
  expect("a read of unwritten shared memory", ReadsUnwritten{out}, 1, "undefined memory");
  expect("a barrier that some threads miss", MissesBarrier{out}, 1, "barrier is not reached");
  expect("a shuffle that a lane misses", MissesShuffle{out}, 1, "warp operation is not reached");
  expect("a load of four off alignment", Unaligned{in, out}, 1, "off alignment");
  emulator::undefine(x, 256);
  expect("a read of undefined memory", Reverse<true>{in, out}, 1, "undefined memory");
  static float host[64] = {};
  expect("memory of the host", Reverse<true>{global<const float>(host, 256), out}, 1, "out of bounds");
  emulator::release(x);
  emulator::release(y);
}

}  // namespace gradline::cuda::test
